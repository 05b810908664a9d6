//! Expiry: deadlines on and around the moment, clocks that jump, timeouts from zero to the longest.

#![allow(missing_docs)]

mod common;

use std::time::Duration;

use common::{Rig, assert_settled, id, lasting, millis, secs, session};
use refrain::{
    Added, CacheMode, Maintenance, ManualClock, NotCached, RemovalCause, Session, SessionCache,
    Time,
};

fn rig() -> Rig {
    Rig::new(1000)
}

#[test]
fn a_session_lives_up_to_its_deadline_and_not_on_it() {
    for tick in [1, 10, 1000, 60_000] {
        let builder = SessionCache::builder().tick(millis(tick));
        let rig = Rig::with(builder);
        for start in [0, 1, 999, 1000, 1001, 123_456] {
            rig.clock.set(rig.cache.now());
            rig.advance(millis(start));
            for (n, timeout) in [1, 2, 999, 1000, 1001, 64_000].into_iter().enumerate() {
                let n = n as u64;
                let begin = rig.cache.now();
                let lasting = lasting(&rig.context, n, millis(timeout));
                assert!(rig.cache.add(lasting.clone()).is_cached());
                assert_eq!(lasting.deadline(), begin + millis(timeout));
                rig.clock.set(begin + millis(timeout - 1));
                rig.cache.now();
                assert!(
                    rig.has(n),
                    "{timeout} ms less 1, tick {tick}, start {start}"
                );
                rig.clock.set(begin + millis(timeout));
                rig.cache.now();
                assert!(!rig.has(n), "{timeout} ms, tick {tick}, start {start}");
                assert!(rig.get(n).is_none() && rig.take(n).is_none() && !rig.remove(n));
                assert!(!rig.cache.take_exact(&lasting));
            }
            rig.cache.clear();
            rig.gone();
        }
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn flush_removes_what_is_due_at_its_moment_and_nothing_else() {
    let rig = rig();
    for n in 1..=10 {
        assert!(rig.add_for(n, secs(n)).is_cached());
    }
    // The moment given decides, not the clock: here it lies in the future.
    assert_eq!(rig.cache.flush(Time::from_millis(2999)), 2);
    assert_eq!(rig.cache.flush(Time::from_millis(3000)), 1);
    assert_eq!(rig.cache.flush(Time::from_millis(3000)), 0);
    assert_eq!(rig.cache.flush(Time::ZERO), 0);
    let expired = |n| (n, RemovalCause::Expired);
    rig.cache.settle();
    assert_eq!(rig.log.drain_sorted(), [1, 2, 3].map(expired));
    assert!((4..=10).all(|n| rig.has(n)));
    assert_eq!(rig.cache.stats().expired, 3);
}

#[test]
fn flush_at_the_end_of_time_spares_what_never_expires() {
    let rig = rig();
    assert!(rig.add_for(1, Duration::MAX).is_cached());
    assert!(rig.add_for(2, secs(1)).is_cached());
    assert_eq!(rig.cache.flush(Time::MAX), 1);
    assert!(rig.has(1));
}

#[test]
fn the_clock_set_back_stands_still_and_revives_nothing() {
    let rig = rig();
    rig.advance(secs(100));
    assert!(rig.add_for(1, secs(10)).is_cached());
    assert!(rig.add_for(2, secs(50)).is_cached());
    rig.advance(secs(10));
    assert!(!rig.has(1));
    rig.clock.set(Time::from_millis(5_000));
    assert_eq!(rig.cache.now(), Time::from_millis(110_000));
    assert!(!rig.has(1), "revived");
    assert!(rig.has(2));
    // What is added meanwhile counts from the time that the cache has seen.
    let late = lasting(&rig.context, 3, secs(10));
    assert!(rig.cache.add(late.clone()).is_cached());
    assert_eq!(late.deadline(), Time::from_millis(120_000));
    assert_eq!(rig.gone(), [(1, RemovalCause::Expired)]);
    // It goes on where it stood.
    rig.clock.set(Time::from_millis(119_999));
    rig.cache.now();
    assert!(rig.has(3));
    rig.clock.set(Time::from_millis(120_000));
    assert_eq!(rig.gone(), [(3, RemovalCause::Expired)]);
}

#[test]
fn the_clock_jumping_ahead_expires_all_that_it_passed() {
    // A second, an hour, a day, a month, ten years: within a level of the wheel, across its levels, and beyond them.
    for jump in [1, 3600, 86_400, 2_592_000, 315_360_000] {
        let rig = rig();
        for n in 0..200 {
            assert!(rig.add_for(n, secs(1 + n * jump / 100)).is_cached());
        }
        rig.clock.advance(secs(jump));
        let due = |n: u64| n * jump / 100 < jump;
        let expected: Vec<_> = (0..200)
            .filter(|n| due(*n))
            .map(|n| (n, RemovalCause::Expired))
            .collect();
        rig.cache.settle();
        assert_eq!(rig.log.drain_sorted(), expected, "after {jump} seconds");
        assert!((0..200).all(|n| rig.has(n) != due(n)));
        rig.clock.advance(secs(jump + 2));
        rig.cache.settle();
        assert_eq!(rig.cache.len(), 0);
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn the_wheel_tells_each_deadline_within_its_tick() {
    // Nobody looks anything up and nobody flushes: only maintenance, once a tick. The callback must come in the first
    // run at or after the deadline, never before it.
    let rig = rig();
    let deadlines: Vec<u64> = (1..=300).map(|n| n * 977).collect();
    for (n, deadline) in deadlines.iter().enumerate() {
        assert!(rig.add_for(n as u64, millis(*deadline)).is_cached());
    }
    let mut told = 0;
    for tick in 1..=300 {
        rig.clock.set(Time::from_millis(tick * 1000));
        rig.cache.settle();
        for (n, cause) in rig.log.drain() {
            let deadline = deadlines[n as usize];
            assert_eq!(cause, RemovalCause::Expired);
            assert!(deadline <= tick * 1000, "told {deadline} at tick {tick}");
            assert!(
                deadline > (tick - 1) * 1000,
                "told {deadline} at tick {tick}"
            );
            told += 1;
        }
    }
    assert_eq!(told, deadlines.len());
}

#[test]
fn timeouts_from_zero_to_the_longest() {
    let longest = Time::MAX.as_millis();
    for timeout in [
        0,
        1,
        999,
        1000,
        63_999,
        64_000,
        4_096_000,
        262_144_000,
        3_000_000_000,
        longest - 1,
        longest,
        longest + 1,
        u64::MAX,
    ] {
        // Once as the session's own, once as the cache's.
        for own in [true, false] {
            let rig = rig();
            let session = if own {
                lasting(&rig.context, 1, millis(timeout))
            } else {
                rig.cache.set_timeout(millis(timeout));
                session(&rig.context, 1)
            };
            let added = rig.cache.add(session.clone());
            if timeout == 0 {
                assert_eq!(added, Added::NotCached(NotCached::Expired));
                assert_eq!(rig.cache.len(), 0);
                continue;
            }
            assert_eq!(added, Added::Inserted);
            assert_eq!(session.deadline(), Time::from_millis(timeout));
            rig.clock.set(Time::from_millis(timeout - 1));
            rig.cache.settle();
            assert!(rig.has(1), "just before {timeout}");
            rig.clock.set(Time::from_millis(timeout));
            rig.cache.settle();
            let never = timeout >= longest;
            assert_eq!(rig.has(1), never, "at {timeout}");
            rig.cache.flush(rig.cache.now());
            assert_eq!(rig.cache.len(), usize::from(never), "at {timeout}");
        }
    }
    // Less than a millisecond is rounded up: short, but not zero.
    let rig = rig();
    assert!(rig.add_for(1, Duration::from_nanos(1)).is_cached());
    assert!(rig.has(1));
    assert_eq!(
        rig.add_for(2, Duration::ZERO),
        Added::NotCached(NotCached::Expired)
    );
}

#[test]
fn the_authentication_deadline_bounds_the_timeout_and_is_handed_on() {
    let rig = rig();
    let until = Time::from_millis(10_000);
    let first = Session::builder(&rig.context, id(1))
        .not_after(until)
        .build(b"")
        .unwrap();
    assert!(rig.cache.add(first.clone()).is_cached());
    assert_eq!((first.deadline(), first.not_after()), (until, until));
    rig.advance(secs(9));
    let old = rig.take(1).unwrap();
    let second = Session::builder(&rig.context, id(2))
        .timeout(secs(3600))
        .not_after(old.not_after())
        .build(b"")
        .unwrap();
    assert!(rig.cache.add(second.clone()).is_cached());
    assert_eq!(second.deadline(), until);
    // A shorter timeout stays shorter.
    let third = Session::builder(&rig.context, id(3))
        .timeout(millis(1))
        .not_after(until)
        .build(b"")
        .unwrap();
    assert!(rig.cache.add(third.clone()).is_cached());
    assert_eq!(third.deadline(), Time::from_millis(9001));
    rig.advance(secs(1));
    assert!(!rig.has(2));
    let late = Session::builder(&rig.context, id(4))
        .not_after(until)
        .build(b"")
        .unwrap();
    assert_eq!(rig.cache.add(late), Added::NotCached(NotCached::Expired));
}

#[test]
fn update_time_gives_a_found_session_its_timeout_again() {
    let mode = CacheMode::SERVER | CacheMode::UPDATE_TIME;
    let builder = SessionCache::builder().mode(mode).timeout(secs(10));
    let rig = Rig::with(builder);
    let (by_cache, by_own) = (session(&rig.context, 1), lasting(&rig.context, 2, secs(20)));
    let bounded = Session::builder(&rig.context, id(3))
        .not_after(Time::from_millis(12_000))
        .build(b"")
        .unwrap();
    for session in [&by_cache, &by_own, &bounded] {
        assert!(rig.cache.add(session.clone()).is_cached());
    }
    rig.advance(secs(9));
    assert!(rig.get(1).is_some());
    assert!(rig.cache.with(&rig.context, &id(2), |_| ()).is_some());
    assert!(rig.get(3).is_some());
    assert_eq!(by_cache.deadline(), Time::from_millis(19_000));
    assert_eq!(by_own.deadline(), Time::from_millis(29_000));
    assert_eq!(bounded.deadline(), Time::from_millis(12_000));
    // The wheel follows: nothing at the old deadline, all at the new one.
    rig.clock.set(Time::from_millis(15_000));
    assert_eq!(rig.gone(), [(3, RemovalCause::Expired)]);
    // On the deadline it is too late.
    rig.clock.set(Time::from_millis(19_000));
    rig.cache.now();
    assert!(rig.get(1).is_none());
    assert_eq!(by_cache.deadline(), Time::from_millis(19_000));
    assert_eq!(rig.gone(), [(1, RemovalCause::Expired)]);
    rig.clock.set(Time::from_millis(29_000));
    assert_eq!(rig.gone(), [(2, RemovalCause::Expired)]);
    // A shorter timeout set later takes nothing away.
    let long = session(&rig.context, 4);
    assert!(rig.cache.add(long.clone()).is_cached());
    rig.cache.set_timeout(secs(1));
    assert!(rig.get(4).is_some());
    assert_eq!(long.deadline(), Time::from_millis(39_000));
}

#[test]
fn without_update_time_a_lookup_changes_no_deadline() {
    let rig = rig();
    let session = lasting(&rig.context, 1, secs(10));
    assert!(rig.cache.add(session.clone()).is_cached());
    rig.advance(secs(9));
    assert!(rig.get(1).is_some());
    assert_eq!(session.deadline(), Time::from_millis(10_000));
}

#[test]
fn a_timeout_set_later_counts_for_later_sessions_only() {
    let rig = rig();
    let (before, after) = (session(&rig.context, 1), session(&rig.context, 2));
    rig.cache.set_timeout(secs(10));
    assert!(rig.cache.add(before.clone()).is_cached());
    assert_eq!(rig.cache.set_timeout(secs(20)), secs(10));
    assert!(rig.cache.add(after.clone()).is_cached());
    assert_eq!(before.deadline(), Time::from_millis(10_000));
    assert_eq!(after.deadline(), Time::from_millis(20_000));
    assert_eq!(rig.cache.timeout(), secs(20));
}

#[test]
fn expired_lookups_count_as_timeouts() {
    let rig = rig();
    assert!(rig.add_for(1, secs(1)).is_cached());
    rig.advance(secs(1));
    assert!(rig.get(1).is_none() && rig.take(1).is_none() && !rig.has(2));
    let stats = rig.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.timeouts), (0, 1, 2));
}

#[test]
fn the_maintainer_expires_by_itself_on_a_manual_clock_and_on_the_systems() {
    let _watchdog = common::watchdog();
    for manual in [true, false] {
        let (told, heard) = std::sync::mpsc::channel();
        let clock = ManualClock::new();
        let mut builder = SessionCache::builder()
            .tick(millis(1))
            .maintenance(Maintenance::Threads)
            .on_remove(move |session, cause| {
                let _ = told.send((common::number(session), cause));
            });
        if manual {
            builder = builder.clock(clock.clone());
        }
        let cache = builder.build().unwrap();
        let context = common::context(&cache, "x");
        for n in 0..10 {
            let session = lasting(&context, n, millis(20 + n));
            assert!(cache.add(session).is_cached());
        }
        clock.advance(secs(1));
        let mut gone: Vec<_> = (0..10).map(|_| heard.recv().unwrap()).collect();
        gone.sort_by_key(|(n, _)| *n);
        assert!(gone.iter().enumerate().all(|(i, e)| e.0 == i as u64));
        assert!(gone.iter().all(|(_, c)| *c == RemovalCause::Expired));
    }
}
