//! crossbeam-epoch itself, held to the promise that the modelled domain makes to all other models. Under loom only, and
//! with `crossbeam_loom`, by which crossbeam-epoch takes loom's atomics.
//!
//! What these show: no closure runs before the guards end that could see what it frees, or without knowing what their
//! owners did; each runs once, if not in time, then with the collector. What they can't: crossbeam-epoch waits for the
//! epoch to move twice and so is later than it has to be, which hides from loom what comes a step too early.
#![cfg(all(refrain_loom, crossbeam_loom))]

use loom_tests::{promise, two_long};
use refrain::internal::Crossbeam;

/// Threads: pin, look, read, unpin; unlink, defer, flush. Protects: `reclaim::Domain` as everybody gets it, and
/// that its stand-in in the models promises no more than it keeps.
#[test]
fn crossbeam_against_one_reader() {
    two_long(
        "crossbeam_against_one_reader",
        &["read", "missed", "in time", "with the domain"],
        promise::against_one_reader::<Crossbeam>,
    );
}

/// The same for a pin within a pin.
#[test]
fn crossbeam_with_nested_pins() {
    two_long(
        "crossbeam_with_nested_pins",
        &["read", "missed", "in time", "with the domain"],
        promise::with_nested_pins::<Crossbeam>,
    );
}
