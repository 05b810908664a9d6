//! Handles and caches that outlive each other, reference counts, drops in odd places, and what `Debug` may show.

#![allow(missing_docs)]

mod common;

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};

use common::{Log, Rig, assert_settled, context, id, number, secs, session, sized, watchdog};
use refrain::{
    Added, ContextId, Error, Lookup, Maintenance, RemovalCause, Session, SessionCache, SessionId,
};

#[test]
fn references_are_counted_exactly() {
    let rig = Rig::new(10);
    let object = session(&rig.context, 1);
    assert_eq!(object.references(), 1);
    let clone = object.clone();
    assert!(clone.is_same(&object) && object.references() == 2);
    drop(clone);
    assert!(rig.cache.add(object.clone()).is_cached());
    assert_eq!(object.references(), 2);
    let got = rig.get(1).unwrap();
    assert!(got.is_same(&object));
    assert_eq!(object.references(), 3);
    rig.cache.with(&rig.context, &id(1), |lent| {
        assert_eq!(lent.references(), 3, "lent, not given");
        let kept = lent.clone();
        assert_eq!(kept.references(), 4);
    });
    assert_eq!(object.references(), 3);
    rig.cache.retain(|lent| lent.references() > 0);
    assert_eq!(object.references(), 3);
    drop(rig.take(1).unwrap());
    rig.cache.settle();
    assert_eq!(object.references(), 2, "the cache's own is gone");
    drop(got);
    assert_eq!(object.references(), 1);

    // Every other way in and out gives back what it took.
    for n in 0..6 {
        let object = session(&rig.context, n);
        assert!(rig.cache.add(object.clone()).is_cached());
        assert_eq!(rig.cache.add(object.clone()), Added::AlreadyPresent);
        match n {
            0 => assert!(rig.cache.take_exact(&object)),
            1 => assert!(rig.cache.remove_exact(&object)),
            2 => assert_eq!(rig.add(n), Added::Replaced),
            3 => assert_eq!(rig.cache.retain(|s| number(s) != n), 1),
            4 => assert_eq!(rig.cache.flush(rig.cache.now() + secs(7200)), 2),
            _ => assert_eq!(rig.cache.clear(), 1),
        }
        assert_eq!(rig.cache.add(object.clone()), Added::Removed);
        rig.cache.settle();
        assert_eq!(object.references(), 1, "way {n}");
    }
    let refused = session(&rig.context, 9);
    rig.cache.set_timeout(secs(0));
    assert!(!rig.cache.add(refused.clone()).is_cached());
    assert_eq!(refused.references(), 1);
}

#[test]
fn handles_outlive_the_cache() {
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let cache = SessionCache::builder()
            .capacity(10)
            .maintenance(maintenance)
            .build()
            .unwrap();
        let context = context(&cache, "x");
        let never = sized(&context, 8, 100);
        for n in 0..4 {
            assert!(cache.add(sized(&context, n, 100)).is_cached());
        }
        let in_it = cache.get(&context, &id(0)).unwrap();
        let taken = cache.take(&context, &id(1)).unwrap();
        let replaced = cache.get(&context, &id(2)).unwrap();
        assert_eq!(cache.add(sized(&context, 2, 50)), Added::Replaced);
        let stats = cache.stats_handle();
        drop(cache);
        for (n, session) in [(0, &in_it), (1, &taken), (2, &replaced), (8, &never)] {
            assert_eq!(session.payload(), [n; 100]);
            assert_eq!(session.id(), id(u64::from(n)).as_bytes());
            assert_eq!(session.references(), 1);
        }
        assert!(!in_it.is_resumable() && never.is_resumable());
        let after = session(&context, 9);
        drop((context, after));
        let stats = stats.snapshot();
        assert!(stats.is_balanced());
        assert_eq!(
            (stats.entries, stats.dropped, stats.backlog_bytes),
            (0, 3, 0)
        );
    }
}

#[test]
fn every_clone_of_a_cache_must_go_before_it_ends() {
    let rig = Rig::new(10);
    assert!(rig.add(1).is_cached());
    let Rig {
        cache,
        context,
        log,
        ..
    } = rig;
    let clone = cache.clone();
    drop(cache);
    assert_eq!(log.drain(), []);
    assert!(clone.contains(&context, &id(1)));
    drop(clone);
    assert_eq!(log.drain(), [(1, RemovalCause::Dropped)]);
}

#[test]
fn the_last_handle_may_be_dropped_in_the_callback() {
    let _watchdog = watchdog();
    let home = Arc::new(Mutex::new(None::<SessionCache>));
    let (told, heard) = channel();
    let inner = home.clone();
    let cache = SessionCache::builder()
        .capacity(10)
        .on_remove(move |gone, cause| {
            drop(inner.lock().unwrap().take());
            told.send((number(gone), cause)).unwrap();
        })
        .build()
        .unwrap();
    let context = context(&cache, "x");
    let stats = cache.stats_handle();
    for n in 0..5 {
        assert!(cache.add(session(&context, n)).is_cached());
    }
    let object = cache.get(&context, &id(3)).unwrap();
    // The cache must be in its home before the callback can take it from there.
    let mut slot = home.lock().unwrap();
    assert!(cache.remove(&context, &id(0)));
    *slot = Some(cache);
    drop(slot);
    let mut events: Vec<_> = heard.iter().collect();
    // The channel has ended: the callback itself was dropped, and with it the last of the cache.
    events[1..].sort_by_key(|(n, _)| *n);
    let dropped = |n| (n, RemovalCause::Dropped);
    assert_eq!(events[0], (0, RemovalCause::Removed));
    assert_eq!(events[1..], [1, 2, 3, 4].map(dropped));
    let stats = stats.snapshot();
    assert_settled(&stats);
    assert_eq!((stats.dropped, stats.callback_panics), (4, 0));
    assert_eq!(object.references(), 1);
}

#[test]
fn dropped_from_several_threads_at_once() {
    let _watchdog = watchdog();
    for round in 0..50 {
        let log = Log::default();
        let cache = SessionCache::builder()
            .capacity(100)
            .on_remove(log.listener())
            .build()
            .unwrap();
        let context = context(&cache, "x");
        let stats = cache.stats_handle();
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (cache, context, barrier) = (cache.clone(), context.clone(), &barrier);
                scope.spawn(move || {
                    for n in 0..50 {
                        let _ = cache.add(session(&context, thread * 50 + n));
                    }
                    let kept = cache.get(&context, &id(thread * 50));
                    barrier.wait();
                    drop(cache);
                    drop(kept);
                });
            }
            drop(cache);
        });
        let stats = stats.snapshot();
        assert_settled(&stats);
        assert_eq!(stats.entries, 0, "round {round}");
        assert_eq!(log.all().len() as u64, stats.inserted - stats.replaced);
    }
}

#[test]
fn a_cache_without_sessions_ends_at_once() {
    let _watchdog = watchdog();
    for _ in 0..20 {
        // Ticks of an hour: nobody waits for them.
        let builder = SessionCache::builder().tick(secs(3600));
        drop(builder.build().unwrap());
    }
}

#[test]
fn a_panic_in_a_borrow_is_the_callers_and_leaves_nothing_behind() {
    let rig = Rig::new(10);
    assert!(rig.add(1).is_cached());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rig.cache.with(&rig.context, &id(1), |_| {
            std::panic::resume_unwind(Box::new("the caller's"))
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(rig.get(1).unwrap().references(), 2);
    assert!(rig.remove(1));
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
}

#[test]
fn a_borrow_may_use_the_cache_and_outlasts_the_sessions_end() {
    let rig = Rig::new(2);
    assert!(rig.cache.add(sized(&rig.context, 1, 100)).is_cached());
    let seen = rig.cache.with(&rig.context, &id(1), |lent| {
        assert!(rig.remove(1));
        for n in 2..50 {
            assert!(rig.add(n).is_cached());
            rig.cache.run_maintenance();
        }
        assert!(rig.cache.with(&rig.context, &id(49), |_| ()).is_some());
        assert!(!lent.is_resumable());
        lent.payload().to_vec()
    });
    assert_eq!(seen, Some(vec![1; 100]));
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
}

/// What must not be seen, in all the ways in which `Debug` might print bytes.
const SECRET: &[u8; 16] = b"SecretSecretSecr";

fn assert_hides(what: &str, shown: &str) {
    let list: Vec<_> = SECRET.iter().map(|b| format!("{b}")).collect();
    let hex: String = SECRET.iter().map(|b| format!("{b:02x}")).collect();
    for form in [
        "Secret",
        &list[..6].join(", "),
        &list[..6].join(",\n"),
        &hex[..12],
    ] {
        assert!(!shown.contains(form), "{what} shows bytes: {shown}");
    }
    let squeezed: String = shown.split_whitespace().collect();
    assert!(!squeezed.contains(&list[..6].join(",")), "{what}: {shown}");
}

#[test]
fn no_debug_output_shows_bytes() {
    let cache = SessionCache::builder()
        .on_remove(|_, _| {})
        .on_get(|lookup: &Lookup<'_>| {
            assert_hides("Lookup", &format!("{lookup:?}"));
            None
        })
        .maintenance(Maintenance::Manual)
        .build()
        .unwrap();
    let context_id = ContextId::new(SECRET).unwrap();
    let context = cache.context(context_id).unwrap();
    let id = SessionId::new(SECRET).unwrap();
    let builder = Session::builder(&context, id);
    assert_hides("SessionBuilder", &format!("{builder:?} {builder:#?}"));
    let session = builder.tag(1).build(SECRET).unwrap();
    let show = |what: &str| {
        let shown = format!("{session:?} {session:#?}");
        assert_hides(what, &shown);
        assert!(shown.contains("payload_len"));
    };
    show("a new Session");
    assert!(cache.add(session.clone()).is_cached());
    show("a live Session");
    assert!(cache.remove_exact(&session));
    show("a dead Session");
    for (what, shown) in [
        ("SessionId", format!("{id:?} {id:#?}")),
        ("ContextId", format!("{context_id:?} {context_id:#?}")),
        ("Context", format!("{context:?} {context:#?}")),
        ("SessionCache", format!("{cache:?} {cache:#?}")),
        ("Builder", format!("{:?}", SessionCache::builder())),
        ("Stats", format!("{:?}", cache.stats())),
        ("StatsHandle", format!("{:?}", cache.stats_handle())),
        ("Generation", format!("{:?}", context.generation())),
        ("Added", format!("{:?}", cache.add(session.clone()))),
        ("Error", format!("{:?}", SessionId::new(&[1; 99]))),
    ] {
        assert!(!shown.is_empty());
        assert_hides(what, &shown);
    }
    let error: Error = SessionId::new(&SECRET.repeat(3)).unwrap_err();
    assert_hides("Error", &format!("{error:?} {error}"));
    // That the check can see something at all.
    let caught = std::panic::catch_unwind(|| assert_hides("bytes", &format!("{SECRET:?}")));
    assert!(caught.is_err());
}
