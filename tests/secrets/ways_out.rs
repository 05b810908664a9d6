//! Each way out of the cache.

use std::sync::Arc;

use refrain::{Added, Lookup, Maintenance, ManualClock, Session, SessionCache, Time};

use super::common::{Rig, context, id, millis, secs};
use super::secret::Secret;
use super::stage::{
    LENGTHS, add, alone, assert_gone_by_one_call, assert_none, assert_one, await_gone, session_of,
};

/// What the secret's session, of number 1, leaves by. The cache has room for four, and a timeout of a minute.
type Way = fn(&Rig);

const WAYS: [(&str, Way); 12] = [
    ("remove", |rig| assert!(rig.remove(1))),
    ("take", |rig| drop(rig.take(1).unwrap())),
    ("remove_exact", |rig| {
        let handle = rig.get(1).unwrap();
        assert!(rig.cache.remove_exact(&handle));
    }),
    ("take_exact", |rig| {
        let handle = rig.get(1).unwrap();
        assert!(rig.cache.take_exact(&handle));
    }),
    ("expiry", |rig| rig.advance(secs(60))),
    ("eviction", |rig| {
        // Those that were looked at get a second chance.
        for n in 2..=12 {
            assert!(rig.add(n).is_cached());
        }
        assert!(!rig.has(1));
    }),
    ("a lower byte budget", |rig| {
        rig.cache.set_byte_budget(64).unwrap();
    }),
    ("replacement", |rig| assert_eq!(rig.add(1), Added::Replaced)),
    ("invalidate_context", |rig| {
        rig.cache.invalidate_context(&rig.context).unwrap();
    }),
    ("retain", |rig| assert_eq!(rig.cache.retain(|_| false), 1)),
    ("clear", |rig| assert_eq!(rig.cache.clear(), 1)),
    ("flush", |rig| assert_eq!(rig.cache.flush(Time::MAX), 1)),
];

/// A rig of one shard, with threads or without, and with somebody to hear of removals or nobody.
fn rig(maintenance: Maintenance, listens: bool) -> Rig {
    let clock = ManualClock::new();
    let log = super::common::Log::default();
    let mut builder = SessionCache::builder()
        .capacity(4)
        .shards(1)
        .tick(millis(20))
        .timeout(secs(60))
        .clock(clock.clone())
        .maintenance(maintenance);
    if listens {
        builder = builder.on_remove(log.listener());
    }
    let cache = builder.build().unwrap();
    let context = context(&cache, "rig");
    Rig {
        cache,
        context,
        clock,
        log,
    }
}

/// Looks the session up in each form, reading all of it.
fn look(rig: &Rig, secret: &Secret) {
    let sum = |session: &Session| session.payload().iter().map(|b| u64::from(*b)).sum::<u64>();
    let borrowed = rig.cache.with(&rig.context, &id(1), sum).unwrap();
    assert_eq!(borrowed, sum(&rig.get(1).unwrap()));
    assert_one(secret, "after both look-ups");
}

#[test]
fn every_way_out_leaves_nothing_after_one_call() {
    let _alone = alone();
    for (way, leave) in WAYS {
        for len in LENGTHS {
            for listens in [false, true] {
                let (rig, secret) = (rig(Maintenance::Manual, listens), Secret::new(len));
                assert!(add(&rig.cache, &rig.context, 1, &secret).is_cached());
                look(&rig, &secret);
                rig.cache.run_maintenance();
                leave(&rig);
                // It was still there for maintenance to see out.
                assert_gone_by_one_call(&rig.cache, &secret, way);
            }
        }
    }
}

#[test]
fn every_way_out_leaves_nothing_where_the_cache_maintains_itself() {
    let _alone = alone();
    for (_, leave) in WAYS {
        for listens in [false, true] {
            let (rig, secret) = (rig(Maintenance::Threads, listens), Secret::new(200));
            assert!(add(&rig.cache, &rig.context, 1, &secret).is_cached());
            look(&rig, &secret);
            leave(&rig);
            await_gone(&secret);
        }
    }
}

#[test]
fn the_end_of_the_cache_leaves_nothing() {
    let _alone = alone();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        for listens in [false, true] {
            let rig = rig(maintenance, listens);
            let secrets: Vec<_> = (1..=4).map(|_| Secret::new(100)).collect();
            for (n, secret) in (1..).zip(&secrets) {
                assert!(add(&rig.cache, &rig.context, n, secret).is_cached());
            }
            // One has left, and nobody has seen it out.
            assert!(rig.remove(1));
            drop(rig);
            for secret in &secrets {
                assert_none(secret, "the cache is gone");
            }
        }
    }
}

#[test]
fn what_the_new_callback_refuses_leaves_nothing() {
    let _alone = alone();
    let (rig, secret) = (rig(Maintenance::Manual, true), Secret::new(100));
    rig.cache.set_on_new(Some(Arc::new(|_: &Session| false)));
    let mut connection = rig.cache.accept(&rig.context);
    assert!(!connection.establish(session_of(&rig.context, 1, &secret)));
    connection.close();
    drop(connection);
    assert_gone_by_one_call(&rig.cache, &secret, "refused");
}

#[test]
fn what_the_get_callback_supplied_leaves_nothing() {
    let _alone = alone();
    let (rig, secret) = (rig(Maintenance::Manual, true), Arc::new(Secret::new(100)));
    let outside = Arc::clone(&secret);
    rig.cache
        .set_on_get(Some(Arc::new(move |lookup: &Lookup<'_>| {
            Some(session_of(lookup.context, 1, &outside))
        })));
    let mut connection = rig.cache.accept(&rig.context);
    assert!(connection.resume(id(1)).is_some());
    assert_one(&secret, "supplied and stored");
    connection.close();
    drop(connection);
    assert_one(&secret, "stored");
    assert!(rig.remove(1));
    assert_gone_by_one_call(&rig.cache, &secret, "supplied");
}
