//! A reader that is stopped inside `with`, for long or for ever: memory stays within its bound, and nobody waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use refrain::{
    Added, Context, ContextId, Maintenance, NotCached, RemovalCause, Session, SessionCache,
};

use crate::common::{Log, assert_settled, context, id, number, secs, session, sized, watchdog};
use crate::heap;
use crate::scene::play;

const THREADS: u64 = 4;
const BACKLOG: usize = 2 << 20;

/// Of each thread.
const REFUSALS: u64 = 200;

fn build(maintenance: Maintenance, log: &Log) -> (SessionCache, Context) {
    let cache = SessionCache::builder()
        .capacity(100)
        .shards(2)
        .byte_budget(1 << 20)
        .backlog(BACKLOG)
        .maintenance(maintenance)
        .on_remove(log.listener())
        .build()
        .unwrap();
    let context = context(&cache, "x");
    (cache, context)
}

/// A session of the size that is counted.
fn counted(context: &Context, n: u64) -> Session {
    sized(context, n, heap::PAYLOAD)
}

/// Adds and ends sessions from several threads, until each was refused for the backlog again and again. Returns how often
/// that was.
fn press(cache: &SessionCache, context: &Context) -> u64 {
    let refused = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let refused = &refused;
            scope.spawn(move || {
                let mut mine = 0;
                for n in 0.. {
                    let n = (thread + 1) * 1_000_000 + n;
                    match cache.add(counted(context, n)) {
                        Added::NotCached(NotCached::Backlog) => mine += 1,
                        Added::NotCached(NotCached::Full) => {}
                        added => {
                            assert!(added.is_cached(), "{added:?}");
                            match n % 3 {
                                0 => drop(cache.take(context, &id(n))),
                                1 => drop(cache.remove(context, &id(n))),
                                _ => {}
                            }
                        }
                    }
                    if mine == REFUSALS {
                        break;
                    }
                    if n % 16 == 0 {
                        cache.run_maintenance();
                    }
                }
                refused.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    refused.into_inner()
}

/// The most that `press` may ever have allocated: what slots may hold and the backlog; besides, for each thread the one
/// session that was let in last, and the one that it has in hand.
fn bound(cache: &SessionCache) -> usize {
    cache.byte_budget() + BACKLOG + 2 * THREADS as usize * heap::BLOCK
}

/// Everything that must go on while nothing can be freed and nothing be added.
fn use_what_is_there(cache: &SessionCache, context: &Context) {
    let added = cache.add(counted(context, 5));
    assert_eq!(added, Added::NotCached(NotCached::Backlog));
    let mut there: Vec<u64> = Vec::new();
    cache.retain(|session| {
        there.push(number(session));
        true
    });
    assert!(there.len() > 20, "{} are there", there.len());
    for &n in &there {
        assert_eq!(cache.with(context, &id(n), number), Some(n));
        assert!(cache.get(context, &id(n)).is_some());
    }
    assert!(cache.take(context, &id(there[0])).is_some());
    assert!(cache.take(context, &id(there[0])).is_none());
    assert!(cache.remove(context, &id(there[1])));
    let third = cache.get(context, &id(there[2])).unwrap();
    assert!(cache.take_exact(&third) && !cache.remove_exact(&third));
    assert_eq!(cache.retain(|session| number(session) != there[3]), 1);
    let other = cache.context(ContextId::derive("other", &[])).unwrap();
    cache.invalidate_context(&other).unwrap();
    assert_eq!(cache.set_capacity(50), Ok(100));
    while cache.run_maintenance().more {}
    assert_eq!(cache.set_capacity(100), Ok(50));
    assert!(cache.flush(cache.now() + secs(1)) == 0);
    assert!(cache.stats().is_balanced());
}

/// Callbacks don't wait for readers.
fn wait_for_callbacks(cache: &SessionCache) {
    loop {
        let stats = cache.stats();
        if stats.callbacks == stats.callbacks_due() {
            return;
        }
        cache.run_maintenance();
        std::thread::yield_now();
    }
}

/// What holds of a cache while a reader is stuck, in this one or in another.
fn hold_out(cache: &SessionCache, context: &Context) {
    let (before, own) = (heap::live(), cache.stats());
    let own = (own.bytes + own.backlog_bytes) as usize;
    assert!(press(cache, context) >= THREADS * REFUSALS);
    let bound = bound(cache);
    let live = heap::live() - before;
    assert!(live <= bound, "{live} of {bound} bytes");
    assert!(
        live > bound / 2,
        "{live} of {bound} bytes: not much of a test"
    );
    // It knows what it has.
    let stats = cache.stats();
    assert_eq!((stats.bytes + stats.backlog_bytes) as usize - own, live);
    assert_eq!(stats.not_cached_backlog, THREADS * REFUSALS);
    use_what_is_there(cache, context);
    wait_for_callbacks(cache);
    assert!(heap::live() - before <= bound);
}

/// Runs `scene` while a thread is inside `with` of a cache.
fn beside_a_reader(lent: &SessionCache, context: &Context, for_ever: bool, scene: impl FnOnce()) {
    assert!(lent.add(session(context, 1)).is_cached());
    let (began, inside) = channel();
    let (leave, stay) = channel::<()>();
    let (cache, inner) = (lent.clone(), context.clone());
    let reader = std::thread::spawn(move || {
        cache.with(&inner, &id(1), |lent| {
            began.send(()).unwrap();
            let _ = stay.recv();
            if for_ever {
                loop {
                    std::thread::park();
                }
            }
            // Whatever has become of it, what was lent is whole.
            assert_eq!(lent.payload(), 1u64.to_be_bytes());
        });
    });
    inside.recv().unwrap();
    assert!(lent.remove(context, &id(1)));
    scene();
    drop(leave);
    if !for_ever {
        reader.join().unwrap();
    }
}

#[test]
fn one_that_stays_for_long() {
    play("reader::for_long");
}

#[test]
#[ignore = "a scene"]
fn for_long() {
    let _watchdog = watchdog();
    let logs = [Log::default(), Log::default(), Log::default()];
    let kinds = [
        Maintenance::Threads,
        Maintenance::Threads,
        Maintenance::Manual,
    ];
    let caches: Vec<_> = kinds
        .iter()
        .zip(&logs)
        .map(|(kind, log)| build(*kind, log))
        .collect();
    let (lent, lent_context) = &caches[0];
    beside_a_reader(lent, lent_context, false, || {
        for (cache, context) in &caches {
            hold_out(cache, context);
        }
    });
    // All recovers when it leaves.
    for ((cache, context), log) in caches.iter().zip(&logs) {
        cache.settle();
        assert_settled(&cache.stats());
        assert_eq!(cache.add(counted(context, 5)), Added::Inserted);
        assert_eq!(log.all().len() as u64, cache.stats().callbacks);
    }
    let entries: usize = caches.iter().map(|(cache, _)| cache.len()).sum();
    assert_eq!(heap::live(), entries * heap::BLOCK);
    drop(caches);
    assert_eq!(heap::live(), 0);
    println!("peak: {} bytes", heap::peak());
}

#[test]
fn one_that_never_returns() {
    play("reader::for_ever");
}

#[test]
#[ignore = "a scene"]
fn for_ever() {
    let _watchdog = watchdog();
    let logs = [Log::default(), Log::default()];
    let (stuck, stuck_context) = build(Maintenance::Threads, &logs[0]);
    let (other, other_context) = build(Maintenance::Manual, &logs[1]);
    beside_a_reader(&stuck, &stuck_context, true, || {
        hold_out(&stuck, &stuck_context);
        hold_out(&other, &other_context);
    });
    // From now on for good. A cache can still end, and then its memory goes, callbacks told: it has no readers.
    let live = heap::live();
    let stats = other.stats_handle();
    let held = stats.snapshot();
    assert!(held.backlog_bytes > BACKLOG as u64 / 2);
    drop(other);
    assert_settled(&stats.snapshot());
    let heard = logs[1].all();
    assert_eq!(heard.len() as u64, stats.snapshot().callbacks);
    assert!(
        heard
            .iter()
            .any(|(_, cause)| *cause == RemovalCause::Dropped)
    );
    assert_eq!(
        live - heap::live(),
        (held.bytes + held.backlog_bytes) as usize
    );
    // Replacing, clearing and the end of the other handles don't wait either.
    drop(stuck.clone());
    stuck.clear();
    assert!(stuck.is_empty());
    wait_for_callbacks(&stuck);
    let added = stuck.add(counted(&stuck_context, 6));
    let room = stuck.stats().backlog_bytes as usize <= stuck.byte_budget() + BACKLOG;
    assert_eq!(added.is_cached(), room, "{added:?}");
    // And the process can end, with the thread in it.
}
