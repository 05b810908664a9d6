//! The threads that all rivals share, in turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::contest::Contestant;
use crate::cpu;
use crate::hand::Tally;
use crate::workload::Action;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They outlive every rival, so that nobody pays for their start.
pub(crate) struct Pool {
    threads: Vec<(Sender<Job>, JoinHandle<()>)>,
}

/// What one rival did in one slice of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) time: Duration,
    /// How much of it the threads had.
    pub(crate) worked: Duration,
    /// Of the whole process, so of a rival's own threads as well; where the system tells.
    pub(crate) cpu: Option<Duration>,
    pub(crate) tally: Tally,
}

impl Slice {
    pub(crate) fn rate(&self) -> f64 {
        self.tally.operations as f64 / self.time.as_secs_f64()
    }

    pub(crate) fn settling(&self) -> f64 {
        1.0 - self.worked.as_secs_f64() / self.time.as_secs_f64()
    }
}

impl Pool {
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let threads = (0..threads)
            .map(|n| {
                let (sender, jobs) = mpsc::channel::<Job>();
                let thread = thread::Builder::new()
                    .name(format!("compare-{n}"))
                    .spawn(move || jobs.into_iter().for_each(|job| job()))?;
                Ok((sender, thread))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Lets a rival run on so many threads for so long.
    ///
    /// Where something is written, the clock stops only when what the operations have left behind is done: freed, called
    /// back, evicted. Else a rival could leave its work to the next one's slice.
    pub(crate) fn slice(
        &self,
        contestant: &Arc<dyn Contestant>,
        threads: usize,
        action: Action,
        length: Duration,
    ) -> Result<Slice, String> {
        let barrier = Arc::new(Barrier::new(threads + 1));
        let stop = Arc::new(AtomicBool::new(false));
        let (done, tallies) = mpsc::channel();
        for (n, (jobs, _)) in self.threads[..threads].iter().enumerate() {
            let (contestant, barrier) = (Arc::clone(contestant), Arc::clone(&barrier));
            let (stop, done) = (Arc::clone(&stop), done.clone());
            let job = move || {
                barrier.wait();
                let tally = contestant.run(n, action, &stop);
                let _ = done.send(tally);
            };
            jobs.send(Box::new(job))
                .map_err(|_| "a thread has ended".to_owned())?;
        }
        drop(done);
        let cpu_before = cpu::used();
        barrier.wait();
        let begin = Instant::now();
        thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        let worked = begin.elapsed();
        let mut time = worked;
        let mut tally = Tally::default();
        for _ in 0..threads {
            let one = tallies
                .recv()
                .map_err(|_| format!("{}: a thread panicked", contestant.name()))?;
            tally.add(one);
        }
        if action.writes() {
            contestant.settle();
            time = begin.elapsed();
        }
        let cpu = cpu::used()
            .zip(cpu_before)
            .map(|(after, before)| after.saturating_sub(before));
        Ok(Slice {
            time,
            worked,
            cpu,
            tally,
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (jobs, thread) in self.threads.drain(..) {
            drop(jobs);
            let _ = thread.join();
        }
    }
}
