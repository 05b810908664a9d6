//! The semantics that were decided where OpenSSL's manual, its code and good sense disagree: one test for each row of
//! that table that the engine alone can show. What needs a handshake is in `rustls_adapter`.

#![allow(missing_docs)]

mod common;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Rig, assert_settled, context, id, lasting, secs, session, sized, watchdog};
use refrain::{
    Added, CacheMode, DEFAULT_CAPACITY, DEFAULT_TIMEOUT, Error, NotCached, RemovalCause, Session,
    SessionCache, SessionId, Time,
};

#[test]
fn a_size_of_n_holds_n_exactly_and_never_more() {
    for capacity in [1, 2, 3, 7, 64, 1000] {
        let rig = Rig::new(capacity);
        for n in 0..capacity as u64 {
            assert_eq!(rig.add(n), Added::Inserted);
            assert_eq!(rig.cache.len() as u64, n + 1);
        }
        assert!((0..capacity as u64).all(|n| rig.has(n)));
        assert_eq!(rig.gone(), []);
        for n in 0..3 * capacity as u64 {
            assert_eq!(rig.add(1_000_000 + n), Added::Inserted);
            assert_eq!(rig.cache.len(), capacity);
        }
        assert_eq!(rig.gone().len(), 3 * capacity);
    }
}

#[test]
fn a_size_of_zero_goes_as_far_as_the_maximum_which_must_be_given() {
    let error = SessionCache::builder().capacity(0).build().unwrap_err();
    assert!(matches!(error, Error::Capacity { asked: 0, .. }));

    let rig = Rig::with(SessionCache::builder().capacity(0).max_capacity(5));
    assert_eq!(rig.cache.capacity(), 5);
    for n in 0..9 {
        assert!(rig.add(n).is_cached());
    }
    assert_eq!(rig.cache.len(), 5);
    assert_eq!(rig.cache.set_capacity(2), Ok(5));
    assert_eq!(rig.cache.set_capacity(0), Ok(2));
    assert_eq!(rig.cache.capacity(), 5);
}

#[test]
fn the_byte_budget_holds_at_size_zero() {
    let builder = SessionCache::builder().capacity(0).max_capacity(100);
    let rig = Rig::with(builder.byte_budget(10 * 128).shards(1));
    for n in 0..50 {
        // One line of header and one of payload.
        assert_eq!(rig.cache.add(sized(&rig.context, n, 64)), Added::Inserted);
        assert!(rig.cache.stats().bytes <= 10 * 128);
    }
    assert_eq!(rig.cache.len(), 10);
}

#[test]
fn a_size_cut_below_the_count_only_lets_it_fall() {
    let rig = Rig::new(10);
    for n in 0..10 {
        assert!(rig.add(n).is_cached());
    }
    assert_eq!(rig.cache.set_capacity(4), Ok(10));
    // Adds do not raise it, whatever they answer; maintenance brings it down.
    let mut last = rig.cache.len();
    for n in 10..20 {
        let _ = rig.add(n);
        assert!(rig.cache.len() <= last, "the count rose");
        last = rig.cache.len();
    }
    rig.cache.settle();
    assert_eq!(rig.cache.len(), 4);
    assert_settled(&rig.cache.stats());
    // Up again: there is room at once.
    assert_eq!(rig.cache.set_capacity(10), Ok(4));
    for n in 20..26 {
        assert_eq!(rig.add(n), Added::Inserted);
    }
    assert_eq!(rig.cache.len(), 10);
}

#[test]
fn a_cut_size_is_reached_by_maintenance_alone() {
    let rig = Rig::new(10);
    for n in 0..10 {
        assert!(rig.add(n).is_cached());
    }
    rig.cache.set_capacity(4).unwrap();
    let gone = rig.gone();
    assert_eq!(
        gone,
        (0..6)
            .map(|n| (n, RemovalCause::Evicted))
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_same_object_added_twice_is_already_present() {
    let rig = Rig::new(4);
    let object = session(&rig.context, 1);
    assert_eq!(rig.cache.add(object.clone()), Added::Inserted);
    assert_eq!(rig.cache.add(object.clone()), Added::AlreadyPresent);
    assert_eq!(rig.cache.len(), 1);
    assert_eq!(object.references(), 2);
    let stats = rig.cache.stats();
    assert_eq!((stats.inserted, stats.replaced), (1, 0));
    assert_eq!(rig.gone(), []);
}

#[test]
fn an_object_that_has_left_does_not_come_back() {
    let rig = Rig::new(4);
    let object = session(&rig.context, 1);
    assert!(rig.cache.add(object.clone()).is_cached());
    assert!(rig.take(1).is_some());
    assert!(!object.is_resumable());
    assert_eq!(rig.cache.add(object.clone()), Added::Removed);
    assert!(!rig.has(1));
    // Its bytes may: as a new object.
    let again = Session::new(&rig.context, id(1), object.payload()).unwrap();
    assert_eq!(rig.cache.add(again), Added::Inserted);
}

#[test]
fn another_object_of_the_same_id_replaces_without_a_callback() {
    let rig = Rig::new(1);
    let first = sized(&rig.context, 1, 100);
    assert_eq!(rig.cache.add(first.clone()), Added::Inserted);
    for len in [100, 1000, 10, 0] {
        let next = sized(&rig.context, 1, len);
        assert_eq!(rig.cache.add(next), Added::Replaced);
        assert_eq!(rig.get(1).unwrap().payload().len(), len);
        assert_eq!(rig.cache.len(), 1);
    }
    assert!(!first.is_resumable());
    assert_eq!(rig.gone(), []);
    let stats = rig.cache.stats();
    assert_eq!((stats.inserted, stats.replaced), (5, 4));
    assert_settled(&stats);
    // The replaced one is an object of its own, whose life is over: to remove it says no, and fires nothing.
    assert!(!rig.cache.remove_exact(&first));
    assert!(!rig.cache.take_exact(&first));
    assert!(rig.has(1));
    assert_eq!(rig.gone(), []);
}

#[test]
fn an_expired_session_is_replaced_like_a_live_one() {
    let rig = Rig::new(4);
    assert!(rig.add_for(1, secs(1)).is_cached());
    rig.advance(secs(1));
    assert!(rig.add(1).is_cached());
    assert!(rig.has(1));
    assert_eq!(rig.cache.len(), 1);
    rig.cache.settle();
    assert!(rig.has(1));
    assert_settled(&rig.cache.stats());
}

#[test]
fn remove_fires_once_for_each_object_and_never_for_an_unknown_id() {
    let rig = Rig::new(4);
    assert!(!rig.remove(1));
    assert_eq!(rig.gone(), []);

    let added = session(&rig.context, 1);
    assert!(rig.cache.add(added.clone()).is_cached());
    assert!(rig.remove(1));
    assert!(!rig.remove(1));
    assert!(!rig.cache.remove_exact(&added));
    assert_eq!(rig.gone(), [(1, RemovalCause::Removed)]);

    // One that was never added: once, and then it can't be added any more.
    let never = session(&rig.context, 2);
    assert!(rig.cache.remove_exact(&never));
    assert!(!rig.cache.remove_exact(&never));
    assert_eq!(rig.cache.add(never.clone()), Added::Removed);
    assert!(!never.is_resumable());
    assert_eq!(rig.gone(), [(2, RemovalCause::Removed)]);
    assert_eq!(never.references(), 1);

    // By object, an expired one is removed too.
    let expired = lasting(&rig.context, 3, secs(1));
    assert!(rig.cache.add(expired.clone()).is_cached());
    rig.advance(secs(1));
    assert!(!rig.remove(3));
    assert!(rig.cache.remove_exact(&expired));
    assert_eq!(rig.gone(), [(3, RemovalCause::Removed)]);

    let stats = rig.cache.stats();
    assert_eq!((stats.removed, stats.never_added), (2, 1));
    assert_settled(&stats);
}

#[test]
fn remove_by_object_leaves_another_object_of_the_id_alone() {
    let rig = Rig::new(4);
    let stranger = session(&rig.context, 1);
    assert!(rig.add(1).is_cached());
    assert!(rig.cache.remove_exact(&stranger));
    assert!(rig.has(1));
}

#[test]
fn direct_calls_fire_neither_the_new_nor_the_get_callback() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let (on_new, on_get) = (asked.clone(), asked.clone());
    let builder = SessionCache::builder()
        .on_new(move |_| {
            on_new.fetch_add(1, Ordering::Relaxed);
            false
        })
        .on_get(move |_| {
            on_get.fetch_add(1, Ordering::Relaxed);
            None
        });
    let rig = Rig::with(builder);
    assert!(rig.add(1).is_cached());
    assert!(rig.get(2).is_none() && rig.take(2).is_none() && !rig.has(2));
    assert!(rig.get(1).is_some());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn the_key_is_the_context_and_the_whole_id() {
    let rig = Rig::new(100);
    let other = context(&rig.cache, "other");
    assert!(rig.cache.add(session(&other, 1)).is_cached());
    assert!(!rig.has(1));
    assert!(rig.take(1).is_none() && !rig.remove(1));
    assert!(rig.cache.contains(&other, &id(1)));
    assert!(rig.add(1).is_cached());
    assert_eq!(rig.cache.len(), 2);
    assert!(rig.remove(1));
    assert!(rig.cache.contains(&other, &id(1)));

    // Ids of every length, with the same bytes as far as they go, zeros and others.
    for fill in [0, 0xff] {
        let bytes = [fill; 33];
        assert!(SessionId::new(&bytes[..0]).is_err());
        assert!(SessionId::new(&bytes).is_err());
        for len in 1..=32 {
            let id = SessionId::new(&bytes[..len]).unwrap();
            let session = Session::new(&rig.context, id, &[len as u8]).unwrap();
            assert_eq!(rig.cache.add(session), Added::Inserted, "length {len}");
        }
        for len in 1..=32 {
            let id = SessionId::new(&bytes[..len]).unwrap();
            let found = rig.cache.take(&rig.context, &id).unwrap();
            assert_eq!(found.id(), &bytes[..len]);
            assert_eq!(found.payload(), [len as u8]);
        }
    }
}

#[test]
fn timeouts_saturate_zero_is_expired_at_once_and_the_default_is_named() {
    let cache = SessionCache::builder().build().unwrap();
    assert_eq!(cache.timeout(), DEFAULT_TIMEOUT);
    assert_eq!(cache.timeout(), secs(7200));
    assert_eq!(cache.capacity(), DEFAULT_CAPACITY);

    let rig = Rig::new(4);
    assert_eq!(
        rig.add_for(1, Duration::ZERO),
        Added::NotCached(NotCached::Expired)
    );
    assert_eq!(rig.cache.set_timeout(Duration::ZERO), DEFAULT_TIMEOUT);
    assert_eq!(rig.add(1), Added::NotCached(NotCached::Expired));
    assert_eq!(rig.cache.set_timeout(Duration::MAX), Duration::ZERO);
    let forever = session(&rig.context, 2);
    assert!(rig.cache.add(forever.clone()).is_cached());
    assert_eq!(forever.deadline(), Time::MAX);
    rig.clock.set(Time::MAX);
    rig.cache.settle();
    assert!(rig.has(2), "what never expires is there at the end of time");
    assert_eq!(rig.gone(), []);
}

#[test]
fn callbacks_run_with_nothing_held() {
    let _watchdog = watchdog();
    // One that uses the cache in every way, from inside, for the very id that it hears of.
    let slot = std::sync::Arc::new(std::sync::OnceLock::<(SessionCache, refrain::Context)>::new());
    let (inner, calls) = (slot.clone(), std::sync::Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let cache = SessionCache::builder()
        .capacity(8)
        .on_remove(move |gone, _| {
            let (cache, context) = inner.get().unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let id = gone.session_id();
            let _ = cache.add(session(context, 1_000_000));
            cache.take(context, &id);
            cache.remove(context, &id);
            cache.flush(cache.now());
            cache.retain(|_| true);
            cache.set_capacity(8).unwrap();
            cache.run_maintenance();
            cache.settle();
            cache.set_on_remove(cache.on_remove());
        })
        .build()
        .unwrap();
    let context = context(&cache, "x");
    assert!(slot.set((cache.clone(), context.clone())).is_ok());
    for n in 0..20 {
        assert!(cache.add(session(&context, n)).is_cached());
    }
    cache.settle();
    assert!(calls.load(Ordering::SeqCst) >= 12);
    // The callback holds a handle; this is what ends the cache.
    cache.set_on_remove(None);
}

#[test]
fn take_has_one_winner_of_eight() {
    let _watchdog = watchdog();
    const THREADS: usize = 8;
    const ROUNDS: u64 = 2000;
    let rig = Rig::new(16);
    let won: Vec<_> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (rig, won, barrier) = (&rig, &won, &barrier);
            scope.spawn(move || {
                for n in 0..ROUNDS {
                    if thread == 0 {
                        assert_eq!(rig.add(n), Added::Inserted);
                    }
                    barrier.wait();
                    // Half of them by id, half by the object, which all find first.
                    let mine = if thread % 2 == 0 {
                        rig.take(n).is_some()
                    } else {
                        rig.get(n).is_some_and(|found| rig.cache.take_exact(&found))
                    };
                    won[n as usize].fetch_add(usize::from(mine), Ordering::Relaxed);
                    barrier.wait();
                }
            });
        }
    });
    assert!(won.iter().all(|won| won.load(Ordering::Relaxed) == 1));
    assert_eq!(rig.gone().len() as u64, ROUNDS);
    assert_eq!(rig.cache.stats().taken, ROUNDS);
    assert_settled(&rig.cache.stats());
}

#[test]
fn expired_sessions_are_cleared_by_maintenance_or_by_flush_alone() {
    let rig = Rig::new(8);
    assert!(rig.add_for(1, secs(1)).is_cached());
    rig.clock.advance(secs(5));
    assert_eq!(rig.cache.run_maintenance().expired, 1);
    assert_eq!(rig.gone(), [(1, RemovalCause::Expired)]);

    let mode = CacheMode::SERVER | CacheMode::NO_AUTO_CLEAR;
    let rig = Rig::with(SessionCache::builder().mode(mode));
    assert!(rig.add_for(1, secs(1)).is_cached());
    assert!(rig.add_for(2, secs(9)).is_cached());
    rig.clock.advance(secs(5));
    assert_eq!(rig.cache.run_maintenance().expired, 0);
    assert_eq!(rig.gone(), []);
    assert_eq!(rig.cache.len(), 2);
    assert!(!rig.has(1), "never found, all the same");
    assert_eq!(rig.cache.flush(rig.cache.now()), 1);
    assert_eq!(rig.gone(), [(1, RemovalCause::Expired)]);
    // With the mode changed at run time, what the wheel has missed is caught up with.
    assert_eq!(rig.cache.set_mode(CacheMode::SERVER), mode);
    rig.clock.advance(secs(5));
    assert_eq!(rig.gone(), [(2, RemovalCause::Expired)]);
}

#[test]
fn what_was_taken_is_gone_for_every_form_of_lookup() {
    let rig = Rig::new(4);
    assert!(rig.add(1).is_cached());
    let taken = rig.take(1).unwrap();
    assert_eq!(taken.payload(), 1u64.to_be_bytes());
    assert!(rig.take(1).is_none() && rig.get(1).is_none() && !rig.has(1) && !rig.remove(1));
    assert!(!rig.cache.take_exact(&taken) && !rig.cache.remove_exact(&taken));
    assert_eq!(rig.gone(), [(1, RemovalCause::Taken)]);
}
