//! What is asked of crossbeam-epoch.

pub(crate) use crossbeam_epoch::{Collector, Guard, LocalHandle};

pub(crate) fn defer(guard: &Guard, f: impl FnOnce() + Send + 'static) {
    guard.defer(f);
    guard.flush();
}

pub(crate) fn flush(guard: &Guard) {
    guard.flush();
}
