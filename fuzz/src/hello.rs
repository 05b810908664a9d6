//! ClientHellos to a server on a cache that honest clients use, too.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use arbitrary::{Result, Unstructured};
use refrain::{SessionCache, SessionId};

use crate::hostile::answer::Answer;
use crate::hostile::hello::{BINDER, Hello, framed, kind};
use crate::hostile::site::{EXTERNAL, Site};
use crate::hostile::stack::{Client, NAME, Stack, VERSIONS, Version};

/// After so many inputs the honest clients come, whatever happened.
const OFTEN: u64 = 256;
/// After so many, each of which takes a second of the cache's time, they come anew, before their sessions expire.
const ANEW: u64 = 4096;

pub(crate) fn over_rustls(data: &[u8]) {
    thread_local!(static VICTIM: RefCell<Option<Victim>> = const { RefCell::new(None) });
    VICTIM.with_borrow_mut(|victim| {
        victim
            .get_or_insert_with(|| Victim::new(Stack::Rustls))
            .attack(data);
    });
}

#[cfg(feature = "openssl")]
pub(crate) fn over_libssl(data: &[u8]) {
    thread_local!(static VICTIM: RefCell<Option<Victim>> = const { RefCell::new(None) });
    VICTIM.with_borrow_mut(|victim| {
        victim
            .get_or_insert_with(|| Victim::new(Stack::Openssl))
            .attack(data);
    });
}

/// A site, a regular of each version, and the ids of all sessions that they have been given.
struct Victim {
    site: Site,
    clients: [Box<dyn Client>; 2],
    ids: Arc<Mutex<Vec<SessionId>>>,
    attacks: u64,
}

impl Victim {
    fn new(stack: Stack) -> Self {
        let ids = Arc::<Mutex<Vec<SessionId>>>::default();
        let note = Arc::clone(&ids);
        let builder = SessionCache::builder()
            .capacity(1000)
            .on_new(move |session| {
                note.lock().unwrap().push(session.session_id());
                true
            });
        let site = Site::with(stack, builder);
        let clients = VERSIONS.map(|version| site.regular(version));
        Self {
            site,
            clients,
            ids,
            attacks: 0,
        }
    }

    fn attack(&mut self, data: &[u8]) {
        let known = self.ids.lock().unwrap().clone();
        let mut u = Unstructured::new(data);
        // Bytes that end too early are no attack.
        let Ok(flights) = flights(&mut u, &known) else {
            return;
        };
        let before = self.site.tally();
        let mut server = self.site.server.accept();
        let first = server.feed(&flights.first);
        let mut answers = vec![Answer::read(&first, &flights.session_id)];
        if !flights.second.is_empty() {
            server.feed(&flights.second);
            answers.push(Answer::Nothing);
        }
        assert!(!server.is_connected(), "a handshake without any key");
        drop(server);
        let after = self.site.tally();

        assert!(
            after.gets - before.gets <= u64::from(EXTERNAL),
            "{answers:?}"
        );
        let changes = after.changes - before.changes;
        let sent = [&flights.first[..], &flights.second].concat();
        let named = known
            .iter()
            .filter(|id| contains(&sent, id.as_bytes()))
            .count() as u64;
        assert!(
            changes <= named,
            "{changes} changes by {named} known ids: {answers:?}"
        );
        if answers[0] == Answer::Resumed {
            assert!(named > 0, "a session out of nothing");
            assert!(!flights.is_tls13, "a binder that nobody could make");
        }
        // What is bounded by the second begins anew.
        self.site.next_second();

        self.attacks += 1;
        if changes > 0 || self.attacks % OFTEN == 0 {
            self.honest(changes == 0, changes > 0 || self.attacks % ANEW == 0);
        }
    }

    /// The honest clients come: they are served, and resume if nobody has used up their sessions.
    fn honest(&mut self, unharmed: bool, anew: bool) {
        // Those of their former sessions are not offered any more.
        self.ids.lock().unwrap().clear();
        for (client, version) in self.clients.iter_mut().zip(VERSIONS) {
            let resumed = self.site.visit(&**client);
            assert!(resumed || !unharmed, "{version:?}");
            if anew {
                // One whose sessions are all good, and whose ids are all known.
                *client = self.site.client(version);
                assert!(!self.site.visit(&**client));
            }
        }
        self.site.rig.cache.settle();
        let stats = self.site.rig.cache.stats();
        crate::common::assert_settled(&stats);
        drop(self.site.log().drain());
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What an attacker sends.
struct Flights {
    first: Vec<u8>,
    second: Vec<u8>,
    session_id: Vec<u8>,
    is_tls13: bool,
}

fn flights(u: &mut Unstructured<'_>, known: &[SessionId]) -> Result<Flights> {
    let is_tls13 = u.arbitrary()?;
    let mut made = Flights {
        first: Vec::new(),
        second: Vec::new(),
        session_id: Vec::new(),
        is_tls13,
    };
    match u.int_in_range(0..=9)? {
        // Anything at all, and anything in a ClientHello's frame.
        0 => made.first = bytes(u)?,
        1 => made.first = framed(&bytes(u)?),
        _ => {
            let hello = hello(u, is_tls13, known)?;
            made.session_id = hello.offered_id().to_vec();
            made.first = records(u, &hello)?;
            if u.ratio(1, 4)? {
                // After a HelloRetryRequest, or out of place.
                let again = self::hello(u, is_tls13, known)?;
                made.second = records(u, &again)?;
            }
        }
    }
    Ok(made)
}

/// A hello's records, with a few bytes changed, or cut off.
fn records(u: &mut Unstructured<'_>, hello: &Hello) -> Result<Vec<u8>> {
    let mut body = hello.body();
    let edits = if u.ratio(1, 3)? {
        u.int_in_range(1..=6)?
    } else {
        0
    };
    for _ in 0..edits {
        let at = u.choose_index(body.len())?;
        body[at] = u.arbitrary()?;
    }
    if u.ratio(1, 10)? {
        body.truncate(u.choose_index(body.len())?);
    }
    Ok(framed(&body))
}

fn hello(u: &mut Unstructured<'_>, is_tls13: bool, known: &[SessionId]) -> Result<Hello> {
    let mut hello = match is_tls13 {
        true if u.ratio(1, 4)? => Hello::tls13_without_share(),
        true => Hello::of(Version::Tls13),
        false => Hello::of(Version::Tls12),
    };
    hello = hello.random(u.arbitrary()?);
    if u.arbitrary()? {
        let mut id = id(u, known)?;
        id.truncate(u8::MAX.into());
        hello = hello.session_id(&id);
    }
    hello = match u.int_in_range(0..=5)? {
        0 => hello.nameless(),
        1 => hello.server_name(&bytes(u)?),
        2 => hello.server_name(NAME.to_uppercase().as_bytes()),
        3 => {
            hello.set(kind::SERVER_NAME, bytes(u)?);
            hello
        }
        _ => hello,
    };
    for _ in 0..u.int_in_range(0..=3)? {
        let (kind, body) = (extension(u)?, bytes(u)?);
        if hello.kinds().contains(&kind) && u.ratio(3, 4)? {
            hello.set(kind, body);
        } else {
            hello = hello.extension(kind, body);
        }
    }
    match u.int_in_range(0..=3)? {
        0 => {
            let ids = (0..u.int_in_range(0..=8)?)
                .map(|_| id(u, known))
                .collect::<Result<Vec<_>>>()?;
            let binders = if u.ratio(1, 4)? {
                u.int_in_range(0..=8)?
            } else {
                ids.len()
            };
            let binder = *u.choose(&[BINDER, 32, 0, 255])?;
            hello = hello.keys(&ids, binders, binder);
        }
        1 => hello = hello.raw_keys(bytes(u)?),
        _ => {}
    }
    Ok(hello)
}

fn id(u: &mut Unstructured<'_>, known: &[SessionId]) -> Result<Vec<u8>> {
    match u.int_in_range(0..=3)? {
        0 if !known.is_empty() => Ok(u.choose(known)?.as_bytes().to_vec()),
        1 => Ok(u.arbitrary::<[u8; 32]>()?.to_vec()),
        2 => Ok(vec![u.arbitrary()?; u.int_in_range(0..=400)?]),
        _ => bytes(u),
    }
}

/// Early data's too, and the cookie's.
fn extension(u: &mut Unstructured<'_>) -> Result<u16> {
    const MORE: [u16; 6] = [5, 16, 42, 44, 49, 0xff01];
    let known = [
        kind::SERVER_NAME,
        kind::SUPPORTED_GROUPS,
        kind::POINT_FORMATS,
        kind::SIGNATURE_ALGORITHMS,
        kind::EXTENDED_MASTER_SECRET,
        kind::SESSION_TICKET,
        kind::PRE_SHARED_KEY,
        kind::SUPPORTED_VERSIONS,
        kind::PSK_MODES,
        kind::KEY_SHARE,
    ];
    match u.int_in_range(0..=3)? {
        0 => u.arbitrary(),
        1 => Ok(*u.choose(&MORE)?),
        _ => Ok(*u.choose(&known)?),
    }
}

/// Up to 1000 bytes, so that a hello's vectors can hold them all.
fn bytes(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = u.arbitrary_len::<u8>()?.min(1000);
    Ok(u.bytes(length)?.to_vec())
}
