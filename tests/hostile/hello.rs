//! ClientHellos as no honest client sends them, byte by byte (RFC 8446, section 4.1.2).

use super::stack::{NAME, Version};

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const TLS12: [u8; 2] = [3, 3];
const TLS13: [u8; 2] = [3, 4];
/// The most bytes that a record carries.
const RECORD: usize = 1 << 14;
/// The longest body of a hello that both stacks read: rustls keeps 2^16 - 1 bytes, with the headers of the message and
/// its four records.
const LONGEST: usize = 0xffff - 4 - 4 * 5;
/// The length of an honest client's binder, of SHA-384.
pub(crate) const BINDER: usize = 48;
/// The u-coordinate of X25519's base point: a public key like any other.
const KEY_SHARE: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};

/// Extensions that the cases name.
pub(crate) mod kind {
    pub(crate) const SERVER_NAME: u16 = 0;
    pub(crate) const SUPPORTED_GROUPS: u16 = 10;
    pub(crate) const POINT_FORMATS: u16 = 11;
    pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(crate) const EXTENDED_MASTER_SECRET: u16 = 23;
    pub(crate) const SESSION_TICKET: u16 = 35;
    pub(crate) const PRE_SHARED_KEY: u16 = 41;
    pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
    pub(crate) const PSK_MODES: u16 = 45;
    pub(crate) const KEY_SHARE: u16 = 51;
}

/// A hello that a server would answer, and what a case adds to it.
#[derive(Clone)]
pub(crate) struct Hello {
    random: [u8; 32],
    session_id: Vec<u8>,
    extensions: Vec<(u16, Vec<u8>)>,
    /// The body of the pre-shared keys, which have to come last.
    keys: Option<Vec<u8>>,
}

impl Hello {
    /// One that speaks nothing newer than TLS 1.2.
    pub(crate) fn tls12() -> Self {
        // The second is the certificate's.
        let groups = vector16(&[29u16, 23].map(u16::to_be_bytes).concat());
        let schemes = [0x0403u16, 0x0503, 0x0804, 0x0401]
            .map(u16::to_be_bytes)
            .concat();
        Self {
            random: [0x77; 32],
            session_id: Vec::new(),
            extensions: vec![
                (kind::SERVER_NAME, host(NAME.as_bytes())),
                (kind::SUPPORTED_GROUPS, groups),
                (kind::POINT_FORMATS, vec![1, 0]),
                (kind::SIGNATURE_ALGORITHMS, vector16(&schemes)),
                (kind::EXTENDED_MASTER_SECRET, Vec::new()),
            ],
            keys: None,
        }
    }

    /// One that speaks only TLS 1.3.
    pub(crate) fn tls13() -> Self {
        let share = [&29u16.to_be_bytes()[..], &vector16(&KEY_SHARE)].concat();
        Self::tls12()
            .extension(kind::SUPPORTED_VERSIONS, vector8(&TLS13))
            .extension(kind::PSK_MODES, vec![1, 1])
            .extension(kind::KEY_SHARE, vector16(&share))
    }

    /// As `tls13`, but without a key share: the server has to ask for one by a HelloRetryRequest.
    pub(crate) fn tls13_without_share() -> Self {
        let mut hello = Self::tls13();
        hello.set(kind::KEY_SHARE, vector16(&[]));
        hello
    }

    /// One that speaks what `version` says.
    pub(crate) fn of(version: Version) -> Self {
        match version {
            Version::Tls12 => Self::tls12(),
            Version::Tls13 => Self::tls13(),
        }
    }

    /// One that offers this id as its version does.
    pub(crate) fn offering(version: Version, id: &[u8]) -> Self {
        match version {
            Version::Tls12 => Self::tls12().session_id(id),
            Version::Tls13 => Self::tls13().keys(&[id], 1, BINDER),
        }
    }

    pub(crate) fn random(mut self, random: [u8; 32]) -> Self {
        self.random = random;
        self
    }

    pub(crate) fn session_id(mut self, id: &[u8]) -> Self {
        self.session_id = id.to_vec();
        self
    }

    /// The session id that it offers, be it empty.
    pub(crate) fn offered_id(&self) -> &[u8] {
        &self.session_id
    }

    /// Adds an extension, whatever its body means.
    pub(crate) fn extension(mut self, kind: u16, body: Vec<u8>) -> Self {
        self.extensions.push((kind, body));
        self
    }

    /// Replaces the body of an extension that is there.
    pub(crate) fn set(&mut self, kind: u16, body: Vec<u8>) {
        let found = self.extensions.iter_mut().find(|(known, _)| *known == kind);
        found.expect("the hello has the extension").1 = body;
    }

    /// The kinds of the extensions that it has, but for the pre-shared keys.
    pub(crate) fn kinds(&self) -> Vec<u16> {
        self.extensions.iter().map(|(kind, _)| *kind).collect()
    }

    /// Asks for another server than the honest clients do.
    pub(crate) fn server_name(mut self, name: &[u8]) -> Self {
        self.set(kind::SERVER_NAME, host(name));
        self
    }

    /// Asks for no server by name.
    pub(crate) fn nameless(mut self) -> Self {
        self.extensions
            .retain(|(known, _)| *known != kind::SERVER_NAME);
        self
    }

    /// Offers pre-shared keys, with that many binders of that many bytes.
    pub(crate) fn keys<I: AsRef<[u8]>>(self, ids: &[I], binders: usize, binder: usize) -> Self {
        let mut identities = Vec::new();
        for id in ids {
            identities.extend(vector16(id.as_ref()));
            identities.extend([0; 4]);
        }
        let binders = vector8(&vec![0x5c; binder]).repeat(binders);
        self.raw_keys([vector16(&identities), vector16(&binders)].concat())
    }

    /// Offers as many of the keys as a hello holds, each with a binder of that many bytes; returns how many that is.
    pub(crate) fn many_keys(
        self,
        ids: impl Iterator<Item = Vec<u8>>,
        binder: usize,
    ) -> (Self, usize) {
        // The extension's header, and the lengths of both its vectors.
        let mut room = LONGEST - self.body().len() - (4 + 2 + 2);
        let fits = |id: &Vec<u8>| {
            let taken = 2 + id.len() + 4 + 1 + binder;
            let left = room.checked_sub(taken);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let ids: Vec<_> = ids.take_while(fits).collect();
        (self.keys(&ids, ids.len(), binder), ids.len())
    }

    /// The extension of the pre-shared keys, whatever its body means.
    pub(crate) fn raw_keys(mut self, body: Vec<u8>) -> Self {
        self.keys = Some(body);
        self
    }

    /// The handshake message, without its header.
    pub(crate) fn body(&self) -> Vec<u8> {
        // In the order of honest clients, so that the suite is the one of their sessions.
        let suites = [0x1302u16, 0x1301, 0x1303, 0xc02c, 0xc02b, 0xc030, 0xc02f]
            .map(u16::to_be_bytes)
            .concat();
        let mut extensions = Vec::new();
        let last = self.keys.iter().map(|keys| (&kind::PRE_SHARED_KEY, keys));
        for (kind, body) in self.extensions.iter().map(|(k, b)| (k, b)).chain(last) {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(vector16(body));
        }
        [
            &TLS12[..],
            &self.random,
            &vector8(&self.session_id),
            &vector16(&suites),
            &[1, 0],
            &vector16(&extensions),
        ]
        .concat()
    }

    /// The bytes that a client sends.
    pub(crate) fn records(&self) -> Vec<u8> {
        framed(&self.body())
    }
}

/// The records of a ClientHello with this body.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[CLIENT_HELLO][..], &length[1..], body].concat();
    let mut records = Vec::new();
    for fragment in message.chunks(RECORD) {
        records.extend([HANDSHAKE, 3, 1]);
        records.extend(vector16(fragment));
    }
    records
}

/// The body of a server name extension that asks for one host.
pub(crate) fn host(name: &[u8]) -> Vec<u8> {
    vector16(&[&[0][..], &vector16(name)].concat())
}

pub(crate) fn vector8(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("it fits");
    [&[length][..], bytes].concat()
}

pub(crate) fn vector16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("it fits");
    [&length.to_be_bytes()[..], bytes].concat()
}
