//! Sessions of one server are resumed at another; what one invalidates, the other does not find.

use std::sync::Arc;
use std::time::Instant;

use refrain::store::{Disk, ExternalStore, Opened};
use tempfile::TempDir;

use crate::servers::{Kind, millis};
use crate::tier::node::{Node, Pki, REFRESH, VERSIONS, connect, options};
use crate::tier::once;
use crate::tier::site::Site;

/// Returning clients, each coming to the server that did not see it last.
const VISITS: usize = 40;

#[test]
fn servers_share_a_redis() {
    whole(Site::one(Kind::Redis));
}

#[test]
fn servers_share_a_memcached() {
    whole(Site::one(Kind::Memcached));
}

#[test]
fn servers_share_a_cluster() {
    whole(Site::cluster());
}

#[test]
fn servers_share_what_sentinels_watch() {
    whole(Site::sentinel());
}

#[test]
fn caches_of_one_process_share_a_file() {
    whole(Site::file());
}

/// `None` where it is not installed, which was said.
fn whole(site: Option<Site>) {
    let Some(site) = site else { return };
    let pki = Pki::new();
    let nodes = [(); 2].map(|()| Node::new(&pki, site.store(), options()));
    nodes.iter().for_each(Node::settle);
    resumed(&pki, &nodes);
    once::taken_at_sight(&pki, &nodes);
    once::claimed(&nodes);
    invalidated(&pki, &nodes);
}

/// Every session that is offered is resumed, but where a read came too late, on a machine that was busy.
fn resumed(pki: &Pki, nodes: &[Node; 2]) {
    for version in VERSIONS {
        let client = pki.client(version);
        assert!(!connect(&client, &nodes[0]).resumed);
        let mut late = 0;
        for visit in 1..=VISITS {
            nodes.iter().for_each(Node::settle);
            let node = &nodes[visit % 2];
            let failures = node.failures();
            let before = node.stats().hits;
            // What this one has of TLS 1.2 it needs not read.
            node.cache.flush(refrain::Time::MAX);
            if connect(&client, node).resumed {
                assert_eq!(node.stats().hits, before + 1, "read once");
            } else {
                assert!(node.failures() > failures, "{version:?}, visit {visit}");
                late += 1;
            }
        }
        assert!(late <= VISITS / 4, "{late} of {VISITS} came to nothing");
    }
}

/// What one server invalidates, the other misses, in both tiers, once it had time to hear of it.
fn invalidated(pki: &Pki, nodes: &[Node; 2]) {
    let mut times = Vec::new();
    let client = pki.client(VERSIONS[0]);
    for _ in 0..5 {
        // In the second one's first tier, too.
        let mut known = false;
        for _ in 0..10 {
            connect(&client, &nodes[0]);
            nodes.iter().for_each(Node::settle);
            known = connect(&client, &nodes[1]).resumed;
            if known {
                break;
            }
        }
        assert!(known);
        let heard = nodes[1].stats().invalidations_heard;
        let begin = Instant::now();
        assert!(
            nodes[0]
                .cache
                .invalidate_context(nodes[0].context())
                .is_ok()
        );
        while nodes[1].stats().invalidations_heard == heard {
            assert!(begin.elapsed() < millis(20_000));
            std::thread::sleep(millis(1));
        }
        times.push(begin.elapsed());
        assert!(!connect(&client, &nodes[1]).resumed);
    }
    // The machine may have been busy for some of them.
    times.sort();
    assert!(times[2] < REFRESH + millis(100), "{times:?}");
}

/// A file outlives the process: here, the cache and all that it has.
#[test]
fn a_file_carries_sessions_over_a_restart() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let pki = Pki::new();
    let clients = VERSIONS.map(|version| pki.client(version));
    let start = |expected: &dyn Fn(&Opened) -> bool| {
        let (disk, opened) = Disk::open(&path).unwrap();
        assert!(expected(&opened), "{opened:?}");
        let store: Arc<dyn ExternalStore> = Arc::new(disk);
        let node = Node::new(&pki, store, options());
        node.settle();
        node
    };
    let first = start(&|opened| *opened == Opened::New);
    for client in &clients {
        assert!(!connect(client, &first).resumed);
    }
    first.settle();
    drop(first);
    for _ in 0..3 {
        let next = start(&|opened| matches!(opened, Opened::Kept { records: 2.. }));
        for client in &clients {
            assert!(connect(client, &next).resumed);
        }
        next.settle();
    }
    // What was invalidated before the restart stays so.
    let last = start(&|opened| matches!(opened, Opened::Kept { .. }));
    last.cache.invalidate_context(last.context()).unwrap();
    last.settle();
    drop(last);
    let next = start(&|opened| matches!(opened, Opened::Kept { .. }));
    for client in &clients {
        assert!(!connect(client, &next).resumed);
    }
}
