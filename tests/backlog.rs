//! A remove callback that blocks: it delays only callbacks, and memory stays bounded.

#![allow(missing_docs)]

mod common;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use common::{context, id, number, secs, session, sized, watchdog};
use refrain::{Added, Context, NotCached, SessionCache};

/// A cache with threads whose listener waits in its first callback until the gate is opened.
struct Gated {
    cache: SessionCache,
    context: Context,
    /// Sent to when a callback begins.
    entered: Receiver<u64>,
    /// Dropped or sent to: callbacks go on.
    gate: Sender<()>,
}

fn gated() -> Gated {
    let (began, entered) = channel();
    let (gate, opened) = channel();
    let opened = Mutex::new(opened);
    let cache = SessionCache::builder()
        .capacity(64)
        .shards(1)
        .on_remove(move |gone, _| {
            let _ = began.send(number(gone));
            let _ = opened.lock().unwrap().recv();
        })
        .build()
        .unwrap();
    let context = context(&cache, "x");
    Gated {
        cache,
        context,
        entered,
        gate,
    }
}
#[test]
fn a_blocked_callback_delays_only_callbacks() {
    let _watchdog = watchdog();
    let Gated {
        cache,
        context,
        entered,
        gate,
    } = gated();
    assert!(cache.add(session(&context, 0)).is_cached());
    assert!(cache.remove(&context, &id(0)));
    assert_eq!(entered.recv().unwrap(), 0);
    // From here on the listener is stuck. Everything else goes on, eviction, expiry and maintenance included.
    for n in 1..1000 {
        assert_eq!(cache.add(session(&context, n)), Added::Inserted);
        assert!(cache.contains(&context, &id(n)));
    }
    assert_eq!(cache.len(), 64);
    assert!(cache.take(&context, &id(999)).is_some());
    assert_eq!(cache.flush(cache.now() + secs(100_000)), 63);
    cache.run_maintenance();
    assert_eq!(cache.stats().callbacks, 1);
    drop(gate);
    cache.settle();
    let heard: Vec<_> = entered.try_iter().collect();
    assert_eq!(heard.len(), 999);
    assert_eq!(cache.stats().callbacks, 1000);
}

#[test]
fn a_blocked_callback_can_not_make_memory_grow_beyond_the_backlog() {
    let _watchdog = watchdog();
    let Gated {
        cache,
        context,
        entered,
        gate,
    } = gated();
    let bound = cache.byte_budget() as u64 + (1 << 20);
    let len = 8000;
    let one = sized(&context, 0, len).memory() as u64;
    assert!(cache.add(session(&context, 0)).is_cached());
    assert!(cache.remove(&context, &id(0)));
    entered.recv().unwrap();
    let mut refused = 0;
    for n in 1..2000 {
        match cache.add(sized(&context, n, len)) {
            Added::NotCached(NotCached::Backlog) => refused += 1,
            added => {
                assert!(added.is_cached(), "{added:?}");
                assert!(cache.take(&context, &id(n)).is_some());
            }
        }
        let stats = cache.stats();
        let held = stats.bytes + stats.backlog_bytes;
        assert!(held <= bound + one, "{held} of {bound} bytes");
    }
    assert!(refused > 0);
    assert_eq!(cache.stats().not_cached_backlog, refused);
    // A session that was refused for that reason may be tried again.
    let again = sized(&context, 5000, len);
    let backlog = Added::NotCached(NotCached::Backlog);
    assert_eq!(cache.add(again.clone()), backlog);
    assert!(again.is_resumable());
    assert!(!cache.remove_exact(&again), "no event can be taken on");
    drop(gate);
    cache.settle();
    assert_eq!(cache.add(again), Added::Inserted);
    assert_eq!(cache.stats().callbacks, cache.stats().callbacks_due());
}
