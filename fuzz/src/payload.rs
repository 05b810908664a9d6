//! What an external store hands out, as the adapters and their TLS stacks read it.
//!
//! An honest client's hello, its binder included, is recorded once with the session that it offers. Each input says what
//! the store answers to that hello: that very session, or one that is changed here and there.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use refrain::{CacheMode, Maintenance, ManualClock, Session, SessionCache, Time};

use crate::hostile::answer::{Answer, offered};
use crate::hostile::site::CONTEXT;
use crate::hostile::stack::{NAME, Server, Stack, VERSIONS, Version, visit};

pub(crate) fn over_rustls(data: &[u8]) {
    thread_local!(static SHOP: RefCell<Option<Shop>> = const { RefCell::new(None) });
    SHOP.with_borrow_mut(|shop| {
        shop.get_or_insert_with(|| Shop::new(Stack::Rustls))
            .serve(data);
    });
}

#[cfg(feature = "openssl")]
pub(crate) fn over_libssl(data: &[u8]) {
    thread_local!(static SHOP: RefCell<Option<Shop>> = const { RefCell::new(None) });
    SHOP.with_borrow_mut(|shop| {
        shop.get_or_insert_with(|| Shop::new(Stack::Openssl))
            .serve(data);
    });
}

/// The store may be asked for every hello: so often in a second, if the stack does not show the handshake.
const EXTERNAL: u32 = 100_000;

/// What the store answers.
#[derive(Clone, Default)]
struct Goods {
    payload: Vec<u8>,
    timeout: Option<Duration>,
    not_after: Option<Time>,
    name: Option<String>,
}

/// A hello, and the session that it offers.
struct Offer {
    hello: Vec<u8>,
    id: Vec<u8>,
    payload: Vec<u8>,
}

struct Shop {
    stack: Stack,
    cache: SessionCache,
    server: Box<dyn Server>,
    goods: Arc<Mutex<Goods>>,
    /// Of TLS 1.2, and of TLS 1.3.
    offers: [Offer; 2],
    clock: ManualClock,
}

impl Shop {
    fn new(stack: Stack) -> Self {
        let (clock, goods) = (ManualClock::new(), Arc::<Mutex<Goods>>::default());
        // Not zero, so that a deadline can lie before it.
        clock.advance(Duration::from_secs(1000));
        let made = Arc::<Mutex<Vec<Session>>>::default();
        let (stock, keep) = (Arc::clone(&goods), Arc::clone(&made));
        let cache = SessionCache::builder()
            .capacity(100)
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .mode(CacheMode::SERVER | CacheMode::NO_INTERNAL)
            .on_new(move |session| {
                keep.lock().unwrap().push(session.clone());
                true
            })
            .on_get(move |lookup| {
                let goods = stock.lock().unwrap().clone();
                let mut builder = Session::builder(lookup.context, *lookup.id);
                if let Some(timeout) = goods.timeout {
                    builder = builder.timeout(timeout);
                }
                if let Some(time) = goods.not_after {
                    builder = builder.not_after(time);
                }
                builder
                    .server_name(goods.name.as_deref().unwrap_or(""))
                    .build(&goods.payload)
                    .ok()
            })
            .build()
            .unwrap();
        let server = stack.server(&cache, CONTEXT, EXTERNAL);
        let offers = VERSIONS.map(|version| {
            let client = stack.client(version);
            assert!(!visit(&*client, &*server, |_| ()));
            let hello = client.connect().feed(&[]);
            let id = offered(&hello).expect("the client offers a session");
            let made = std::mem::take(&mut *made.lock().unwrap());
            let session = made.iter().find(|session| session.id() == id);
            let payload = session.expect("it is one of ours").payload().to_vec();
            Offer { hello, id, payload }
        });
        let shop = Self {
            stack,
            cache,
            server,
            goods,
            offers,
            clock,
        };
        // What is not changed resumes, or nothing here would prove anything.
        for version in VERSIONS {
            let goods = Goods {
                payload: shop.offer(version).payload.clone(),
                name: Some(NAME.to_owned()),
                ..Goods::default()
            };
            let case = Case {
                version,
                keeps: false,
                goods,
            };
            assert_eq!(shop.check(&case), Answer::Resumed);
        }
        shop
    }

    fn serve(&self, data: &[u8]) {
        // Bytes that end too early mean nothing.
        if let Ok(case) = self.case(&mut Unstructured::new(data)) {
            self.check(&case);
        }
    }

    fn case(&self, u: &mut Unstructured<'_>) -> Result<Case> {
        let version = *u.choose(&VERSIONS)?;
        let keeps = u.arbitrary()?;
        let name = match u.int_in_range(0..=4)? {
            0 => None,
            1 => Some("other.example".to_owned()),
            2 => Some(NAME.to_uppercase()),
            _ => Some(NAME.to_owned()),
        };
        let timeout = match u.int_in_range(0..=4)? {
            0 => Some(Duration::from_millis(u.arbitrary::<u16>()?.into())),
            1 => Some(Duration::from_secs(u.arbitrary()?)),
            _ => None,
        };
        let not_after = match u.int_in_range(0..=4)? {
            0 => {
                let now = self.cache.now().as_millis();
                Some(Time::from_millis(now - 1000 + u.int_in_range(0..=2000)?))
            }
            1 => Some(Time::from_millis(u.arbitrary()?)),
            _ => None,
        };
        let goods = Goods {
            payload: self.payload(u, version)?,
            timeout,
            not_after,
            name,
        };
        Ok(Case {
            version,
            keeps,
            goods,
        })
    }

    /// A payload: the right one, changed here and there, or bytes that have nothing to do with it.
    fn payload(&self, u: &mut Unstructured<'_>, version: Version) -> Result<Vec<u8>> {
        let source = match u.int_in_range(0..=9)? {
            0 => return Ok(u.bytes(u.len())?.to_vec()),
            // The other version's.
            1 => &self.offers[usize::from(version == Version::Tls12)],
            _ => self.offer(version),
        };
        let mut payload = source.payload.clone();
        for _ in 0..u.int_in_range(0..=4)? {
            // Mostly where versions, lengths and tags are.
            let reach = *u.choose(&[16, 64, payload.len()])?;
            let at = u.choose_index(reach.min(payload.len()).max(1))?;
            match u.int_in_range(0..=4)? {
                0 if at < payload.len() => drop(payload.remove(at)),
                1 => payload.insert(at, u.arbitrary()?),
                2 => payload.truncate(at),
                _ if at < payload.len() => payload[at] = u.arbitrary()?,
                _ => {}
            }
        }
        match u.int_in_range(0..=5)? {
            // Another end of the authentication, or none, or something else that stands behind it.
            0 if payload.len() > 8 => {
                payload.truncate(payload.len() - 8);
                payload.extend(u.arbitrary::<i64>()?.to_be_bytes());
            }
            1 if payload.len() > 8 => payload.truncate(payload.len() - 8),
            2 => payload.extend(u.bytes(u.len().min(20))?),
            _ => {}
        }
        Ok(payload)
    }

    fn offer(&self, version: Version) -> &Offer {
        &self.offers[usize::from(version == Version::Tls13)]
    }

    fn check(&self, case: &Case) -> Answer {
        let mode = if case.keeps {
            CacheMode::SERVER | CacheMode::NO_INTERNAL_LOOKUP
        } else {
            CacheMode::SERVER | CacheMode::NO_INTERNAL
        };
        self.cache.set_mode(mode);
        self.goods.lock().unwrap().clone_from(&case.goods);
        let offer = self.offer(case.version);
        let session_id = match case.version {
            Version::Tls12 => &offer.id[..],
            Version::Tls13 => &[],
        };
        let before = self.cache.stats();
        let mut server = self.server.accept();
        let answer = Answer::read(&server.feed(&offer.hello), session_id);
        let resumed = answer == Answer::Resumed;
        let stored = self.cache.stats().inserted - before.inserted;
        drop(server);

        assert!(stored == 0 || case.keeps && case.version == Version::Tls12);
        if resumed {
            assert!(
                case.may_resume(self.stack, self.cache.now()),
                "{:?}",
                case.version
            );
            #[cfg(feature = "openssl")]
            if self.stack == Stack::Openssl {
                let session = openssl::ssl::SslSession::from_der(&case.goods.payload);
                let session = session.expect("what libssl itself can read");
                assert_eq!(session.id(), offer.id);
            }
        } else if case.goods.payload == offer.payload {
            let may = case.may_resume(self.stack, self.cache.now());
            assert!(
                !may,
                "the very session was refused: {answer:?}, {:?}",
                case.version
            );
        }
        if self.cache.clear() > 0 || self.cache.stats().backlog_bytes > 1 << 16 {
            self.cache.settle();
        }
        let stats = self.cache.stats();
        assert!(stats.is_balanced(), "{stats:#?}");
        assert_eq!(stats.callback_panics, 0);
        self.clock.advance(Duration::from_millis(1));
        answer
    }
}

struct Case {
    version: Version,
    /// Whether the cache may keep what the store has handed out.
    keeps: bool,
    goods: Goods,
}

impl Case {
    /// Whether nothing but the payload speaks against it.
    fn may_resume(&self, stack: Stack, now: Time) -> bool {
        let goods = &self.goods;
        // The adapter for rustls knows no names: those are in rustls's payload.
        let named = stack == Stack::Rustls
            || goods
                .name
                .as_deref()
                .is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        named && goods.timeout != Some(Duration::ZERO) && goods.not_after.is_none_or(|t| now < t)
    }
}
