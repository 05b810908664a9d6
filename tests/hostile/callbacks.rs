//! Callbacks that panic while handshakes call them: nothing unwinds into the TLS stack, and no connection breaks.

use std::panic::resume_unwind;
use std::sync::Arc;

use refrain::{Lookup, RemovalCause, Session};

use super::answer::Answer;
use super::hello::Hello;
use super::site::Site;
use super::stack::{Stack, VERSIONS, Version};

on_each_stack!(
    panics_in_any_callback_cost_no_handshake,
    a_panic_for_each_of_a_thousand_identities_is_counted_and_bounded,
);

/// Unwinds without the message that a panic would print.
fn throw<T>() -> T {
    resume_unwind(Box::new("a callback's"))
}

fn panics_in_any_callback_cost_no_handshake(stack: Stack) {
    for version in VERSIONS {
        let site = Site::new(stack);
        let cache = &site.rig.cache;
        let client = site.regular(version);
        cache.set_on_get(Some(Arc::new(|_: &Lookup<'_>| throw())));
        cache.set_on_new(Some(Arc::new(|_: &Session| throw())));
        cache.set_on_remove(Some(Arc::new(|_: &Session, _: RemovalCause| throw())));
        let panics = || cache.stats().callback_panics;
        // A stored session that its owner comes back for.
        for _ in 0..3 {
            assert!(site.visit(&*client), "{version:?}");
        }
        // A new one: what panicked has not said no.
        let newcomer = site.regular(version);
        let after_new = panics();
        assert!(after_new >= 1, "the new callback was called");
        assert!(site.visit(&*newcomer), "{version:?}");
        // One that is not there.
        let before = panics();
        assert!(cache.clear() > 0);
        let resumed = site.visit_past(&*client, |id| {
            assert_eq!(site.attack(&Hello::offering(version, id)), Answer::Full);
            assert_eq!(panics(), before + 1, "the get callback was called");
        });
        assert!(!resumed, "{version:?}");
        assert!(site.visit(&*client), "{version:?}");
        cache.settle();
        let stats = cache.stats();
        assert!(stats.is_balanced());
        assert_eq!(stats.callbacks, stats.callbacks_due());
    }
}

fn a_panic_for_each_of_a_thousand_identities_is_counted_and_bounded(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls13);
    let cache = &site.rig.cache;
    cache.set_on_get(Some(Arc::new(|_: &Lookup<'_>| throw())));
    let ids = (0u64..).map(|n| [n.to_be_bytes(); 4].concat());
    let (hello, count) = Hello::tls13().many_keys(ids, 1);
    assert!(count > 1000);
    let (answer, _) = site.cost(|| site.attack(&hello));
    assert_eq!(answer, Answer::Full);
    assert_eq!(
        cache.stats().callback_panics,
        u64::from(super::site::EXTERNAL)
    );
    assert!(site.visit(&*client));
}
