//! Histories of one id, recorded from real threads, must be explainable by a cell that holds at most one session: there is
//! an order of the operations, true to real time, in which each answer is the right one. A remove callback is one of the
//! operations, so one that is lost, doubled, too early or of the wrong cause can't be explained.
//!
//! Each scenario records eight histories of four threads with 5000 operations each; `REFRAIN_HISTORIES` sets another number. The
//! package `loom-tests` has histories of a few operations under very many schedules, checked by the same checker.

#![allow(missing_docs)]

mod brute;
mod checker;
#[path = "../common/mod.rs"]
mod common;
mod history;
mod known;
mod record;
mod scenarios;
