//! Faults: what breaks around the cache, or inside its user's code, and what must then still be true.
//!
//! What can't be undone within a process (a reader that never returns, a fork beside running threads) happens in a process
//! of its own: a *scene*, an ignored test that another test runs by calling this program again.

#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(unix)]
mod child;
mod clock;
mod crowd;
mod dying;
mod extent;
#[cfg(unix)]
mod fork;
mod heap;
mod listener;
mod reader;
mod scene;
mod timeouts;
