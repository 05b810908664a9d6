//! What stands at the store: nothing that tells an id or a secret, and nothing for longer than it may.

use std::time::Duration;

use refrain::{ContextId, SessionId};

use crate::servers::{Kind, Server, redis};
use crate::tier::node::{Node, Pki, VERSIONS, connect, hello, key, options};

/// Every key of the server's with what stands there, and how many milliseconds it has left.
pub(crate) fn everything(server: &Server) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let script = "local all = {} for _, key in ipairs(redis.call('KEYS', '*')) do \
                  table.insert(all, {key, redis.call('GET', key), redis.call('PTTL', key)}) end return all";
    let client = ::redis::Client::open(("127.0.0.1", server.port)).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut eval = ::redis::cmd("EVAL");
    eval.arg(script).arg(0).query(&mut connection).unwrap()
}

/// How many keys and values have so many bytes of it in a row.
fn showing(server: &Server, secret: &[u8]) -> usize {
    let all = everything(server);
    let sides = all.iter().flat_map(|(name, value, _)| [name, value]);
    sides
        .filter(|side| {
            let mut parts = secret.windows(12);
            parts.any(|part| side.windows(12).any(|here| here == part))
        })
        .count()
}

#[test]
fn a_store_sees_neither_ids_nor_secrets() {
    let Some(server) = redis("") else { return };
    let pki = Pki::new();
    let node = Node::new(
        &pki,
        Kind::Redis.connected(server.port, 2).into(),
        options(),
    );
    node.settle();
    let id: [u8; 32] = std::array::from_fn(|at| (at as u8).wrapping_mul(89).wrapping_add(5));
    let secret: Vec<u8> = (0..48_u8).map(|at| at.wrapping_mul(53) ^ 0x6b).collect();
    let mut connection = node.cache.accept(node.context());
    let session = connection
        .session_builder(SessionId::new(&id).unwrap())
        .server_name("customer.example")
        .build(&secret)
        .unwrap();
    assert!(connection.establish(session));
    connection.close();
    // Sessions of rustls's, whose ids the clients know.
    let clients = VERSIONS.map(|version| pki.client(version));
    for client in &clients {
        assert!(!connect(client, &node).resumed);
    }
    node.settle();
    let mut secrets: Vec<Vec<u8>> = vec![id.to_vec(), secret.clone()];
    secrets.push(b"customer.example".to_vec());
    secrets.push(ContextId::derive("site", &[]).as_bytes().to_vec());
    secrets.extend([key(1), key(2)].map(|key| key.to_vec()));
    for client in &clients {
        let (_, hello) = hello(client);
        for offered in refrain::store::resumption_ids(&hello) {
            secrets.push(offered.id.as_bytes().to_vec());
            let held = node.cache.get(node.context(), &offered.id).unwrap();
            secrets.push(held.payload().to_vec());
        }
    }
    assert!(secrets.len() >= 10, "{}", secrets.len());
    assert!(everything(&server).len() >= 6);
    for secret in &secrets {
        assert_eq!(showing(&server, secret), 0, "{secret:?}");
    }
    // Whoever writes in clear is seen.
    let client = ::redis::Client::open(("127.0.0.1", server.port)).unwrap();
    let mut set = ::redis::cmd("SET");
    let plain = [b"before ", &secret[..], b" behind"].concat();
    let () = set
        .arg(&id)
        .arg(plain)
        .query(&mut client.get_connection().unwrap())
        .unwrap();
    assert_eq!(showing(&server, &id), 1);
    assert_eq!(showing(&server, &secret), 1);
}

#[test]
fn a_record_stays_as_long_as_its_session_may_be_used() {
    let Some(server) = redis("") else { return };
    let pki = Pki::new();
    let node = Node::new(
        &pki,
        Kind::Redis.connected(server.port, 2).into(),
        options(),
    );
    node.settle();
    let seconds = |n: u64| Duration::from_secs(n);
    node.cache.set_timeout(seconds(3600));
    // The cache's timeout, one of its own, the end of an authentication, and the longest that any record stays.
    let day = seconds(24 * 3600);
    let week = day * 7;
    let cases = [
        (None, None, seconds(3600)),
        (Some(seconds(500)), None, seconds(500)),
        (Some(seconds(500)), Some(seconds(200)), seconds(200)),
        (Some(day * 30), None, week),
    ];
    for (number, (timeout, ends, expected)) in (1..).zip(cases) {
        let before = everything(&server);
        let mut connection = node.cache.accept(node.context());
        let mut builder = connection.session_builder(SessionId::new(&[number; 32]).unwrap());
        if let Some(timeout) = timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(ends) = ends {
            builder = builder.not_after(node.cache.now() + ends);
        }
        let session = builder.build(b"state").unwrap();
        assert!(connection.establish(session));
        connection.close();
        node.settle();
        let after = everything(&server);
        let known = |name: &[u8]| before.iter().any(|(old, ..)| old == name);
        let new: Vec<_> = after.iter().filter(|(name, ..)| !known(name)).collect();
        let [(_, _, left)] = new[..] else {
            panic!("{} new keys", new.len())
        };
        let left = Duration::from_millis(u64::try_from(*left).unwrap());
        // The machine may be busy, but never is it early.
        assert!(left <= expected, "{left:?} of {expected:?}");
        assert!(left + seconds(30) > expected, "{left:?} of {expected:?}");
    }
    // Two counters, which have no end.
    let endless = everything(&server)
        .iter()
        .filter(|(.., left)| *left == -1)
        .count();
    assert!(endless <= 2, "{endless}");
}

/// What the chapter operations reckons with.
#[test]
fn records_are_as_large_as_the_manual_says() {
    let Some(server) = redis("") else { return };
    let pki = Pki::new();
    let node = Node::new(
        &pki,
        Kind::Redis.connected(server.port, 2).into(),
        options(),
    );
    node.settle();
    for version in VERSIONS {
        server.cli(&["flushdb"]);
        assert!(!connect(&pki.client(version), &node).resumed);
        node.settle();
        let client = ::redis::Client::open(("127.0.0.1", server.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut seen = 0;
        for (name, value, left) in everything(&server) {
            if left < 0 {
                continue;
            }
            let mut usage = ::redis::cmd("MEMORY");
            usage.arg("USAGE").arg(&name).arg("SAMPLES").arg(0);
            let usage: usize = usage.query(&mut connection).unwrap();
            println!(
                "{:?}: a key of {} bytes, a record of {}, {usage} bytes at Redis",
                version.version,
                name.len(),
                value.len()
            );
            assert_eq!(name.len(), 40);
            assert_eq!(value.len(), 192);
            assert!(usage <= 312, "{usage}");
            seen += 1;
        }
        assert!(seen > 0);
    }
}
