//! The child of a fork has the first tier, and for it the store is away.

use std::sync::Arc;
use std::time::Duration;

use crate::child::{Ended, check, fork, wait};
use crate::common::{id, watchdog};
use crate::node::{Node, best_effort, options};
use crate::store::Shop;

#[test]
fn a_child_uses_what_it_has_and_leaves_the_store_to_its_parent() {
    let _dog = watchdog();
    for strict in [true, false] {
        let shop = Arc::new(Shop::default());
        let options = if strict { options() } else { best_effort() };
        let node = Node::with(&shop, options);
        for n in 0..5 {
            node.establish(n);
        }
        node.settle();
        let log = shop.log().len();
        let child = fork(|| {
            check!(node.resume(0));
            check!(!node.resume(77));
            // Used once in all: so not here.
            check!(node.resume_once(1) != strict);
            check!(node.establish(9) && node.resume(9));
            check!(node.cache.remove(&node.context, &id(2)) && !node.resume(2));
            check!(node.cache.invalidate_context(&node.context).is_ok() && !node.resume(3));
            node.cache.clear();
            node.cache.settle();
            check!(!node.cache.settle_external(Duration::ZERO));
            check!(node.cache.external_stats().is_some());
            drop(node.cache.clone());
            Ok(())
        });
        let end = wait(child);
        // Where another thread had the allocator or a lock at that moment, the child says so.
        assert!(matches!(end, Ended::Well | Ended::Unlucky), "{end:?}");
        assert!(node.resume(2) && node.resume(3) && node.resume_once(4));
        node.cache.settle();
        node.settle();
        assert_eq!(shop.log().len() > log, !strict);
    }
}
