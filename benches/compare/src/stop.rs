//! Ctrl-C ends a run after the slice that is under way, and what was measured is still printed. A second one ends it at
//! once.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// What a run that was ended so exits with.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) fn listen() {
    // Without the handler, Ctrl-C ends it at once.
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            process::exit(i32::from(INTERRUPTED));
        }
    });
}

pub(crate) fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
