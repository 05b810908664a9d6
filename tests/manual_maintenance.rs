//! `Maintenance::Manual`: nothing happens by itself, everything happens in `run_maintenance`, and what it says is true.

#![allow(missing_docs)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use common::{Log, Rig, assert_settled, context, id, millis, secs, session, sized, watchdog};
use refrain::{Added, Maintained, Maintenance, NotCached, RemovalCause, SessionCache};

#[test]
fn nothing_is_called_outside_of_a_run() {
    let rig = Rig::new(4);
    for n in 0..8 {
        assert!(rig.add(n).is_cached());
    }
    assert!(rig.remove(7));
    rig.clock.advance(secs(100_000));
    assert_eq!(rig.log.all(), []);
    assert!(rig.cache.stats().backlog_bytes > 0);
    let done = rig.cache.run_maintenance();
    assert_eq!((done.expired, done.delivered), (3, 8));
    assert_eq!(rig.log.all().len(), 8);
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
}

#[test]
fn callbacks_run_on_the_thread_that_maintains() {
    let here = std::thread::current().id();
    let cache = SessionCache::builder()
        .maintenance(Maintenance::Manual)
        .on_remove(move |_, _| assert_eq!(std::thread::current().id(), here))
        .build()
        .unwrap();
    let context = context(&cache, "x");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(cache.add(session(&context, 1)).is_cached());
            assert!(cache.remove(&context, &id(1)));
        });
    });
    assert_eq!(cache.run_maintenance().delivered, 1);
    assert_eq!(cache.stats().callback_panics, 0);
}

#[test]
fn a_run_without_work_does_nothing() {
    let rig = Rig::new(4);
    assert_eq!(rig.cache.run_maintenance(), Maintained::default());
    assert!(rig.add(1).is_cached());
    assert_eq!(rig.cache.run_maintenance(), Maintained::default());
}

#[test]
fn a_run_tells_what_it_did() {
    let rig = Rig::new(10);
    let doomed = context(&rig.cache, "doomed");
    for n in 0..5 {
        assert!(rig.add_for(n, secs(1 + n)).is_cached());
    }
    for n in 5..10 {
        assert!(rig.cache.add(session(&doomed, n)).is_cached());
    }
    rig.clock.advance(secs(3));
    rig.cache.invalidate_context(&doomed).unwrap();
    let mut total = rig.cache.run_maintenance();
    assert_eq!((total.expired, total.swept), (3, 5));
    assert_eq!(total.delivered, 8);
    while rig.cache.stats().backlog_bytes > 0 {
        total.reclaimed += rig.cache.run_maintenance().reclaimed;
    }
    assert_eq!(total.reclaimed, 8);
    rig.cache.set_capacity(1).unwrap();
    assert_eq!(rig.cache.run_maintenance().swept, 1);
    assert_eq!(rig.cache.len(), 1);
}

#[test]
fn runs_are_bounded_and_say_when_there_is_more() {
    let rig = Rig::new(100_000);
    for n in 0..100_000 {
        assert!(rig.add_for(n, secs(10)).is_cached());
    }
    // So far that the wheel is not turned tick by tick: every bucket is looked at.
    rig.clock.advance(secs(1_000_000));
    let mut runs = 0;
    let mut expired = 0;
    loop {
        let done = rig.cache.run_maintenance();
        runs += 1;
        expired += done.expired;
        if !done.more {
            break;
        }
    }
    assert_eq!(expired, 100_000);
    assert!(runs > 1, "one run did it all");
    assert_eq!(rig.cache.len(), 0);
    rig.cache.settle();
    assert_eq!(rig.log.all().len(), 100_000);
    assert_settled(&rig.cache.stats());
}

#[test]
fn the_backlog_is_bounded_until_somebody_maintains() {
    for shards in [1, 16] {
        let builder = SessionCache::builder().capacity(64).shards(shards);
        let rig = Rig::with(builder.backlog(2 << 20));
        let bound = (rig.cache.byte_budget() + (2 << 20)) as u64;
        let mut backlog = 0;
        for n in 0..2000 {
            match rig.cache.add(sized(&rig.context, n, 8000)) {
                Added::NotCached(NotCached::Backlog) => backlog += 1,
                added => assert!(added.is_cached(), "{added:?}"),
            }
            let stats = rig.cache.stats();
            let held = stats.bytes + stats.backlog_bytes;
            // The last one that was let in may pass the bound by its own size.
            let most = bound + 8128;
            assert!(held <= most, "{held} of {bound}, {shards} shards");
        }
        assert!(backlog > 0);
        // What is here can still be found and used while adds are refused.
        let mut found = 0;
        rig.cache.retain(|session| {
            found += usize::from(rig.cache.contains(&rig.context, &session.session_id()));
            true
        });
        assert!(found > 0);
        rig.cache.settle();
        assert!(rig.add(1_000_000).is_cached());
        let stats = rig.cache.stats();
        assert_eq!(stats.not_cached_backlog, backlog);
        assert_settled(&stats);
    }
}

#[test]
fn lookups_see_time_move_with_adds_and_maintenance() {
    let rig = Rig::new(4);
    assert!(rig.add_for(1, secs(1)).is_cached());
    assert!(rig.add_for(2, secs(2)).is_cached());
    rig.clock.advance(secs(1));
    assert!(rig.add(3).is_cached());
    assert!(!rig.has(1), "the add brought the clock up to date");
    rig.clock.advance(secs(1));
    rig.cache.run_maintenance();
    assert!(!rig.has(2));
}

#[test]
fn two_maintainers_at_once_do_not_mix_up_the_events() {
    let _watchdog = watchdog();
    let rig = Rig::with(SessionCache::builder().capacity(500).shards(1));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rig.cache.run_maintenance();
                }
            });
        }
        for n in 0..20_000 {
            while !rig.add(n).is_cached() {
                std::thread::yield_now();
            }
            assert!(rig.remove(n));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let numbers: Vec<_> = rig.gone().into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
    assert_settled(&rig.cache.stats());
}

#[test]
fn dropping_it_delivers_what_is_left_on_the_dropping_thread() {
    let log = Log::default();
    let (listener, dropped) = (log.listener(), Arc::new(Mutex::new(None)));
    let thread = dropped.clone();
    let cache = SessionCache::builder()
        .maintenance(Maintenance::Manual)
        .tick(millis(1))
        .on_remove(move |session, cause| {
            *thread.lock().unwrap() = Some(std::thread::current().id());
            listener(session, cause);
        })
        .build()
        .unwrap();
    let context = context(&cache, "x");
    for n in 0..3 {
        assert!(cache.add(session(&context, n)).is_cached());
    }
    assert!(cache.remove(&context, &id(1)));
    let stats = cache.stats_handle();
    drop(cache);
    assert_eq!(
        log.drain_sorted(),
        [
            (0, RemovalCause::Dropped),
            (1, RemovalCause::Removed),
            (2, RemovalCause::Dropped)
        ]
    );
    assert_eq!(*dropped.lock().unwrap(), Some(std::thread::current().id()));
    assert_settled(&stats.snapshot());
}
