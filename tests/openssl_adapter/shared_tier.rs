//! Servers of libssl with a shared tier behind their caches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::ssl::SslContext;
use refrain::store::{ExternalOptions, ExternalStats, Keys, SingleUse};
use refrain::{SessionCache, Time};

use super::common::{Rig, watchdog};
use super::hosts::{FIRST, Hosts, SECOND, invalidate};
use super::memory::Side;
use super::party::{Client, NAME, VERSIONS, Version, finish, server};
use super::shop::{Fault, Shop};

const SOON: Duration = Duration::from_secs(10);

fn options(single_use: SingleUse) -> ExternalOptions {
    let key = |n: u8| std::array::from_fn(|i| (i as u8 ^ n).wrapping_mul(37).wrapping_add(n));
    ExternalOptions::new(Keys::new(&key(1), &key(2)).unwrap())
        .read_budget(Duration::from_millis(20))
        .epoch_refresh(Duration::from_millis(20))
        .single_use(single_use)
}

fn rig(shop: &Arc<Shop>, single_use: SingleUse) -> Rig {
    let rig = Rig::with(SessionCache::builder().external(Arc::clone(shop), options(single_use)));
    settle(&rig);
    rig
}

fn node(shop: &Arc<Shop>) -> (Rig, SslContext) {
    let rig = rig(shop, SingleUse::Strict);
    let server = server(&rig.cache);
    settle(&rig);
    (rig, server)
}

#[track_caller]
fn settle(rig: &Rig) {
    assert!(rig.cache.settle_external(SOON));
}

fn until(rig: &Rig, what: impl Fn(&ExternalStats) -> bool) {
    let limit = Instant::now() + SOON;
    while !what(&rig.cache.external_stats().unwrap()) {
        assert!(Instant::now() < limit);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_client_resumes_at_whichever_server_it_comes_to() {
    let _dog = watchdog();
    for version in VERSIONS {
        let shop = Arc::new(Shop::default());
        let nodes = [node(&shop), node(&shop)];
        let client = Client::new(version);
        assert!(!client.visit(&nodes[0].1));
        for n in 1..6 {
            nodes.iter().for_each(|(rig, _)| settle(rig));
            assert!(client.visit(&nodes[n % 2].1), "{version:?}, {n}");
        }
        // What the store does not have any more is a full handshake.
        nodes.iter().for_each(|(rig, _)| settle(rig));
        shop.forget_everything();
        nodes.iter().for_each(|(rig, _)| {
            rig.cache.flush(Time::MAX);
        });
        assert!(!client.visit(&nodes[0].1), "{version:?}");
    }
}

#[test]
fn a_session_for_single_use_is_accepted_by_one_of_two_servers() {
    let _dog = watchdog();
    for first in [0, 1] {
        let shop = Arc::new(Shop::default());
        let nodes = [node(&shop), node(&shop)];
        let client = Client::new(Version::Tls13);
        assert!(!client.visit(&nodes[0].1));
        settle(&nodes[0].0);
        let offered = client.sessions().pop().unwrap();
        let offer = |to: usize| {
            let side = client.connect_with(Some(NAME), Some(&offered));
            finish(side, Side::server(&nodes[to].1))
        };
        assert!(offer(first));
        assert!(!offer(1 - first) && !offer(first));
    }
}

#[test]
fn with_the_store_away_handshakes_are_full_ones() {
    let _dog = watchdog();
    for version in VERSIONS {
        for fault in [Fault::Down, Fault::Silent, Fault::Garbage] {
            let shop = Arc::new(Shop::default());
            let nodes = [node(&shop), node(&shop)];
            let client = Client::new(version);
            assert!(!client.visit(&nodes[0].1));
            settle(&nodes[0].0);
            shop.set(fault);
            assert!(!client.visit(&nodes[1].1), "{version:?}, {fault:?}");
        }
    }
}

#[test]
fn a_hosts_sessions_are_shared_and_end_with_the_hosts_context_everywhere() {
    let _dog = watchdog();
    for version in VERSIONS {
        let shop = Arc::new(Shop::default());
        // The contexts have other numbers at each.
        let rigs = [(); 2].map(|()| rig(&shop, SingleUse::Strict));
        let hosts = [Hosts::installed(&rigs[0]), Hosts::installed(&rigs[1])];
        rigs.iter().for_each(settle);
        let (one, two) = (Client::new(version), Client::new(version));
        assert!(!one.visit_as(FIRST, &hosts[0].server));
        assert!(!two.visit_as(SECOND, &hosts[0].server));
        settle(&rigs[0]);
        assert!(two.visit_as(SECOND, &hosts[1].server), "{version:?}");
        settle(&rigs[1]);
        assert!(two.visit_as(SECOND, &hosts[0].server), "{version:?}");
        settle(&rigs[0]);
        invalidate(&rigs[0], "second");
        settle(&rigs[0]);
        until(&rigs[1], |stats| stats.invalidations_heard == 1);
        for host in &hosts {
            // A copy of what it has: a full handshake brings the client a new one.
            let held = two.sessions().last().cloned();
            let held = held.as_ref();
            let old = two.connect_with(SECOND, held);
            assert!(!finish(old, Side::server(&host.server)), "{version:?}");
            two.sessions().clear();
            two.sessions().extend(held.cloned());
        }
        assert!(one.visit_as(FIRST, &hosts[1].server), "{version:?}");
    }
}
