//! The smallest caches and the largest.
//!
//! Capacities from 1 up under threads are in `tests/capacity.rs`; values out of range in `tests/bad_input.rs`.
#![cfg_attr(
    not(target_os = "linux"),
    allow(unused_imports, reason = "the largest is measured on Linux only")
)]

use std::time::Instant;

use refrain::{Added, Maintenance, NotCached, RemovalCause, SessionCache};

use crate::common::{
    Random, Rig, assert_settled, context, id, number, secs, session, sized, watchdog_for,
};
use crate::scene::play;

#[test]
fn one_session_and_two() {
    for capacity in [1, 2] {
        for shards in [1, 64] {
            let rig = Rig::with(SessionCache::builder().capacity(capacity).shards(shards));
            let mut random = Random::new(1);
            for n in 0..1000 {
                // The newcomer is in, whatever was in before.
                assert_eq!(rig.add(n), Added::Inserted);
                assert!(rig.has(n));
                assert_eq!(rig.cache.len(), capacity.min(n as usize + 1));
                match random.below(6) {
                    0 => assert_eq!(rig.add(n), Added::Replaced),
                    1 => assert_eq!(rig.take(n).as_ref().map(number), Some(n)),
                    2 => assert!(rig.remove(n)),
                    3 => assert_eq!(rig.cache.set_capacity(1), Ok(capacity)),
                    _ => {}
                }
                rig.cache.settle();
                assert!(rig.cache.len() <= rig.cache.capacity());
                rig.cache.set_capacity(capacity).unwrap();
                if rig.cache.len() < capacity {
                    assert!(rig.add(n + 1_000_000).is_cached());
                }
            }
            rig.cache.settle();
            assert_settled(&rig.cache.stats());
        }
    }
}

#[test]
fn bytes_for_exactly_one_session_for_one_byte_less_and_for_none() {
    let one = 64 + 1000_usize.next_multiple_of(64);
    let budget = |bytes| Rig::with(SessionCache::builder().capacity(100).byte_budget(bytes));
    let too_large = Added::NotCached(NotCached::TooLarge);
    // Exactly one: it is always the newcomer.
    let rig = budget(one);
    for n in 0..100 {
        assert_eq!(rig.cache.add(sized(&rig.context, n, 1000)), Added::Inserted);
        assert!(rig.has(n) && rig.cache.len() == 1);
        assert_eq!(rig.cache.stats().bytes as usize, one);
    }
    // Replaced by a larger one, that does not fit; and by one of its own size, that does.
    assert_eq!(rig.cache.add(sized(&rig.context, 99, 1025)), too_large);
    assert!(rig.has(99));
    assert_eq!(rig.cache.add(sized(&rig.context, 99, 961)), Added::Replaced);
    let evicted = rig.gone().into_iter().map(|event| event.1);
    assert_eq!(evicted.collect::<Vec<_>>(), [RemovalCause::Evicted; 99]);
    // Two of less than half the size, and then one large in their place.
    assert!(rig.remove(99));
    for n in 0..2 {
        assert_eq!(
            rig.cache.add(sized(&rig.context, n, 7 * 64)),
            Added::Inserted
        );
    }
    assert!(rig.has(0) && rig.has(1));
    assert_eq!(rig.cache.add(sized(&rig.context, 2, 1000)), Added::Inserted);
    assert!(!rig.has(0) && !rig.has(1) && rig.has(2));
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
    // One byte less, and one line more than nothing: refused, and nothing is evicted for it.
    for bytes in [one - 1, 64] {
        let rig = budget(bytes);
        let small = refrain::Session::new(&rig.context, id(7), b"").unwrap();
        assert_eq!(rig.cache.add(small), Added::Inserted);
        for n in 0..10 {
            assert_eq!(rig.cache.add(sized(&rig.context, n, 1000)), too_large);
        }
        assert!(rig.has(7) && rig.cache.len() == 1);
        let stats = rig.cache.stats();
        assert_eq!((stats.not_cached, stats.evicted, stats.bytes), (10, 0, 64));
    }
    // Lowered under what is in: it goes, and what is too large now is refused.
    let rig = budget(2 * one);
    assert!(rig.cache.add(sized(&rig.context, 1, 1000)).is_cached());
    rig.cache.set_byte_budget(one - 1).unwrap();
    assert_eq!(rig.cache.add(sized(&rig.context, 2, 1000)), too_large);
    rig.cache.settle();
    assert_eq!((rig.cache.len(), rig.cache.stats().bytes), (0, 0));
    assert_eq!(rig.log.all(), [(1, RemovalCause::Evicted)]);
}

/// The process's memory, in bytes, where the system tells.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Whether the system leaves it to programs to ask for huge pages.
#[cfg(target_os = "linux")]
fn has_small_pages() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .ok()
        .is_none_or(|modes| !modes.contains("[always]"))
        && std::env::var_os("GLIBC_TUNABLES").is_none()
}

#[cfg(target_os = "linux")]
#[test]
fn as_large_as_can_be() {
    play("extent::huge");
}

/// The index is as large as the capacity, and is touched only where there are sessions.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "a scene"]
fn huge() {
    const MOST: usize = (1 << 28) - 1;
    let _watchdog = watchdog_for(secs(300));
    let before = resident();
    let begin = Instant::now();
    // The largest that there is address space for, which on a machine with less memory, or told to promise no more than it
    // has, may be less than the most.
    let (capacity, cache) = std::iter::successors(Some(MOST), |&capacity| Some(capacity / 2))
        .take_while(|&capacity| capacity > 1 << 20)
        .find_map(|capacity| {
            let builder = SessionCache::builder()
                .capacity(100_000)
                .max_capacity(capacity);
            let built = builder
                .maintenance(Maintenance::Manual)
                .on_remove(|_, _| ())
                .build();
            built.ok().map(|cache| (capacity, cache))
        })
        .expect("a million entries can be had");
    let context = context(&cache, "x");
    for n in 0..1000 {
        assert_eq!(cache.add(session(&context, n)), Added::Inserted);
    }
    assert!((0..1000).all(|n| cache.with(&context, &id(n), number) == Some(n)));
    let grown = resident().saturating_sub(before);
    println!(
        "{capacity} entries: {:?}, {} MiB touched",
        begin.elapsed(),
        grown >> 20
    );
    // A page for each session's bucket, and a page each for its bits in wheel and ages, at the worst.
    if has_small_pages() {
        assert!(
            grown < 64 << 20,
            "{grown} bytes for an index of {capacity} entries"
        );
    } else {
        println!(
            "SKIPPED: how much is touched, because this system backs all memory with huge pages"
        );
    }
    assert_eq!(cache.set_capacity(capacity), Ok(100_000));
    assert_eq!(cache.capacity(), capacity);
    for n in 0..500 {
        assert!(cache.take(&context, &id(n)).is_some());
        assert!(cache.remove(&context, &id(n + 500)));
    }
    while cache.stats().backlog_bytes > 0 {
        cache.run_maintenance();
    }
    assert_settled(&cache.stats());
    if capacity >> 24 > 0 && cfg!(debug_assertions) {
        // Its end looks at every bucket, which an unoptimised build does not do in a time that a test has.
        std::mem::forget(cache);
    }
}
