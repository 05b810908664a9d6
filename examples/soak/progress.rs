//! Progress on standard error, and an end to a run that hangs.

use std::io::{IsTerminal, stderr};
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::heap;
use crate::note;

/// Nothing at all happens for so long only if something waits for ever.
const HANGS: Duration = Duration::from_secs(120);

/// What is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    pub(crate) operations: u64,
    pub(crate) callbacks: u64,
    pub(crate) live: u64,
    pub(crate) round: u32,
    pub(crate) faults: u64,
}

/// A running display.
#[derive(Debug)]
pub(crate) struct Progress {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Shows how far a run of that time is.
    pub(crate) fn start(time: Duration, now: impl Fn() -> Now + Send + 'static) -> Self {
        let (end, ended) = mpsc::channel();
        let terminal = stderr().is_terminal();
        let pause = Duration::from_millis(if terminal { 100 } else { 1000 });
        let thread = thread::spawn(move || {
            let bar = bar(time, terminal);
            let began = Instant::now();
            let (mut moved, mut before) = (began, (0, 0));
            loop {
                let at_end = ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                let seen = now();
                let text = text(&seen);
                bar.set_position(began.elapsed().as_millis() as u64);
                bar.set_message(text.clone());
                if !terminal {
                    note(format_args!(
                        "{:6.1} s  {text}",
                        began.elapsed().as_secs_f64()
                    ));
                }
                if at_end {
                    break;
                }
                if (seen.operations, seen.callbacks) != before {
                    (moved, before) = (Instant::now(), (seen.operations, seen.callbacks));
                } else if moved.elapsed() > HANGS {
                    note(format_args!(
                        "FAILED: it hangs: no operation and no callback for {} s",
                        HANGS.as_secs()
                    ));
                    process::exit(1);
                }
            }
            bar.finish_and_clear();
        });
        Self { end, thread }
    }

    /// Takes the display down.
    pub(crate) fn stop(self) {
        drop(self.end);
        let _ = self.thread.join();
    }
}

fn text(now: &Now) -> String {
    let faults = match now.faults {
        0 => String::new(),
        faults => format!(", {} FAULTS", HumanCount(faults)),
    };
    format!(
        "round {}, {} operations, {} callbacks, {} live, {} held{faults}",
        now.round,
        HumanCount(now.operations),
        HumanCount(now.callbacks),
        HumanCount(now.live),
        HumanBytes(heap::live() as u64),
    )
}

fn bar(time: Duration, terminal: bool) -> ProgressBar {
    if !terminal {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed:>4} {bar:20} {msg}");
    let length = Some(time.as_millis() as u64);
    ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
