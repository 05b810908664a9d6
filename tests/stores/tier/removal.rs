//! What is removed stays removed, even if the store hears of it before it hears of the session.

use refrain::SessionId;

use crate::proxy::Proxy;
use crate::servers::{Kind, key, millis, redis, wait};
use crate::tier::node::{Node, Pki, options};
use crate::tier::sealed::everything;

fn establish(node: &Node, id: SessionId) {
    let mut connection = node.cache.accept(node.context());
    let session = connection.session_builder(id).build(b"state").unwrap();
    assert!(connection.establish(session));
    connection.close();
}

fn resumes(node: &Node, id: SessionId) -> bool {
    let mut connection = node.cache.accept(node.context());
    let found = connection.resume(id).is_some();
    connection.finish();
    connection.close();
    found
}

/// A batch is under way for longer than it may take. The session is removed, by another connection; then the old one brings
/// what was on its way.
#[test]
fn a_put_that_comes_after_its_removal_does_not_stay() {
    let Some(server) = redis("") else { return };
    let proxy = Proxy::to(server.port);
    let pki = Pki::new();
    let slow = options().write_budget(millis(300));
    let a = Node::new(&pki, Kind::Redis.store(proxy.port, 2).into(), slow);
    let b = Node::new(&pki, Kind::Redis.store(server.port, 2).into(), options());
    a.settle();
    b.settle();
    let [kept, removed] = [1, 2].map(|n| SessionId::new(&key(n).as_bytes()[..32]).unwrap());
    let records = || {
        everything(&server)
            .iter()
            .filter(|(.., left)| *left > 0)
            .count()
    };
    establish(&a, kept);
    a.settle();
    assert_eq!(records(), 1);

    proxy.hold();
    establish(&a, removed);
    wait("the batch to fail", || a.stats().writes_lost > 0);
    assert!(a.cache.remove(a.context(), &removed));
    let done = a.stats().removed;
    wait("the removal", || a.stats().removed > done);
    assert_eq!(records(), 1);
    let before = a.stats().removed;
    proxy.release();
    // It is there, and would be for hours.
    wait("the put", || records() == 2 || a.stats().removed > before);
    wait("the removal, once more", || {
        a.stats().removed > before && records() == 1
    });
    assert!(!resumes(&b, removed) && !resumes(&a, removed));
    assert!(resumes(&b, kept));
}

/// The store loses its counts of invalidations and keeps the records: whoever remembers them counts up again, and what was
/// invalidated stays so, at a server that is started afterwards, too.
#[test]
fn counts_that_are_lost_bring_nothing_back() {
    let Some(server) = redis("") else { return };
    let pki = Pki::new();
    let node = || {
        let store = Kind::Redis.connected(server.port, 2);
        let node = Node::new(&pki, store.into(), options());
        node.settle();
        node
    };
    let (a, b) = (node(), node());
    let [old, new] = [1, 2].map(|n| SessionId::new(&key(n).as_bytes()[..32]).unwrap());
    let counts = || {
        let all = everything(&server).into_iter();
        all.filter(|(.., left)| *left == -1).collect::<Vec<_>>()
    };
    establish(&a, old);
    a.settle();
    assert!(resumes(&b, old));
    a.cache.invalidate_context(a.context()).unwrap();
    a.settle();
    wait("the other to hear", || b.stats().invalidations_heard > 0);
    assert_eq!(counts().len(), 1);
    let client = ::redis::Client::open(("127.0.0.1", server.port)).unwrap();
    let mut connection = client.get_connection().unwrap();
    for (name, ..) in counts() {
        let _: () = ::redis::cmd("DEL")
            .arg(name)
            .query(&mut connection)
            .unwrap();
    }
    wait("somebody to remember", || counts().len() == 1);
    // Its record has not gone anywhere.
    assert_eq!(everything(&server).len(), 2);
    let late = node();
    for node in [&a, &b, &late] {
        node.settle();
        assert!(!resumes(node, old));
    }
    wait("what comes after", || {
        establish(&a, new);
        a.settle();
        resumes(&b, new) && resumes(&late, new)
    });
}
