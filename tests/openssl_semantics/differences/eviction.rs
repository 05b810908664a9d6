//! Who makes room, and in which order one hears of it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use refrain::{ContextId, Session, SessionCache};

use super::{EVICTION_ORDER, FLUSH_ORDER, REMOVE_THREAD};
use crate::log::{Log, What};
use crate::store::{Libssl, Refrain, Store, refrain::listen};
use crate::version::{CALLS_UNLOCKED, SORTS_BY_EXPIRY, version};

#[test]
fn eviction_order() {
    EVICTION_ORDER.quote();
    // Keeps three, since 3.0.6. The second to expire first, then the third.
    let on = Libssl::new(4);
    for (id, until) in [(1, 900), (2, 500), (3, 700), (4, 800), (5, 600)] {
        assert!(on.add(&on.session(id, until)));
    }
    if version() >= SORTS_BY_EXPIRY {
        assert_eq!(on.log().removed(), [[2; 32], [3; 32]]);
    }

    // The oldest, but for what has expired, and what was looked up since.
    let on = Refrain::new(3);
    for (id, until) in [(1, 900), (2, 500), (3, 10)] {
        assert!(on.add(&on.session(id, until)));
    }
    let look = |id| on.cache().get(on.context(), &Refrain::id(id)).is_some();
    on.clock().advance(Duration::from_secs(20));
    assert!(look(1));
    assert!(on.add(&on.session(4, 300)));
    assert!(on.add(&on.session(5, 400)));
    on.books();
    assert_eq!(on.log().removed(), [[3; 32], [2; 32]]);
    assert!(look(1) && look(4) && look(5));
}

#[test]
fn order_of_remove_callbacks_in_one_flush() {
    FLUSH_ORDER.quote();
    let on = Libssl::new(100);
    for id in [2, 1, 3] {
        assert!(on.add(&on.session(id, 100 * u64::from(id))));
    }
    on.flush(1000);
    let order = on.log().removed();
    if version() >= CALLS_UNLOCKED {
        assert_eq!(order, [[3; 32], [2; 32], [1; 32]], "latest to expire first");
    } else if version() >= SORTS_BY_EXPIRY {
        assert_eq!(
            order,
            [[1; 32], [2; 32], [3; 32]],
            "earliest to expire first"
        );
    }

    // No order is promised, and each is heard once.
    let on = Refrain::new(64);
    let mut ids: Vec<u8> = (0..64).collect();
    for id in &ids {
        assert!(on.add(&on.session(*id, 100 * (u64::from(*id) + 1))));
    }
    on.flush(10_000);
    on.books();
    let mut heard: Vec<u8> = on.log().removed().iter().map(|id| id[0]).collect();
    assert_ne!(heard, [], "they are heard");
    heard.sort_unstable();
    ids.sort_unstable();
    assert_eq!(heard, ids);
}

#[test]
fn remove_callbacks_thread() {
    REMOVE_THREAD.quote();
    let on = Libssl::new(10);
    let session = on.session(1, 100);
    assert!(on.add(&session) && on.remove(&session));
    let calls = on.log().drain();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].thread,
        thread::current().id(),
        "who removes calls it"
    );

    let log = Arc::new(Log::default());
    let cache = SessionCache::builder().capacity(10).build().unwrap();
    listen(&cache, &log);
    let context = cache.context(ContextId::derive("threads", &[])).unwrap();
    let others = thread::scope(|scope| {
        let remove = |id| {
            let session = Session::new(&context, Refrain::id(id), b"payload").unwrap();
            assert!(cache.add(session.clone()).is_cached());
            assert!(cache.remove_exact(&session));
            thread::current().id()
        };
        let threads: Vec<_> = (0..4).map(|id| scope.spawn(move || remove(id))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect::<Vec<_>>()
    });
    cache.settle();
    let calls = log.drain();
    assert_eq!(calls.len(), 4);
    let listener = calls[0].thread;
    assert!(
        calls
            .iter()
            .all(|call| call.what == What::Remove && call.thread == listener)
    );
    assert!(!others.contains(&listener) && listener != thread::current().id());
}
