//! Ids that their server recognises: a forged one reaches neither the cache nor the get callback.

use refrain::TaggedIds;

use super::answer::Answer;
use super::common::Random;
use super::hello::Hello;
use super::over_openssl::server_tagged;
use super::site::{CONTEXT, Cost, Site, attack};
use super::stack::{Server, Stack, VERSIONS, Version, visit};

/// A site, and a server on it whose ids are tagged under this key.
fn tagged(key: [u8; 16]) -> (Site, Box<dyn Server>) {
    let site = Site::new(Stack::Openssl);
    let server = another(&site, key);
    (site, server)
}

fn another(site: &Site, key: [u8; 16]) -> Box<dyn Server> {
    let ids = TaggedIds::new(&key).unwrap();
    server_tagged(&site.rig.cache, CONTEXT, ids)
}

#[test]
fn forged_ids_reach_neither_cache_nor_callback() {
    let (site, server) = tagged([1; 16]);
    let clients = VERSIONS.map(|version| site.client(version));
    for client in &clients {
        assert!(!visit(&**client, &*server, |_| ()));
    }
    let mut random = Random::new(7);
    let ids = std::iter::repeat_with(|| (0..32).map(|_| random.next() as u8).collect());
    let (many, count) = Hello::tls13().many_keys(ids, 1);
    assert!(count > 1000);
    let forged = || site.rig.cache.stats().forged;
    let before = forged();
    let (answer, cost) = site.cost(|| attack(&*server, &many));
    assert_eq!((answer, cost), (Answer::Full, Cost::default()));
    assert_eq!(forged() - before, count as u64);
    for length in 1..=32 {
        let hello = Hello::tls12().session_id(&vec![7; length]);
        let (answer, cost) = site.cost(|| attack(&*server, &hello));
        assert_eq!((answer, cost), (Answer::Full, Cost::default()), "{length}");
    }
    assert_eq!(forged() - before, count as u64 + 32);
    for client in &clients {
        assert!(visit(&**client, &*server, |_| ()));
    }
}

#[test]
fn each_bit_of_a_live_id_counts() {
    let (site, server) = tagged([1; 16]);
    for version in VERSIONS {
        let client = site.client(version);
        assert!(!visit(&*client, &*server, |_| ()));
        let resumed = visit(&*client, &*server, |hello| {
            let id = super::answer::offered(hello).unwrap();
            for bit in 0..8 * id.len() {
                let mut flipped = id.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let hello = Hello::offering(version, &flipped);
                let (answer, cost) = site.cost(|| attack(&*server, &hello));
                assert_eq!((answer, cost), (Answer::Full, Cost::default()), "{bit}");
            }
        });
        assert!(resumed, "{version:?}");
    }
}

/// They are looked up, and if they are not in the cache, asked for outside: that is what a shared key is for.
#[test]
fn servers_with_the_same_key_know_each_others_ids_and_others_do_not() {
    let (site, server) = tagged([1; 16]);
    let (same, other) = (another(&site, [1; 16]), another(&site, [2; 16]));
    for version in VERSIONS {
        let client = site.client(version);
        assert!(!visit(&*client, &*server, |_| ()));
        assert!(visit(&*client, &*same, |_| ()), "{version:?}");
        let resumed = visit(&*client, &*same, |hello| {
            let id = super::answer::offered(hello).unwrap();
            let hello = Hello::offering(version, &id);
            let (answer, cost) = site.cost(|| attack(&*other, &hello));
            assert_eq!(
                (answer, cost),
                (Answer::Full, Cost::default()),
                "{version:?}"
            );
        });
        assert!(resumed, "{version:?}");
        site.rig.cache.clear();
        let resumed = visit(&*client, &*same, |hello| {
            let id = super::answer::offered(hello).unwrap();
            let (_, cost) = site.cost(|| attack(&*same, &Hello::offering(version, &id)));
            assert_eq!((cost.lookups, cost.gets), (1, 1), "{version:?}");
        });
        assert!(!resumed, "{version:?}");
    }
    // An id from before there were tags is a stranger's.
    let client = site.regular(Version::Tls12);
    assert!(site.visit(&*client));
    assert!(!visit(&*client, &*server, |_| ()));
}
