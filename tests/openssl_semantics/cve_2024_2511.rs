//! The scenario behind CVE-2024-2511: some connections fail while others resume the same sessions, and a cache grew without
//! bound, because a session that had failed was in it and could not be found there any more.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use foreign_types::ForeignType;
use openssl::ssl::{SslContext, SslSession, SslSessionRef};
use refrain::adapter::openssl::Sessions;
use refrain::{Context, ContextId, SessionCache, SessionId};

use crate::common::watchdog;
use crate::log::{Log, What, lock};
use crate::net::link::{Link, read};
use crate::server::{Client, Own, Plan, Protocol, Server};
use crate::store::{libssl, refrain as store};
use crate::version::version;

const THREADS: u64 = 8;
const CONNECTIONS: u64 = 100;
const SIZE: usize = 8;
/// Sessions that clients remember between them. More than the cache has, so that some are gone.
const REMEMBERED: usize = 12;

/// What the threads share.
struct Arena {
    server: SslContext,
    protocol: Protocol,
    sessions: Mutex<Vec<Vec<u8>>>,
    resumed: Mutex<u64>,
}

/// Connections of one thread, each of which ends in one of five ways. `look` is called between them.
fn visit(arena: &Arena, thread: u64, look: impl Fn()) {
    let client = Client::new(arena.protocol, |_| {});
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(thread + 1);
    for _ in 0..CONNECTIONS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let session = pick(arena, random >> 8);
        connect(arena, &client, session.as_deref(), random % 5);
        let mut sessions = lock(&arena.sessions);
        for session in client.take_sessions() {
            sessions.push(session.to_der().unwrap());
        }
        let surplus = sessions.len().saturating_sub(REMEMBERED);
        sessions.drain(..surplus);
        drop(sessions);
        look();
    }
}

/// One of the sessions that the clients remember, which several may be offering at the same time.
fn pick(arena: &Arena, random: u64) -> Option<SslSession> {
    let sessions = lock(&arena.sessions);
    let n = (random as usize).checked_rem(sessions.len())?;
    Some(SslSession::from_der(&sessions[n]).unwrap())
}

fn connect(arena: &Arena, client: &Client, session: Option<&SslSessionRef>, end: u64) {
    let mut link = Link::prepared(client.ctx(), &arena.server, |ssl, _| {
        if let Some(session) = session {
            // SAFETY: the session is of a context with the same settings.
            unsafe { ssl.set_session(session) }.unwrap();
        }
    });
    if end <= 1 {
        // It ends in the middle of the handshake: by silence, or by nonsense that is answered with a fatal alert.
        let _ = link.client.do_handshake();
        let _ = link.server.do_handshake();
        if end == 1 {
            link.client.get_ref().inject(&[0x99; 64]);
            assert!(link.server.do_handshake().is_err());
        }
        return;
    }
    link.handshake().unwrap();
    if link.reused() {
        *lock(&arena.resumed) += 1;
    }
    match end {
        // By nonsense after the handshake, by silence, in order.
        2 => {
            link.client.get_ref().inject(&[0x99; 64]);
            read(&mut link.server);
        }
        3 => drop(link),
        _ => link.close(),
    }
}

/// Lets all the threads loose on the server, with one that does nothing but look.
fn run(protocol: Protocol, server: SslContext, look: impl Fn() + Sync) {
    let arena = Arena {
        server,
        protocol,
        sessions: Mutex::default(),
        resumed: Mutex::default(),
    };
    let _watchdog = watchdog();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..THREADS)
            .map(|n| {
                let (arena, look) = (&arena, &look);
                scope.spawn(move || visit(arena, n, look))
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                look();
                thread::yield_now();
            }
        });
        let ends: Vec<_> = visitors.into_iter().map(|visitor| visitor.join()).collect();
        done.store(true, SeqCst);
        assert!(ends.iter().all(Result::is_ok));
    });
    let resumed = *lock(&arena.resumed);
    assert!(resumed > 0, "nothing was ever resumed");
}

fn refrain(protocol: Protocol) {
    let log = Arc::new(Log::default());
    let cache = SessionCache::builder().capacity(SIZE).build().unwrap();
    store::listen(&cache, &log);
    let id = ContextId::derive("cve", &[]);
    let mut plan = Plan::new(protocol);
    let sessions = Sessions::new(&cache, id).unwrap();
    sessions.install(&mut plan.ctx).unwrap();
    run(protocol, plan.ctx.build(), || {
        assert!(cache.len() <= SIZE, "{} sessions", cache.len());
        assert!(cache.stats().entries <= SIZE as u64);
    });

    cache.settle();
    let stats = cache.stats();
    assert!(stats.is_balanced(), "{stats:?}");
    let context: &Context = sessions.context();
    let ids = store::ids(&cache);
    assert_eq!(ids.len(), cache.len());
    for id in &ids {
        let id = SessionId::new(id).unwrap();
        assert!(cache.remove(context, &id), "it can't be removed");
        assert!(!cache.remove(context, &id));
    }
    assert_eq!(cache.len(), 0, "something can't be found");
    cache.settle();
    let stats = cache.stats();
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!(log.books().remove as u64, stats.callbacks_due());
}

/// As Refrain, so that the scenario is known to be one that a sound libssl survives.
fn own(protocol: Protocol) {
    if version() < (3, 0, 14) {
        println!("NOT RUN on libssl {:?}: it may have the fault", version());
        return;
    }
    let mut plan = Plan::new(protocol);
    plan.size = SIZE;
    let server = Own::start(plan);
    run(protocol, server.ctx().clone(), || {
        // The number is read without the lock, and an add counts its newcomer before it evicts.
        let number = server.books().number;
        assert!(number <= SIZE as i64 + THREADS as i64, "{number} sessions");
    });

    assert!(server.books().number <= SIZE as i64);
    let calls = server.log().drain();
    let mut left = server.books().number;
    for call in calls.iter().filter(|call| call.what == What::New) {
        let session = libssl::session(protocol.number(), &call.id);
        // SAFETY: both are alive.
        let removed =
            unsafe { openssl_sys::SSL_CTX_remove_session(server.ctx().as_ptr(), session.as_ptr()) };
        left -= i64::from(removed);
    }
    assert_eq!(left, 0);
    assert_eq!(server.books().number, 0, "something can't be found");
}

#[test]
fn refrain_keeps_its_bound_in_tls13() {
    refrain(Protocol::Tls1_3);
}

#[test]
fn refrain_keeps_its_bound_in_tls12() {
    refrain(Protocol::Tls1_2);
}

#[test]
fn libssl_keeps_its_bound_in_tls13() {
    own(Protocol::Tls1_3);
}

#[test]
fn libssl_keeps_its_bound_in_tls12() {
    own(Protocol::Tls1_2);
}
