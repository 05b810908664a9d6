//! What can be read of a session, and of a ClientHello, without libssl.

use std::ffi::c_uint;
use std::ops::Range;

use openssl::ssl::SslRef;
use openssl_sys as sys;

use super::ffi;
use crate::adapter::wipe;

use foreign_types::ForeignTypeRef;

/// What the cache has to know of the bytes that it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary<'a> {
    /// The protocol version, such as 0x0303 for TLS 1.2.
    pub(crate) version: i64,
    /// The cipher suite.
    pub(crate) cipher: &'a [u8],
    /// The id.
    pub(crate) id: &'a [u8],
    /// When it was made, in seconds since 1970, if it says so.
    pub(crate) time: Option<i64>,
    /// How long it lives from then on, in seconds.
    pub(crate) timeout: Option<i64>,
    /// When the authentication behind it ends, in seconds since 1970, if that stands behind the DER.
    pub(crate) until: Option<i64>,
    /// Where in the payload its secret stands.
    pub(crate) secret: Range<usize>,
}

/// How many bytes of a payload stand behind the DER: the end of the authentication, which has to get through an external
/// store, and for which DER has no field. libssl does not read them.
const TRAILER: usize = 8;

/// The payload: DER, and the end of the authentication.
pub(crate) fn seal(mut der: Vec<u8>, until: i64) -> Vec<u8> {
    // In one piece: growing it would leave a copy behind.
    let mut payload = Vec::with_capacity(der.len() + TRAILER);
    payload.extend_from_slice(&der);
    payload.extend_from_slice(&until.to_be_bytes());
    wipe(&mut der);
    payload
}

impl<'a> Summary<'a> {
    /// Reads the beginning of an `SSLSession`, as `i2d_SSL_SESSION` writes it: version, cipher, id and key, then tagged
    /// fields in ascending order; and what stands behind it. `None` if it is not one.
    pub(crate) fn read(payload: &'a [u8]) -> Option<Self> {
        let (0x30, mut rest, trailer) = element(payload)? else {
            return None;
        };
        // Where the last element ends from which `rest` is left.
        let end = |rest: &[u8]| payload.len() - trailer.len() - rest.len();
        let mut summary = Self {
            until: trailer.try_into().ok().map(i64::from_be_bytes),
            ..Self::default()
        };
        for (place, kind) in [0x02, 0x02, 0x04, 0x04, 0x04].into_iter().enumerate() {
            let (tag, value, after) = element(rest)?;
            if tag != kind {
                return None;
            }
            match place {
                1 => summary.version = integer(value)?,
                2 => summary.cipher = value,
                3 => summary.id = value,
                4 => summary.secret = end(after) - value.len()..end(after),
                _ => {}
            }
            rest = after;
        }
        while !rest.is_empty() {
            let (tag, value, after) = element(rest)?;
            let number = || match element(value) {
                Some((0x02, number, _)) => integer(number),
                _ => None,
            };
            match tag {
                0xa1 => summary.time = Some(number()?),
                0xa2 => summary.timeout = Some(number()?),
                _ => {}
            }
            rest = after;
        }
        Some(summary)
    }

    /// Whether libssl would call it expired at `now`, in seconds since 1970.
    pub(crate) fn is_expired(&self, now: i64) -> bool {
        match (self.time, self.timeout) {
            // libssl takes what is absent for "now" and "three seconds".
            (None, _) => false,
            (Some(time), timeout) => now > time.saturating_add(timeout.unwrap_or(3)),
        }
    }

    /// How many seconds it has left at `now`, by its own account.
    pub(crate) fn left(&self, now: i64) -> Option<i64> {
        let end = self.time?.saturating_add(self.timeout.unwrap_or(3));
        Some(end.saturating_sub(now).max(0))
    }

    /// Whether it can be resumed with this cipher suite of TLS 1.3: with the same hash. Of those suites, one has SHA-384.
    pub(crate) fn hashes_as(&self, suite: u16) -> bool {
        const AES_256_GCM_SHA384: u16 = 0x1302;
        let own = self.cipher.try_into().map(u16::from_be_bytes);
        own.is_ok_and(|own| (own == AES_256_GCM_SHA384) == (suite == AES_256_GCM_SHA384))
    }
}

/// A payload with zeros in the place of its secret, and the secret.
pub(crate) fn part(payload: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Range { start, end } = Summary::read(payload)?.secret;
    let mut rest = vec![0; payload.len()];
    rest[..start].copy_from_slice(&payload[..start]);
    rest[end..].copy_from_slice(&payload[end..]);
    Some((rest, &payload[start..end]))
}

/// The first element: its tag, its value, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, len, rest @ ..] = der else {
        return None;
    };
    let (len, rest) = match *len {
        len @ 0..=0x7f => (usize::from(len), rest),
        long @ 0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let len = len
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            (len, rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(len)?;
    Some((*tag, value, rest))
}

/// A two's complement number of up to eight bytes; none at all is zero.
fn integer(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    Some(
        bytes
            .iter()
            .fold(start, |number, byte| number << 8 | i64::from(*byte)),
    )
}

/// The server name that the ClientHello asks for, which is being processed right now: libssl itself has not read it when
/// it looks for a session. An error if it can't be read, in which case no session should be found.
pub(super) fn requested_name(ssl: &mut SslRef) -> Result<Option<String>, Unreadable> {
    match extension(ssl, ffi::SERVER_NAME) {
        Some(extension) => host_name(extension).map(Some).ok_or(Unreadable),
        None => Ok(None),
    }
}

/// Whether the ClientHello that is being processed announces early data.
pub(super) fn has_early_data(ssl: &mut SslRef) -> bool {
    extension(ssl, ffi::EARLY_DATA).is_some()
}

/// An extension of the ClientHello that is being processed.
fn extension(ssl: &mut SslRef, kind: c_uint) -> Option<&[u8]> {
    let mut data = std::ptr::null();
    let mut len = 0;
    // SAFETY: libssl lends the bytes until it has processed the hello, which waits for its callback to return; the borrow
    // of the `SSL` keeps them no longer.
    unsafe {
        match ffi::SSL_client_hello_get0_ext(ssl.as_ptr(), kind, &mut data, &mut len) {
            1 if len == 0 => Some(&[]),
            1 if !data.is_null() => Some(std::slice::from_raw_parts(data, len)),
            _ => None,
        }
    }
}

/// The extension is not a list of one host name.
pub(super) struct Unreadable;

/// The one name in a server name extension.
pub(crate) fn host_name(extension: &[u8]) -> Option<String> {
    let (list, []) = vector(extension)? else {
        return None;
    };
    let [0, name @ ..] = list else {
        return None;
    };
    let (name, []) = vector(name)? else {
        return None;
    };
    if name.is_empty() || name.contains(&0) {
        return None;
    }
    std::str::from_utf8(name).ok().map(str::to_owned)
}

/// The bytes behind a length of two bytes, and what comes after them.
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// The cipher suite that a handshake of TLS 1.3 has settled on, before it looks for a session.
pub(super) fn suite(ssl: &SslRef) -> Option<u16> {
    // SAFETY: a live `SSL`, and one of libssl's own ciphers.
    unsafe {
        let cipher = ffi::SSL_get_pending_cipher(ssl.as_ptr());
        (!cipher.is_null()).then(|| ffi::SSL_CIPHER_get_protocol_id(cipher))
    }
}

/// The version that the handshake has settled on.
pub(super) fn version(ssl: &SslRef) -> i64 {
    // SAFETY: a live `SSL`.
    i64::from(unsafe { sys::SSL_version(ssl.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of TLS 1.2 with fields 1, 2 and 4.
    const SESSION: &[u8] = &[
        0x30, 0x20, 2, 1, 1, 2, 2, 3, 3, 4, 2, 0xc0, 0x2f, 4, 1, 7, 4, 1, 9, 0xa1, 3, 2, 1, 100,
        0xa2, 4, 2, 2, 0x0e, 0x10, 0xa4, 2, 4, 0,
    ];

    #[test]
    fn a_session_is_summed_up() {
        let summary = Summary::read(SESSION).unwrap();
        let expected = Summary {
            version: 0x0303,
            cipher: &[0xc0, 0x2f],
            id: &[7],
            time: Some(100),
            timeout: Some(3600),
            until: None,
            secret: 18..19,
        };
        assert_eq!(summary, expected);
        assert!(!summary.is_expired(3700));
        assert!(summary.is_expired(3701));
        assert_eq!(
            (summary.left(3000), summary.left(9000)),
            (Some(700), Some(0))
        );
        assert_eq!(
            (summary.hashes_as(0x1301), summary.hashes_as(0x1302)),
            (true, false)
        );
    }

    #[test]
    fn the_end_of_the_authentication_stands_behind_it() {
        let payload = seal(SESSION.to_vec(), 1 << 33);
        assert_eq!(Summary::read(&payload).unwrap().until, Some(1 << 33));
        assert_eq!(Summary::read(&payload[1..]), None);
        assert_eq!(
            Summary::read(&payload[..payload.len() - 1]).unwrap().until,
            None
        );
    }

    #[test]
    fn the_secret_is_taken_out() {
        let payload = seal(SESSION.to_vec(), 7);
        let (rest, secret) = part(&payload).unwrap();
        assert_eq!(secret, [9]);
        let mut together = rest;
        assert_eq!(together[18], 0);
        together[18] = 9;
        assert_eq!(together, payload);
        assert_eq!(part(&payload[1..]), None);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_session() {
        for len in 0..SESSION.len() {
            assert_eq!(Summary::read(&SESSION[..len]), None, "{len} bytes");
        }
        for (place, byte) in [(0, 0x31), (1, 0x80), (1, 0x84), (2, 4), (9, 2)] {
            let mut broken = SESSION.to_vec();
            broken[place] = byte;
            assert_eq!(Summary::read(&broken), None, "byte {place}");
        }
    }

    #[test]
    fn what_is_absent_is_the_present_and_three_seconds() {
        let (no_timeout, no_time) = (
            [&SESSION[..24], &SESSION[30..]].concat(),
            [&SESSION[..19], &SESSION[24..]].concat(),
        );
        let read = |mut der: Vec<u8>| {
            der[1] = (der.len() - 2) as u8;
            let summary = Summary::read(&der).unwrap();
            (
                summary.time,
                summary.timeout,
                summary.is_expired(103),
                summary.is_expired(104),
                summary.left(101),
            )
        };
        assert_eq!(read(no_timeout), (Some(100), None, false, true, Some(2)));
        assert_eq!(read(no_time), (None, Some(3600), false, false, None));
    }

    /// Its tagged fields were taken for absent, though libssl reads them.
    #[test]
    fn a_field_that_cannot_be_read_is_not_an_absent_one() {
        let at = SESSION.len() - 4;
        for field in [
            &[0xa2, 0x84, 0, 0, 0, 1, 0][..],
            &[0xa2, 0x80],
            &[0xa2, 5, 0],
            &[0xa2],
        ] {
            let mut broken = [&SESSION[..at], field].concat();
            broken[1] = (broken.len() - 2) as u8;
            assert_eq!(Summary::read(&broken), None, "{field:?}");
        }
    }

    #[test]
    fn long_lengths_and_negative_numbers() {
        let mut long = vec![4, 0x82, 1, 0];
        long.extend([5; 256]);
        let (tag, value, rest) = element(&long).unwrap();
        assert_eq!((tag, value.len(), rest.len()), (4, 256, 0));
        assert_eq!(integer(&[0xff]), Some(-1));
        assert_eq!(integer(&[0, 0xff]), Some(255));
        assert_eq!(integer(&[]), Some(0));
        assert_eq!(integer(&i64::MAX.to_be_bytes()), Some(i64::MAX));
        assert_eq!(integer(&i64::MIN.to_be_bytes()), Some(i64::MIN));
        assert_eq!(integer(&[0x81, 0x23, 0x45]), Some(-0x7e_dcbb));
        assert_eq!(integer(&[0; 9]), None);
    }

    #[test]
    fn only_a_list_of_one_host_name_is_a_name() {
        let name = |bytes: &[u8]| host_name(bytes);
        assert_eq!(name(&[0, 4, 0, 0, 1, b'a']).as_deref(), Some("a"));
        for bad in [
            &[][..],
            &[0, 0],
            &[0, 3, 0, 0, 0],
            &[0, 4, 1, 0, 1, b'a'],
            &[0, 4, 0, 0, 2, b'a'],
            &[0, 4, 0, 0, 1, 0],
            &[0, 4, 0, 0, 1, 0xff],
            &[0, 4, 0, 0, 1, b'a', 0],
            &[0, 8, 0, 0, 1, b'a', 0, 0, 1, b'b'],
        ] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }
}
