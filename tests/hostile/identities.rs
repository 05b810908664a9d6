//! Hellos with as many pre-shared keys as they hold.

use super::answer::Answer;
use super::common::Random;
use super::hello::Hello;
use super::site::{Cost, EXTERNAL, Site, attack};
use super::stack::{Stack, VERSIONS, Version};

on_each_stack!(
    a_thousand_identities_cost_one_look_up_each_and_few_calls,
    the_bound_on_calls_holds_from_hello_to_hello,
    no_calls_are_made_where_none_are_allowed,
    a_retry_does_not_renew_the_bound,
    a_thousand_wrong_identities_before_the_right_one_change_nothing,
    identities_without_binders_or_modes_are_refused_or_ignored,
);

/// Identities of these lengths, over and over, all different.
fn forged(lengths: &[usize]) -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random::new(41);
    lengths
        .iter()
        .cycle()
        .map(move |length| (0..*length).map(|_| random.next() as u8).collect())
}

fn a_thousand_identities_cost_one_look_up_each_and_few_calls(stack: Stack) {
    let site = Site::new(stack);
    let clients = VERSIONS.map(|version| site.regular(version));
    let mixed: Vec<usize> = (1..=40).collect();
    // As an honest client would write them; crammed, with binders that no hash is as short as; and of any length.
    let shapes = [
        (&[32][..], 32, 900),
        (&[32], 1, 1500),
        (&mixed, 1, 1000),
        (&[1, 31, 32, 33, 200], 1, 700),
        (&[1, 2, 3], 1, 5000),
    ];
    for (lengths, binder, least) in shapes {
        let (hello, count) = Hello::tls13().many_keys(forged(lengths), binder);
        assert!(count >= least, "only {count} of {lengths:?} fit");
        let eligible = (0..count)
            .filter(|n| stack.looks_up_key(lengths[n % lengths.len()]))
            .count() as u64;
        let (answer, cost) = site.cost(|| site.attack(&hello));
        assert_eq!(answer, Answer::Full, "{count} of {lengths:?}");
        let expected = Cost {
            lookups: eligible,
            gets: site.allowed(eligible),
            changes: 0,
        };
        assert_eq!(cost, expected, "{count} of {lengths:?}");
        for client in &clients {
            assert!(site.visit(&**client));
        }
        site.next_second();
    }
}

fn the_bound_on_calls_holds_from_hello_to_hello(stack: Stack) {
    let site = Site::new(stack);
    let (hello, _) = Hello::tls13().many_keys(forged(&[32]), 32);
    let bound = u64::from(EXTERNAL);
    let mut calls = Vec::new();
    for _ in 0..3 {
        let (answer, cost) = site.cost(|| site.attack(&hello));
        assert_eq!(answer, Answer::Full);
        calls.push(cost.gets);
    }
    match stack {
        // One second's worth, however many hellos.
        Stack::Rustls => assert_eq!(calls, [bound, 0, 0]),
        #[cfg(feature = "openssl")]
        Stack::Openssl => assert_eq!(calls, [bound; 3]),
    }
    site.next_second();
    assert_eq!(site.cost(|| site.attack(&hello)).1.gets, bound);
}

fn no_calls_are_made_where_none_are_allowed(stack: Stack) {
    let site = Site::new(stack);
    let server = site.bounded(0);
    let (many, _) = Hello::tls13().many_keys(forged(&[32]), 32);
    let one = Hello::tls12().session_id(&[7; 32]);
    for hello in [many, one] {
        let (answer, cost) = site.cost(|| attack(&*server, &hello));
        assert_eq!(answer, Answer::Full);
        assert!(cost.lookups > 0);
        assert_eq!(cost.gets, 0);
    }
}

fn a_retry_does_not_renew_the_bound(stack: Stack) {
    let site = Site::new(stack);
    let (first, _) = Hello::tls13_without_share().many_keys(forged(&[32]), 32);
    let (second, _) = Hello::tls13().many_keys(forged(&[32]), 32);
    // RFC 8446 wants the same random in both, and nobody makes sure that it is.
    let (another, _) = Hello::tls13()
        .random([0x33; 32])
        .many_keys(forged(&[32]), 32);
    for second in [second, another] {
        let ((), cost) = site.cost(|| {
            let mut server = site.server.accept();
            let retry = server.feed(&first.records());
            assert_eq!(Answer::read(&retry, &[]), Answer::Retry);
            let answer = server.feed(&second.records());
            assert_eq!(Answer::read(&answer, &[]), Answer::Full);
        });
        assert_eq!((cost.gets, cost.changes), (u64::from(EXTERNAL), 0));
        site.next_second();
    }
}

/// The one that is right has no right binder, so the connection is refused; and only the session that it named can be
/// harmed by it.
fn a_thousand_wrong_identities_before_the_right_one_change_nothing(stack: Stack) {
    let site = Site::new(stack);
    let (victim, witness) = (site.regular(Version::Tls13), site.regular(Version::Tls13));
    // The owner pays with a full handshake, and is a regular again.
    let resumed = site.visit_past(&*victim, |stolen| {
        let mut ids: Vec<_> = forged(&[32]).take(800).collect();
        ids.push(stolen.to_vec());
        let hello = Hello::tls13().keys(&ids, ids.len(), 32);
        assert!(matches!(site.attack(&hello), Answer::Alert(_)));
    });
    assert!(!resumed);
    assert!(site.visit(&*victim));
    assert!(site.visit(&*witness));
}

fn identities_without_binders_or_modes_are_refused_or_ignored(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls13);
    let ids: Vec<_> = forged(&[32]).take(5).collect();
    for (binders, length) in [(0, 0), (1, 32), (4, 32), (5, 0), (6, 32), (5, 255)] {
        let hello = Hello::tls13().keys(&ids, binders, length);
        let (answer, cost) = site.cost(|| site.attack(&hello));
        assert_ne!(answer, Answer::Resumed, "{binders} binders of {length}");
        assert!(cost.gets <= u64::from(EXTERNAL) && cost.changes == 0);
        site.next_second();
    }
    assert!(site.visit(&*client));
}
