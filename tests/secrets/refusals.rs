//! A session that an add refuses is wiped by that call.

use refrain::{Added, NotCached, Session, SessionCache};

use super::common::{Rig, id, secs, sized};
use super::secret::Secret;
use super::stage::{add, alone, assert_gone_by_one_call, assert_none, assert_one, session_of};

#[test]
fn a_refused_session_leaves_nothing() {
    let _alone = alone();
    let rig = Rig::with(
        SessionCache::builder()
            .capacity(4)
            .shards(1)
            .max_session_bytes(1000),
    );
    let secret = Secret::new(2000);
    let refused = |why| {
        let added = add(&rig.cache, &rig.context, 1, &secret);
        assert_eq!(added, Added::NotCached(why));
        assert_none(&secret, &why.to_string());
    };
    refused(NotCached::TooLarge);

    let secret = Secret::new(300);
    let builder = Session::builder(&rig.context, id(1)).timeout(secs(0));
    let expired = builder.build(&secret.clear()).unwrap();
    assert_one(&secret, "built");
    assert_eq!(rig.cache.add(expired), Added::NotCached(NotCached::Expired));
    assert_none(&secret, "expired");

    let stale = session_of(&rig.context, 1, &secret);
    rig.cache.invalidate_context(&rig.context).unwrap();
    assert_eq!(rig.cache.add(stale), Added::NotCached(NotCached::Stale));
    assert_none(&secret, "stale");

    let elsewhere = Rig::new(4);
    let foreign = session_of(&elsewhere.context, 1, &secret);
    assert_eq!(rig.cache.add(foreign), Added::NotCached(NotCached::Stale));
    assert_none(&secret, "of another cache");
}

#[test]
fn what_is_refused_for_the_backlog_leaves_nothing() {
    let _alone = alone();
    let rig = Rig::with(
        SessionCache::builder()
            .capacity(4)
            .shards(1)
            .byte_budget(1 << 16)
            .backlog(1 << 16),
    );
    let secret = Secret::new(300);
    while rig.cache.add(sized(&rig.context, 2, 1 << 13)).is_cached() {}
    let added = add(&rig.cache, &rig.context, 1, &secret);
    assert_eq!(added, Added::NotCached(NotCached::Backlog));
    assert_none(&secret, "backlog");
}

#[test]
fn what_was_removed_before_it_was_added_leaves_nothing() {
    let _alone = alone();
    let (rig, secret) = (Rig::new(4), Secret::new(300));
    let session = session_of(&rig.context, 1, &secret);
    assert!(rig.cache.remove_exact(&session));
    assert_eq!(rig.cache.add(session), Added::Removed);
    // Its removal is an event, which the callback has to hear of first.
    assert_gone_by_one_call(&rig.cache, &secret, "removed before");
}
