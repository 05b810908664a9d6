//! Whole lives of sessions in a few hundred steps: for tools that watch every one of them.

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Log, Random, Rig, assert_settled, context, id, number, session};
use refrain::{
    Added, Builder, Context, Maintenance, ManualClock, RemovalCause, Session, SessionCache,
};

const THREADS: u64 = 3;
/// For each thread.
const STEPS: u64 = if cfg!(miri) { 40 } else { 20_000 };
/// So few that threads meet on them, and one more than fit.
const IDS: u64 = 3;

#[test]
fn every_way_out_by_one_thread() {
    let rig = Rig::new(4);
    let other = context(&rig.cache, "other");
    let kept: Vec<_> = (0..4).map(|n| session(&rig.context, n)).collect();
    for handle in &kept {
        assert_eq!(rig.cache.add(handle.clone()), Added::Inserted);
    }
    assert_eq!(rig.add(0), Added::Replaced);
    assert_eq!(rig.add(4), Added::Inserted, "with an eviction");
    let lives: Vec<_> = (0..5).filter(|n| rig.has(*n)).collect();
    assert_eq!(lives.len(), 4);
    let borrowed = |n| {
        rig.cache
            .with(&rig.context, &id(n), |s| s.payload().to_vec())
    };
    for n in &lives {
        assert_eq!(borrowed(*n).unwrap(), n.to_be_bytes());
        assert_eq!(number(&rig.get(*n).unwrap()), *n);
    }
    let taken = rig.take(lives[0]).unwrap();
    assert!(rig.take(lives[0]).is_none() && !taken.is_resumable());
    assert!(rig.remove(lives[1]));
    assert_eq!(rig.cache.retain(|s| number(s) != lives[2]), 1);
    assert_eq!(rig.cache.clear(), 1);
    assert_eq!(rig.gone().len(), 5);

    assert!(rig.add_for(10, Duration::from_millis(1500)).is_cached());
    rig.advance(Duration::from_secs(4));
    assert!(!rig.has(10));
    assert_eq!(rig.gone(), [(10, RemovalCause::Expired)]);

    assert!(rig.cache.add(session(&other, 11)).is_cached());
    rig.cache.invalidate_context(&other).unwrap();
    assert_eq!(rig.gone(), [(11, RemovalCause::Invalidated)]);

    assert!(rig.cache.add(session(&other, 12)).is_cached());
    assert_eq!(rig.cache.flush(refrain::Time::MAX), 1);
    let never = session(&rig.context, 13);
    assert!(rig.cache.remove_exact(&never));
    assert_eq!(rig.cache.add(never), Added::Removed);
    assert_eq!(rig.gone().len(), 2);

    assert!(rig.add(14).is_cached());
    let last = rig.get(14).unwrap();
    let Rig { cache, log, .. } = rig;
    assert_settled(&cache.stats());
    drop(cache);
    assert_eq!(log.drain(), [(14, RemovalCause::Dropped)]);
    assert_eq!(last.payload(), 14_u64.to_be_bytes());
    assert_eq!(last.references(), 1);
    assert!(kept.iter().all(|handle| handle.references() == 1));
}

/// A session whose bytes tell its id, all through, and its tag who it is.
fn build(context: &Context, n: u64, serial: &AtomicU64) -> Session {
    Session::builder(context, id(n))
        .tag(serial.fetch_add(1, Ordering::Relaxed))
        .build(&[n as u8; 200])
        .unwrap()
}

fn check(session: &Session, n: u64) {
    assert_eq!(number(session), n);
    assert!(session.payload().iter().all(|byte| *byte == n as u8));
}

fn work(cache: &SessionCache, context: &Context, thread: u64, serial: &AtomicU64) {
    let mut random = Random::new(thread + 1);
    let mut kept: Option<Session> = None;
    for _ in 0..STEPS {
        let n = random.below(IDS);
        match random.below(16) {
            0..=5 => {
                let session = build(context, n, serial);
                kept = Some(session.clone());
                let _ = cache.add(session);
            }
            6 | 7 => drop(cache.with(context, &id(n), |session| check(session, n))),
            8 | 9 => drop(
                cache
                    .get(context, &id(n))
                    .inspect(|session| check(session, n)),
            ),
            10 | 11 => drop(
                cache
                    .take(context, &id(n))
                    .inspect(|session| check(session, n)),
            ),
            12 => drop(cache.remove(context, &id(n))),
            13 => drop(kept.take().map(|session| cache.remove_exact(&session))),
            14 => drop(cache.flush(cache.now())),
            _ => drop(cache.run_maintenance()),
        }
    }
}

fn threads_meet(builder: Builder) {
    let (clock, log, serial) = (ManualClock::new(), Log::default(), AtomicU64::new(0));
    let cache = builder
        .capacity(IDS as usize - 1)
        .shards(1)
        .tick(Duration::from_millis(1))
        .timeout(Duration::from_millis(20))
        .clock(clock.clone())
        .on_remove(log.tag_listener())
        .build()
        .unwrap();
    let context = context(&cache, "met");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ticking = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                clock.advance(Duration::from_millis(1));
                cache.run_maintenance();
                std::thread::yield_now();
            }
        });
        let (cache, context, serial) = (&cache, &context, &serial);
        let working: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || work(cache, context, thread, serial)))
            .collect();
        let ended: Vec<_> = working.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        ticking.join().unwrap();
        ended.into_iter().for_each(|end| end.unwrap());
    });
    cache.settle();
    assert!(cache.len() <= cache.capacity());
    let stats = cache.stats();
    assert_settled(&stats);
    let left = stats.entries as usize;
    drop(cache);
    let mut told: Vec<_> = log.drain().into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(told.len(), stats.callbacks as usize + left);
    told.sort_unstable();
    assert!(told.windows(2).all(|two| two[0] != two[1]), "told of twice");
    let most = serial.into_inner();
    assert!(told.iter().all(|tag| *tag < most));
}

#[test]
fn threads_meet_while_they_maintain() {
    threads_meet(SessionCache::builder().maintenance(Maintenance::Manual));
}

#[test]
fn threads_meet_while_the_cache_maintains_itself() {
    threads_meet(SessionCache::builder().maintenance(Maintenance::Threads));
}
