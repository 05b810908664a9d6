//! A thread with nothing to do but to wake up: how late it is tells what the machine did to everybody.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::latency::Latencies;

/// How long it means to sleep each time.
const NAP: Duration = Duration::from_millis(1);

/// The thread.
#[derive(Debug)]
pub(crate) struct Control {
    end: Sender<()>,
    thread: JoinHandle<Latencies>,
}

impl Control {
    /// Lets it sleep.
    pub(crate) fn start() -> Self {
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut late = Latencies::default();
            loop {
                let asleep = Instant::now();
                if ended.recv_timeout(NAP) != Err(RecvTimeoutError::Timeout) {
                    return late;
                }
                late.record(asleep.elapsed().saturating_sub(NAP));
            }
        });
        Self { end, thread }
    }

    /// How late it woke up.
    pub(crate) fn stop(self) -> Latencies {
        drop(self.end);
        self.thread.join().unwrap_or_default()
    }
}
