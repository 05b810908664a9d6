//! Contexts: isolation, invalidation, generations, and the bound on their number.

#![allow(missing_docs)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{Rig, assert_settled, context, id, number, secs, session};
use refrain::{Added, ContextId, Error, NotCached, RemovalCause, Session, SessionCache, SessionId};

const STALE: Added = Added::NotCached(NotCached::Stale);

#[test]
fn interning_is_by_the_bytes() {
    let rig = Rig::new(10);
    let (a, b) = (context(&rig.cache, "same"), context(&rig.cache, "same"));
    assert_eq!(a.id(), b.id());
    assert_eq!(a.generation(), b.generation());
    assert!(rig.cache.add(session(&a, 1)).is_cached());
    assert!(rig.cache.contains(&b, &id(1)));
    // Also across a time without any handle, as long as nobody needs the place.
    drop((a, b));
    assert!(rig.cache.contains(&context(&rig.cache, "same"), &id(1)));
    // Of every length, and told apart from longer ones with the same bytes.
    for len in 0..=33 {
        let made = ContextId::new(&vec![0; len]);
        assert_eq!(made.is_ok(), (1..=32).contains(&len), "length {len}");
        if let Ok(made) = made {
            let context = rig.cache.context(made).unwrap();
            assert_eq!(context.id().as_bytes(), vec![0; len]);
            assert!(!rig.cache.contains(&context, &id(7)));
            rig.cache.clear();
            assert!(rig.cache.add(session(&context, 7)).is_cached());
        }
    }
}

#[test]
fn no_operation_reaches_into_another_context() {
    let rig = Rig::new(100);
    let other = context(&rig.cache, "other");
    for n in 0..10 {
        assert!(rig.add(n).is_cached());
        assert!(!rig.cache.contains(&other, &id(n)));
        assert!(rig.cache.get(&other, &id(n)).is_none());
        assert!(rig.cache.with(&other, &id(n), |_| ()).is_none());
        assert!(rig.cache.take(&other, &id(n)).is_none());
        assert!(!rig.cache.remove(&other, &id(n)));
        assert_eq!(rig.cache.add(session(&other, n)), Added::Inserted);
    }
    assert_eq!(rig.cache.len(), 20);
    assert_eq!(rig.gone(), []);
}

#[test]
fn another_caches_contexts_and_sessions_are_strangers() {
    let (here, there) = (Rig::new(10), Rig::new(10));
    // The same context id in both.
    let stranger = session(&there.context, 1);
    assert_eq!(here.cache.add(stranger.clone()), STALE);
    assert_eq!(there.cache.add(stranger.clone()), Added::Inserted);
    assert_eq!(here.cache.add(stranger.clone()), Added::AlreadyPresent);
    assert!(!here.cache.remove_exact(&stranger) && !here.cache.take_exact(&stranger));
    assert!(here.add(1).is_cached());
    assert!(!here.cache.contains(&there.context, &id(1)));
    assert!(there.has(1));
    assert_eq!(
        here.cache.invalidate_context(&there.context),
        Err(Error::ForeignContext)
    );
    assert!(there.has(1) && here.has(1));
}

#[test]
fn another_caches_sessions_are_strangers_however_many_caches_there_are() {
    let home = Rig::new(10);
    let object = session(&home.context, 1);
    let never = session(&home.context, 2);
    assert!(home.cache.add(object.clone()).is_cached());
    for n in 0..2100 {
        let other = SessionCache::builder()
            .capacity(1)
            .maintenance(refrain::Maintenance::Manual)
            .build()
            .unwrap();
        assert!(!other.take_exact(&object), "cache {n} after its own");
        assert!(!other.remove_exact(&object), "cache {n} after its own");
        assert!(!other.remove_exact(&never), "cache {n} after its own");
    }
    assert!(home.has(1));
    assert!(home.cache.remove_exact(&object));
}

#[test]
fn invalidation_is_at_once_and_for_good() {
    let rig = Rig::new(100);
    let other = context(&rig.cache, "other");
    let before = rig.context.generation();
    let early = session(&rig.context, 50);
    for n in 0..10 {
        assert!(rig.add(n).is_cached());
        assert!(rig.cache.add(session(&other, n)).is_cached());
    }
    let handle = rig.get(0).unwrap();
    rig.cache.invalidate_context(&rig.context).unwrap();
    assert_ne!(rig.context.generation(), before);
    assert!((0..10).all(|n| !rig.has(n) && rig.take(n).is_none() && !rig.remove(n)));
    assert!((0..10).all(|n| rig.cache.contains(&other, &id(n))));
    // Built before, added after: refused. Of the generation before, built after: the same.
    assert_eq!(rig.cache.add(early), STALE);
    let of_before = Session::builder(&rig.context, id(51)).generation(before);
    assert_eq!(rig.cache.add(of_before.build(b"").unwrap()), STALE);
    assert!(!rig.has(50) && !rig.has(51));
    // The context lives on.
    assert_eq!(rig.add(0), Added::Inserted);
    assert!(rig.has(0));
    let of_now = Session::builder(&rig.context, id(52)).generation(rig.context.generation());
    assert_eq!(rig.cache.add(of_now.build(b"").unwrap()), Added::Inserted);
    rig.cache.settle();
    let expected: Vec<_> = (0..10).map(|n| (n, RemovalCause::Invalidated)).collect();
    assert_eq!(rig.log.drain_sorted(), expected);
    assert_eq!(rig.cache.len(), 12);
    assert!(!handle.is_resumable());
    assert_eq!(rig.cache.stats().invalidated, 10);
    assert_settled(&rig.cache.stats());
}

#[test]
fn many_invalidations_in_a_row_leave_nothing_behind() {
    let rig = Rig::with(SessionCache::builder().capacity(5000).shards(4));
    for round in 0..20 {
        for n in 0..100 {
            assert!(rig.add(round * 100 + n).is_cached());
        }
        rig.cache.invalidate_context(&rig.context).unwrap();
        if round % 3 == 0 {
            rig.cache.run_maintenance();
        }
    }
    assert_eq!(rig.gone().len(), 2000);
    assert_eq!(rig.cache.len(), 0);
    assert_settled(&rig.cache.stats());
}

#[test]
fn a_generation_counts_in_its_own_context_only() {
    let rig = Rig::new(10);
    let other = context(&rig.cache, "other");
    // By mistake: the handshake's context is one, the generation another's.
    let mixed = Session::builder(&rig.context, id(1))
        .generation(other.generation())
        .build(b"");
    assert_eq!(mixed.unwrap_err(), Error::ForeignGeneration);
}

#[test]
fn what_is_added_while_its_context_is_invalidated_is_not_found_later() {
    let _watchdog = common::watchdog();
    let rig = Rig::new(1000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (rig, stop) = (&rig, &stop);
            scope.spawn(move || {
                let mut n = thread;
                while !stop.load(Ordering::Relaxed) {
                    // The handshake begins, and later stores its session.
                    let session = session(&rig.context, n % 500);
                    std::thread::yield_now();
                    let _ = rig.cache.add(session);
                    n += 3;
                }
            });
        }
        for _ in 0..300 {
            let begun_before = rig.context.generation();
            rig.cache.invalidate_context(&rig.context).unwrap();
            assert_ne!(rig.context.generation(), begun_before);
            rig.cache.run_maintenance();
        }
        stop.store(true, Ordering::Relaxed);
    });
    rig.cache.invalidate_context(&rig.context).unwrap();
    rig.cache.settle();
    assert_eq!(rig.cache.len(), 0);
    assert_settled(&rig.cache.stats());
}

#[test]
fn retain_sweeps_by_the_owners_own_condition() {
    let rig = Rig::new(100);
    let other = context(&rig.cache, "other");
    for n in 0..20 {
        let context = if n % 2 == 0 { &rig.context } else { &other };
        let session = Session::builder(context, id(n))
            .tag(n % 4)
            .server_name(if n < 10 { "a.example" } else { "b.example" })
            .build(b"")
            .unwrap();
        assert!(rig.cache.add(session).is_cached());
    }
    // Those of one certificate; then those of one name, asking the cache from inside.
    assert_eq!(rig.cache.retain(|session| session.tag() != 3), 5);
    let removed = rig.cache.retain(|session| {
        assert!(rig.cache.len() <= 15);
        assert!(
            rig.cache.get(&rig.context, &session.session_id()).is_some()
                || number(session) % 2 == 1
        );
        session.server_name() == Some("a.example")
    });
    assert_eq!(removed, 7);
    assert_eq!(rig.cache.retain(|_| true), 0);
    rig.cache.settle();
    let gone = rig.log.drain_sorted();
    assert!(gone.iter().all(|(_, c)| *c == RemovalCause::Retained));
    let gone: Vec<_> = gone.into_iter().map(|(n, _)| n).collect();
    assert_eq!(gone, [3, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!(rig.cache.stats().retained, 12);
    assert_settled(&rig.cache.stats());
}

#[test]
fn a_panic_in_retain_leaves_the_cache_as_good_as_before() {
    let rig = Rig::new(100);
    for n in 0..50 {
        assert!(rig.add(n).is_cached());
    }
    let mut seen = 0;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rig.cache.retain(|_| {
            seen += 1;
            if seen == 10 {
                std::panic::resume_unwind(Box::new("enough"));
            }
            false
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(rig.cache.len(), 41);
    assert_eq!(rig.gone().len(), 9);
    assert_eq!(rig.cache.clear(), 41);
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
}

#[test]
fn contexts_are_bounded_and_only_idle_ones_are_given_up() {
    let rig = Rig::with(SessionCache::builder().max_contexts(3));
    // The rig's own is one of them.
    let (a, b) = (context(&rig.cache, "a"), context(&rig.cache, "b"));
    let more = || rig.cache.context(ContextId::derive("c", &[]));
    assert_eq!(more().unwrap_err(), Error::TooManyContexts { max: 3 });
    assert!(rig.cache.add(session(&a, 1)).is_cached());
    assert!(rig.cache.add(session(&b, 2)).is_cached());
    // One that is held anywhere, be it by a clone, is not given up.
    let clone = b.clone();
    drop(b);
    assert!(more().is_err());
    assert!(rig.cache.contains(&clone, &id(2)));
    drop(clone);
    let c = more().unwrap();
    assert!(rig.cache.add(session(&c, 3)).is_cached());
    assert_eq!(rig.gone(), [(2, RemovalCause::Invalidated)]);
    assert!(rig.cache.contains(&a, &id(1)) && rig.cache.contains(&c, &id(3)));
    // It comes back as a stranger.
    drop(a);
    let b = context(&rig.cache, "b");
    assert!(!rig.cache.contains(&b, &id(2)));
    assert_eq!(rig.gone(), [(1, RemovalCause::Invalidated)]);
    assert!(rig.cache.add(session(&b, 2)).is_cached());
    // Lookups in any number of contexts that are not there stay misses.
    rig.advance(secs(1));
    assert_eq!(rig.cache.len(), 2);
    assert_settled(&rig.cache.stats());
}

/// Ids that an application counts: what they have in common must not bring those of different contexts together.
#[test]
fn ids_that_count_do_not_meet_in_many_contexts() {
    const CONTEXTS: u64 = 200;
    const IDS: u64 = 200;
    let rig = Rig::new((2 * CONTEXTS * IDS) as usize);
    for width in [4, 8] {
        for begin in [0, 16, 24] {
            for n in 0..CONTEXTS {
                let context = context(&rig.cache, &format!("{n}"));
                for count in 0..IDS {
                    let mut bytes = [7; 32];
                    bytes[begin..begin + width].copy_from_slice(&count.to_le_bytes()[..width]);
                    let session = Session::new(&context, SessionId::from(bytes), b"x").unwrap();
                    assert_eq!(rig.cache.add(session), Added::Inserted);
                }
            }
            assert_eq!(rig.cache.clear() as u64, CONTEXTS * IDS);
            rig.cache.settle();
        }
    }
}
