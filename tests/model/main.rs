//! The cache against a model of it: sequences of operations, on one thread, with a clock that only the sequence moves.
//!
//! Where the capacity is never reached, every answer, every count and every callback must be the model's. Where it is
//! small, evictions are the cache's own choice: the model learns of them from the handles, and all the rest must agree.

#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod ops;
mod world;

use ops::{Op, op};
use proptest::prelude::*;
use world::World;

fn run(roomy: bool, unit: u64, shards: usize, ops: &[Op]) {
    let mut world = World::new(roomy, unit, shards);
    ops.iter().for_each(|op| world.apply(op));
    world.finish();
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_roomy_cache_is_a_map_with_a_clock(
        unit in prop::sample::select(vec![1u64, 1000]),
        shards in prop::sample::select(vec![1usize, 4]),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(true, unit, shards, &ops);
    }

    #[test]
    fn a_small_cache_is_that_map_but_for_what_made_room(
        unit in prop::sample::select(vec![1u64, 1000]),
        shards in prop::sample::select(vec![1usize, 4]),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(false, unit, shards, &ops);
    }
}
