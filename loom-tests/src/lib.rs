//! What the models of `refrain`'s races are written with: one body for loom and for shuttle.
//!
//! The models are in `tests/`, by what they are about. Each runs the engine that ships, through
//! `refrain::internal`, and is written once, as a function of a `Run`. A body sets the stage, lets two or three
//! threads `race`, and then asserts what must hold whatever happened; `Run::reached` notes what did
//! happen.
//!
//! loom and shuttle only know what they have been led to. So each model names the outcomes that must have been reached
//! at least once over all executions, and fails if one was not: a model that explores nothing does not pass. It fails as
//! well if an outcome is reached that it does not name. loom 0.7.2 passes over interleavings of operations that it takes
//! to be independent, and which ones depends on which thread is the main one; so each model runs with each of its threads
//! in that role.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `LOOM_MAX_PREEMPTIONS` | loom: how often a thread may be interrupted in an execution of a model of two threads; models of three threads, and long ones, have one less, those with a cache's own threads two or have always one | 3 |
//! | `REFRAIN_SHUTTLE_ITERATIONS` | shuttle: random schedules of a model, as many of PCT at depth 3, and at most as many of the depth-first search | 20000 |
//!
//! `scripts/loom` and `scripts/shuttle` run them. Without `--cfg refrain_loom` or `--cfg refrain_shuttle` this package
//! is empty.

#[cfg(all(refrain_loom, refrain_shuttle))]
compile_error!("refrain_loom and refrain_shuttle exclude each other");

#[cfg(any(refrain_loom, refrain_shuttle))]
mod checker;
#[cfg(any(refrain_loom, refrain_shuttle))]
pub mod promise;
#[cfg(any(refrain_loom, refrain_shuttle))]
mod run;

#[cfg(any(refrain_loom, refrain_shuttle))]
pub use checker::sync;
#[cfg(any(refrain_loom, refrain_shuttle))]
pub use run::{
    Run, close, three, two, two_and_a_cache, two_and_a_cache_long, two_caches, two_long,
};
