//! What removing means.

use refrain::{Added, RemovalCause};
use std::sync::{Arc, Mutex};

use super::{RE_ADDING, REMOVE_BY_TWIN, REMOVE_OF_ABSENT};
use crate::counts;
use crate::log::lock;
use crate::store::{Ledger, Libssl, Refrain, Store};

#[test]
fn remove_of_an_absent_session() {
    REMOVE_OF_ABSENT.quote();
    let mut on = Ledger::<Libssl>::new(10);
    let absent = on.session(1, 100);
    assert!(!on.remove(&absent) && !on.remove(&absent));
    on.step("it tells every time", counts!(remove: 2));
    assert!(!on.is_resumable(&absent));

    let mut on = Ledger::<Refrain>::new(10);
    let absent = on.session(1, 100);
    let causes = Arc::new(Mutex::new(Vec::new()));
    assert!(
        on.remove(&absent),
        "an object that never was in ends by this"
    );
    assert!(!on.remove(&absent));
    on.step("it tells once for each object", counts!(remove: 1));
    assert!(!on.is_resumable(&absent));

    let heard = Arc::clone(&causes);
    on.cache()
        .set_on_remove(Some(Arc::new(move |_, cause| lock(&heard).push(cause))));
    let present = on.session(2, 100);
    assert!(on.add(&present) && on.remove(&present) && !on.remove(&present));
    assert!(
        !on.cache().remove(on.context(), &Refrain::id(3)),
        "nobody has this id"
    );
    on.cache().settle();
    assert_eq!(*lock(&causes), [RemovalCause::Removed]);
}

#[test]
fn remove_by_another_object() {
    REMOVE_BY_TWIN.quote();
    let mut on = Ledger::<Libssl>::new(10);
    let (stored, twin) = (on.session(1, 100), on.session(1, 100));
    assert!(on.add(&stored));
    assert!(on.remove(&twin), "the id counts");
    on.step("gone", counts!(remove: 1));
    assert!(
        on.is_resumable(&stored),
        "nobody told the one that was stored"
    );
    assert!(!on.is_resumable(&twin));

    let mut on = Ledger::<Refrain>::new(10);
    let (stored, twin) = (on.session(1, 100), on.session(1, 100));
    assert!(on.add(&stored));
    on.remove(&twin);
    on.step(
        "the object counts, and the twin's own end is told",
        counts!(remove: 1, number: 1),
    );
    assert!(on.is_resumable(&stored) && !on.is_resumable(&twin));
    assert!(
        on.cache().remove(on.context(), &Refrain::id(1)),
        "by the id, whatever object it is"
    );
    on.step("gone", counts!(remove: 1, number: -1));
    assert!(!on.is_resumable(&stored));
}

#[test]
fn re_adding_a_removed_session() {
    RE_ADDING.quote();
    let on = Libssl::new(10);
    let session = on.session(1, 100);
    assert!(on.add(&session) && on.remove(&session));
    assert!(!on.is_resumable(&session));
    assert!(on.add(&session), "libssl takes it back");
    assert!(on.has(1) && !on.is_resumable(&session));

    let on = Refrain::new(10);
    let session = on.session(1, 100);
    assert!(on.add(&session) && on.remove(&session));
    assert_eq!(on.cache().add(session.clone()), Added::Removed);
    assert!(!on.has(1));
    let copy = refrain::Session::new(on.context(), Refrain::id(1), session.payload()).unwrap();
    assert_eq!(
        on.cache().add(copy),
        Added::Inserted,
        "its bytes may come back"
    );
}
