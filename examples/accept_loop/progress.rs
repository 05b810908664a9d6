//! Progress on standard error while the fleet is at work: a bar on a terminal, a line per second anywhere else.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::note;
use crate::server::Served;

/// A running display.
pub(crate) struct Progress {
    end: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows how far the server is on the way to `total` handshakes. `live` asks the cache for its sessions.
    pub(crate) fn start(
        total: u64,
        served: Arc<Served>,
        live: impl Fn() -> Option<u64> + Send + 'static,
    ) -> Self {
        let (end, ended) = mpsc::channel();
        let terminal = stderr().is_terminal();
        let pause = Duration::from_millis(if terminal { 100 } else { 1000 });
        let display = move || {
            let bar = bar(total, terminal);
            let began = Instant::now();
            loop {
                let at_end = ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                let resumed = served.resumed.load(Ordering::Relaxed);
                let done = served.full.load(Ordering::Relaxed) + resumed;
                let share = percent(resumed, done);
                let sessions =
                    live().map_or(String::new(), |live| format!(", {} live", HumanCount(live)));
                bar.set_message(format!("{share} resumed{sessions}"));
                bar.set_position(done);
                if !terminal {
                    let seconds = began.elapsed().as_secs_f64();
                    note(format_args!(
                        "{seconds:5.1} s  {} of {} handshakes ({}), {share} resumed{sessions}",
                        HumanCount(done),
                        HumanCount(total),
                        percent(done, total),
                    ));
                }
                if at_end {
                    break;
                }
            }
            bar.finish_and_clear();
        };
        // Without the thread there is no display, and nothing else is lost.
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(display)
            .ok();
        Self { end, thread }
    }

    /// Takes the display down.
    pub(crate) fn stop(self) {
        drop(self.end);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

fn bar(total: u64, terminal: bool) -> ProgressBar {
    if !terminal {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{elapsed:>4} {wide_bar} {human_pos} of {human_len}, {msg}");
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// `part` of `whole` in percent, or a dash for a part of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}
