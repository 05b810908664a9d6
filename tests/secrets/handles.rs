//! Who still holds a session keeps its secret, and nobody else.

use std::sync::mpsc::channel;

use refrain::{Maintenance, RemovalCause, Session, SessionCache};

use super::common::{Rig, context, id};
use super::secret::Secret;
use super::stage::{
    add, alone, assert_gone_by_one_call, assert_none, assert_one, await_gone, session_of,
};

#[test]
fn a_session_that_is_never_added_goes_with_its_last_handle() {
    let _alone = alone();
    let (rig, secret) = (Rig::new(4), Secret::new(300));
    let session = session_of(&rig.context, 1, &secret);
    assert_one(&secret, "built");
    let clone = session.clone();
    drop(session);
    assert_one(&secret, "a handle is left");
    drop(clone);
    assert_none(&secret, "no handle is left");
    // With a server name in front of it, and all else that a session may carry.
    let builder = Session::builder(&rig.context, id(1)).tag(7);
    let named = builder.server_name("server.example");
    let named = named.build(&secret.clear()).unwrap();
    assert_one(&secret, "built");
    drop(named);
    assert_none(&secret, "no handle is left");
}

#[test]
fn a_handle_outlives_removal_and_cache_and_then_leaves_nothing() {
    let _alone = alone();
    let (rig, secret) = (Rig::new(4), Secret::new(300));
    assert!(add(&rig.cache, &rig.context, 1, &secret).is_cached());
    let handle = rig.get(1).unwrap();
    assert!(rig.remove(1));
    rig.cache.settle();
    assert_one(&secret, "a handle is left");
    drop(rig);
    assert_one(&secret, "a handle is left");
    drop(handle);
    assert_none(&secret, "no handle is left");
}

#[test]
fn a_reader_keeps_what_it_reads_and_leaves_nothing() {
    let _alone = alone();
    let (rig, secret) = (Rig::new(4), Secret::new(300));
    assert!(add(&rig.cache, &rig.context, 1, &secret).is_cached());
    rig.cache.with(&rig.context, &id(1), |_| {
        assert!(rig.remove(1));
        for _ in 0..10 {
            rig.cache.run_maintenance();
        }
        assert_one(&secret, "the reader is there");
    });
    assert_gone_by_one_call(&rig.cache, &secret, "the reader is gone");
}

#[test]
fn a_slow_callback_keeps_what_it_hears_of_and_leaves_nothing() {
    let _alone = alone();
    let (hears, heard) = channel();
    let (goes_on, wait) = channel();
    let wait = std::sync::Mutex::new(wait);
    let cache = SessionCache::builder()
        .maintenance(Maintenance::Threads)
        .on_remove(move |_: &Session, cause: RemovalCause| {
            hears.send(cause).unwrap();
            wait.lock().unwrap().recv().unwrap();
        })
        .build()
        .unwrap();
    // Dropped before the cache, so that a failure here lets the callback end.
    let goes_on = goes_on;
    let (context, secret) = (context(&cache, "slow"), Secret::new(300));
    assert!(add(&cache, &context, 1, &secret).is_cached());
    assert!(cache.remove(&context, &id(1)));
    assert_eq!(heard.recv(), Ok(RemovalCause::Removed));
    for _ in 0..10 {
        cache.run_maintenance();
    }
    assert_one(&secret, "the callback is at work");
    goes_on.send(()).unwrap();
    await_gone(&secret);
}
