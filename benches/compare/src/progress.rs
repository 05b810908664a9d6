//! Progress on standard error: a bar on a terminal, a line for each thing that begins anywhere else.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::note;

/// A running display.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// Of so many steps.
    pub(crate) fn start(steps: u64) -> Self {
        let terminal = stderr().is_terminal();
        let bar = if terminal {
            let style = ProgressStyle::with_template("{elapsed:>4} {bar:20} {eta:>4} left  {msg}");
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { bar, terminal }
    }

    /// Something begins.
    pub(crate) fn begin(&self, what: impl Display) {
        if self.terminal {
            self.bar.set_message(what.to_string());
        } else {
            note(format_args!(
                "{:6.1} s  {what}",
                self.bar.elapsed().as_secs_f64()
            ));
        }
    }

    /// So many steps are done.
    pub(crate) fn step(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// Prints what is to stay, without the bar in it.
    pub(crate) fn print(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
