//! What is fetched before the handshake that wants it.

use std::sync::Arc;

use refrain::store::Offered;

use crate::common::{id, watchdog};
use crate::node::{Node, options};
use crate::store::{Fault, Shop};

fn offered(n: u64, single_use: bool) -> Offered {
    Offered {
        id: id(n),
        single_use,
    }
}

#[test]
fn the_handshake_after_it_does_not_ask_the_store() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish(1);
    a.settle();
    let reads = shop.reads();
    let ids = [offered(1, false)];
    assert_eq!(b.cache.prefetch(&b.context, &ids), 1);
    assert_eq!(shop.reads(), reads + 1);
    assert!(b.has(1));
    shop.set(Fault::Down);
    assert!(b.resume(1));
    // It is here already.
    assert_eq!(b.cache.prefetch(&b.context, &ids), 1);
    assert_eq!(shop.reads(), reads + 1);
}

#[test]
fn it_makes_no_more_reads_than_a_handshake_may() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::with(&shop, options());
    let reads = shop.reads();
    let ids: Vec<_> = (0..100).map(|n| offered(n, n % 2 == 0)).collect();
    assert_eq!(node.cache.prefetch(&node.context, &ids), 0);
    assert_eq!(shop.reads(), reads + 2);
    let plain = refrain::SessionCache::builder().build().unwrap();
    let context = plain
        .context(refrain::ContextId::derive("plain", &[]))
        .unwrap();
    assert_eq!(plain.prefetch(&context, &ids), 0);
}
