//! What goes wrong between a store and its server: an error of the right kind, in time, and nothing wrong afterwards.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use refrain::store::{ExternalStore, StoreError, Write};

use crate::proxy::{Mode, Proxy};
use crate::servers::{
    Kind, Server, fails_in_time, fails_in_time_after, free_port, get, key, later, millis, put,
    refused, soon, timed_out, unavailable, wait,
};

const TTL: Duration = Duration::from_secs(60);

/// All calls fail in time, with an error of that kind. Each begins with the connections that `before` leaves.
fn all_fail(
    store: &dyn ExternalStore,
    mut before: impl FnMut(),
    right: impl Fn(&StoreError) -> bool,
) {
    let one = key(1);
    let put = Write::Put {
        key: &one,
        record: b"x",
        ttl: TTL,
    };
    let mut check = |name: &str, act: &dyn Fn(Instant) -> Result<(), StoreError>| {
        println!("{name}");
        fails_in_time_after(&mut before, &right, act);
    };
    check("get", &|deadline| store.get(&one, deadline).map(drop));
    check("take", &|deadline| store.take(&one, deadline).map(drop));
    check("claim", &|deadline| {
        store.claim(&key(2), TTL, deadline).map(drop)
    });
    check("write", &|deadline| store.write(&[put], deadline));
    check("counter", &|deadline| {
        store.counter(&key(3), deadline).map(drop)
    });
    check("increment", &|deadline| {
        store.increment(&key(3), deadline).map(drop)
    });
    check("probe", &|deadline| store.probe(deadline));
}

#[test]
fn down_at_the_start() {
    for kind in Kind::ALL {
        let Some(mut server) = kind.server() else {
            continue;
        };
        server.kill();
        let store = kind.store(server.port, 2);
        all_fail(&*store, || {}, unavailable);
        // A handshake never connects, even when the server is there.
        server.start();
        let error = store.get(&key(1), later()).unwrap_err();
        assert!(unavailable(&error), "{error:?}");
        store.probe(later()).unwrap();
        assert_eq!(get(&*store, &key(1)), None);
    }
}

#[test]
fn killed_and_restarted() {
    for kind in Kind::ALL {
        let Some(mut server) = kind.server() else {
            continue;
        };
        let store = kind.connected(server.port, 2);
        put(&*store, &key(1), b"one");
        server.kill();
        all_fail(&*store, || {}, unavailable);
        server.start();
        store.probe(later()).unwrap();
        // All connections are back, not only the one that was probed.
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(get(&*store, &key(1)), None);
                    }
                });
            }
        });
        put(&*store, &key(1), b"two");
        assert_eq!(get(&*store, &key(1)).unwrap(), b"two");
    }
}

/// The worker's next write brings back what handshakes have lost, one connection each time.
#[test]
fn writes_mend() {
    for kind in Kind::ALL {
        let Some(mut server) = kind.server() else {
            continue;
        };
        let store = kind.connected(server.port, 1);
        server.kill();
        assert!(unavailable(&store.get(&key(1), soon()).unwrap_err()));
        server.start();
        assert!(unavailable(&store.get(&key(1), later()).unwrap_err()));
        // The first finds that its own connection is gone, the second makes a new one, and then the other.
        let _ = store.write(&[Write::Remove { key: &key(1) }], later());
        put(&*store, &key(1), b"one");
        assert_eq!(get(&*store, &key(1)).unwrap(), b"one");
    }
}

/// A peer that takes connections and says nothing.
#[test]
fn silent() {
    for kind in Kind::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let store = kind.store(listener.local_addr().unwrap().port(), 2);
        fails_in_time(timed_out, |deadline| store.probe(deadline));
        let put = Write::Remove { key: &key(1) };
        fails_in_time(timed_out, |deadline| store.write(&[put], deadline));
    }
}

/// A host whose connections are never taken: its backlog is full.
#[test]
fn unreachable_in_time() {
    for kind in Kind::ALL {
        // Nobody is at home in 192.0.2.0/24. Whether that is told or swallowed depends on the network.
        let store: Box<dyn ExternalStore> = match kind {
            Kind::Redis => {
                let redis = refrain::store::Redis::at("redis://192.0.2.1:6379").unwrap();
                Box::new(redis.build().unwrap())
            }
            Kind::Memcached => {
                let memcached = refrain::store::Memcached::at("192.0.2.1:11211").unwrap();
                Box::new(memcached.build().unwrap())
            }
        };
        fails_in_time(
            |error| timed_out(error) || unavailable(error),
            |deadline| store.probe(deadline),
        );
    }
}

/// A server behind a proxy, with what is asked of it in the tests.
struct Rig {
    proxy: Proxy,
    store: Box<dyn ExternalStore>,
    /// Straight to the server.
    direct: Box<dyn ExternalStore>,
    _server: Server,
}

fn rig(kind: Kind) -> Option<Rig> {
    let server = kind.server()?;
    let proxy = Proxy::to(server.port);
    let rig = Rig {
        store: kind.connected(proxy.port, 2),
        direct: kind.connected(server.port, 2),
        proxy,
        _server: server,
    };
    for number in 0..50 {
        put(&*rig.direct, &key(number), &number.to_be_bytes());
    }
    Some(rig)
}

impl Rig {
    /// Connections that stand, and then the mode.
    fn afresh(&self, mode: Mode) {
        self.proxy.set(Mode::Pass);
        wait("a probe", || self.store.probe(later()).is_ok());
        self.proxy.set(mode);
    }

    /// Once all is well again, everybody gets their own.
    fn nothing_stale(&self) {
        self.proxy.set(Mode::Pass);
        for number in 10..50 {
            // Before the probe, as handshakes come.
            if let Ok(record) = self.store.get(&key(number), later()) {
                assert_eq!(record.unwrap(), number.to_be_bytes());
            }
        }
        wait("a probe", || self.store.probe(later()).is_ok());
        for number in 10..50 {
            let record = self.store.get(&key(number), later()).unwrap();
            assert_eq!(record.unwrap(), number.to_be_bytes());
        }
        assert_eq!(self.store.counter(&key(999), later()).unwrap(), 0);
    }
}

#[test]
fn slow() {
    for kind in Kind::ALL {
        let Some(rig) = rig(kind) else {
            continue;
        };
        for mode in [Mode::Late(60), Mode::Lost, Mode::Trickle] {
            rig.afresh(mode);
            all_fail(
                &*rig.store,
                || rig.afresh(mode),
                |error| matches!(error, StoreError::TimedOut),
            );
            // Its connections are gone, and a handshake is told so without waiting.
            for _ in 0..3 {
                let _ = rig.store.get(&key(1), soon());
            }
            let begin = Instant::now();
            let error = rig.store.get(&key(1), later()).unwrap_err();
            assert!(unavailable(&error), "{error:?}");
            assert!(begin.elapsed() < Duration::from_secs(10));
            rig.nothing_stale();
        }
    }
}

/// Answers come too late, while others are asked for: none is ever taken for another's.
#[test]
fn late_answers_reach_nobody() {
    for kind in Kind::ALL {
        let Some(rig) = rig(kind) else {
            continue;
        };
        let mut late = 0;
        let mut right = 0;
        for round in 0..200 {
            // Some are in time, and some are not.
            rig.proxy.set(Mode::Late(u64::from(round % 7)));
            let number = 10 + round % 40;
            let deadline = Instant::now() + millis(4);
            match rig.store.get(&key(number), deadline) {
                Ok(record) => {
                    assert_eq!(record.unwrap(), number.to_be_bytes());
                    right += 1;
                }
                Err(StoreError::TimedOut) => late += 1,
                Err(StoreError::Unavailable(_)) => {
                    rig.proxy.set(Mode::Pass);
                    rig.store.probe(later()).unwrap();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(late > 0 && right > 0, "{late} late, {right} in time");
        rig.nothing_stale();
    }
}

#[test]
fn cut() {
    for kind in Kind::ALL {
        let Some(rig) = rig(kind) else {
            continue;
        };
        all_fail(&*rig.store, || rig.afresh(Mode::Cut), unavailable);
        rig.nothing_stale();
    }
}

#[test]
fn garbage() {
    for kind in Kind::ALL {
        let Some(rig) = rig(kind) else {
            continue;
        };
        let garbage: [&'static [u8]; 8] = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x15\x03\x03\x00\x02\x02\x50\r\n\r\n\r\n",
            b"\0\0\0\0\r\n\r\n\0\0\0\0\0\0\0\0\0\0\0\r\n",
            b"+OK\r\n+OK\r\n+OK\r\n",
            b":1\r\n:1\r\n:1\r\n",
            b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n$16\r\n0000000000000000\r\n",
            b"VA x\r\nEN\r\n",
            b"HD O1\r\nHD O2\r\nHD O3\r\n",
        ];
        for garbage in garbage {
            let mode = Mode::Garbage(garbage);
            all_fail(
                &*rig.store,
                || rig.afresh(mode),
                |error| matches!(error, StoreError::Protocol(_)),
            );
            rig.nothing_stale();
        }
        // What has no end is given up by the deadline.
        for endless in [&b"$999999999\r\nx"[..], b"*1000000000\r\n", b"VA 999999 O1"] {
            rig.afresh(Mode::Garbage(endless));
            fails_in_time(
                |error| !refused(error),
                |deadline| rig.store.get(&key(1), deadline),
            );
            rig.nothing_stale();
        }
    }
}

/// An answer that is not to this question: it comes twice, or it is the one before.
#[test]
fn answers_to_something_else() {
    for kind in Kind::ALL {
        let Some(rig) = rig(kind) else {
            continue;
        };
        rig.afresh(Mode::Twice);
        let mut refused = 0;
        for number in 10..50 {
            match rig.store.get(&key(number), later()) {
                Ok(record) => assert_eq!(record.unwrap(), number.to_be_bytes()),
                Err(StoreError::Protocol(_)) => refused += 1,
                Err(StoreError::Unavailable(_)) => rig.afresh(Mode::Twice),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(refused > 0);
        rig.nothing_stale();

        for number in 10..50 {
            rig.afresh(Mode::Pass);
            // Some other answer is the last one of each connection.
            for _ in 0..3 {
                get(&*rig.store, &key(number));
            }
            rig.proxy.set(Mode::Before);
            let error = rig.store.get(&key(number + 1), later()).unwrap_err();
            assert!(matches!(error, StoreError::Protocol(_)), "{error:?}");
        }
        rig.nothing_stale();
    }
}

/// Handshakes never wait for one another: who finds no free connection is told at once.
#[test]
fn none_free() {
    for kind in Kind::ALL {
        let Some(rig) = rig(kind) else {
            continue;
        };
        rig.afresh(Mode::Late(1500));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| get(&*rig.store, &key(20)).unwrap());
            }
            std::thread::sleep(millis(300));
            let begin = Instant::now();
            let error = rig.store.get(&key(21), later()).unwrap_err();
            assert!(unavailable(&error), "{error:?}");
            assert!(begin.elapsed() < millis(1000), "{:?}", begin.elapsed());
        });
        rig.nothing_stale();
    }
}

/// A handshake's record is lost with the answer to its take: never handed out later.
#[test]
fn a_take_without_an_answer_is_a_take_or_nothing() {
    for kind in Kind::ALL {
        let Some(rig) = rig(kind) else {
            continue;
        };
        for number in 10..30 {
            rig.afresh(Mode::Lost);
            let error = rig.store.take(&key(number), soon()).unwrap_err();
            assert!(matches!(error, StoreError::TimedOut), "{error:?}");
            rig.afresh(Mode::Pass);
            // At most one more has it, and nobody after that.
            let _ = rig.direct.take(&key(number), later()).unwrap();
            assert_eq!(rig.direct.take(&key(number), later()).unwrap(), None);
            assert_eq!(rig.store.get(&key(number), later()).unwrap(), None);
        }
    }
}

#[test]
fn nobody_listens() {
    for kind in Kind::ALL {
        let store = kind.store(free_port(), 1);
        all_fail(&*store, || {}, unavailable);
    }
}
