//! Sealed records: what a store is given, so that it learns and can change nothing.
//!
//! ```text
//! version 1 | key id 4 | nonce 24 | expiry 8 || sealed: created 8, not after 8, tag 8, host's epoch 8, name length 1,
//!                                               host length 1, payload length 4, name, host, payload, zeros || authentication tag 16
//! ```
//!
//! The whole is a multiple of 64 bytes long, so that the length tells little. What stands before the sealed part is
//! authenticated with it, and so is everything that says whose record it is: the context, the epochs, the class, the id.

use std::time::Duration;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{Tag, XNonce};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::id::ContextId;

use super::keys::{Keys, NONCE};
use super::name::{Class, Epoch, Name, Wall};

/// The form of these records.
const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const HEADER: usize = 1 + KEY_ID + NONCE + 8;
const FIXED: usize = 8 + 8 + 8 + 8 + 1 + 1 + 4;
const TAG: usize = 16;
/// Records are padded to multiples of this.
const PAD: usize = 64;
/// Clocks of two servers may be this far apart.
const SKEW: u64 = 60_000;
/// A longer record is none of ours.
const LONGEST: usize = 32 << 20;

/// A session's contents, as they go in.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) created: Wall,
    pub(crate) expires: Wall,
    /// When the authentication ends.
    pub(crate) not_after: Wall,
    pub(crate) tag: u64,
    /// A second context that has a say in it, and how often that was invalidated. Its tag is this process's own affair.
    pub(crate) host: Option<(ContextId, u64)>,
    pub(crate) server_name: &'a str,
    pub(crate) payload: &'a [u8],
}

/// A record that was opened. Wiped when it is dropped.
pub(crate) struct Opened {
    pub(crate) expires: Wall,
    pub(crate) not_after: Wall,
    pub(crate) tag: u64,
    pub(crate) host: Option<(ContextId, u64)>,
    name: std::ops::Range<usize>,
    payload: std::ops::Range<usize>,
    plain: Zeroizing<Vec<u8>>,
}

/// Why a record was not opened. All of these are misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Of another form, another key, or none at all: not ours.
    Foreign,
    /// Changed, cut short, or the record of another id, context, class or epoch.
    Forged,
    /// Its time is over.
    Expired,
    /// It was made more than a minute from now.
    Future,
}

impl Opened {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.plain[self.payload.clone()]
    }

    pub(crate) fn server_name(&self) -> &str {
        std::str::from_utf8(&self.plain[self.name.clone()]).unwrap_or_default()
    }
}

/// What is left of a time; at most what a duration can be compared with.
pub(crate) fn left(until: Wall, now: Wall) -> Duration {
    Duration::from_millis(until.saturating_sub(now))
}

/// Seals a session for its name.
pub(crate) fn seal(
    keys: &Keys,
    name: &Name,
    class: Class,
    epoch: Epoch,
    content: &Content<'_>,
) -> Result<Vec<u8>, Error> {
    let server_name = content.server_name.as_bytes();
    let host = content
        .host
        .as_ref()
        .map_or(&[][..], |(id, _)| id.as_bytes());
    let len = HEADER + FIXED + server_name.len() + host.len() + content.payload.len() + TAG;
    let padded = len.next_multiple_of(PAD);
    let (key_id, cipher) = keys.current();
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
    let mut record = Vec::with_capacity(padded);
    record.push(VERSION);
    record.extend_from_slice(&key_id);
    record.extend_from_slice(&nonce);
    record.extend_from_slice(&content.expires.to_le_bytes());
    let data = associated(&record, name, class, epoch);
    // The plain text never leaves this buffer: it is sealed where it stands.
    record.extend_from_slice(&content.created.to_le_bytes());
    record.extend_from_slice(&content.not_after.to_le_bytes());
    record.extend_from_slice(&content.tag.to_le_bytes());
    record.extend_from_slice(&content.host.map_or(0, |(_, epoch)| epoch).to_le_bytes());
    record.push(
        u8::try_from(server_name.len()).map_err(|_| Error::ServerNameLength {
            len: server_name.len(),
        })?,
    );
    record.push(host.len() as u8);
    record.extend_from_slice(&(content.payload.len() as u32).to_le_bytes());
    record.extend_from_slice(server_name);
    record.extend_from_slice(host);
    record.extend_from_slice(content.payload);
    record.resize(padded - TAG, 0);
    let sealed =
        cipher.encrypt_in_place_detached(XNonce::from_slice(&nonce), &data, &mut record[HEADER..]);
    let Ok(tag) = sealed else {
        zeroize::Zeroize::zeroize(&mut record);
        return Err(Error::PayloadLength {
            len: content.payload.len(),
            max: LONGEST,
        });
    };
    record.extend_from_slice(&tag);
    Ok(record)
}

/// Opens a record that was asked for by this name.
pub(crate) fn open(
    keys: &Keys,
    name: &Name,
    class: Class,
    epoch: Epoch,
    now: Wall,
    record: &[u8],
) -> Result<Opened, Refused> {
    let shortest = HEADER + FIXED + TAG;
    let ours = record.len() >= shortest && record.len() <= LONGEST && record[0] == VERSION;
    if !ours {
        return Err(Refused::Foreign);
    }
    let (header, rest) = record.split_at(HEADER);
    let (sealed, tag) = rest.split_at(rest.len() - TAG);
    let (key_id, rest) = header[1..].split_at(KEY_ID);
    let (nonce, expires) = rest.split_at(NONCE);
    let cipher = keys.find(key_id).ok_or(Refused::Foreign)?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    cipher
        .decrypt_in_place_detached(
            XNonce::from_slice(nonce),
            &associated(header, name, class, epoch),
            &mut plain,
            Tag::from_slice(tag),
        )
        .map_err(|_| Refused::Forged)?;
    let expires = number(expires);
    let server_name = FIXED..FIXED + usize::from(plain[32]);
    let host = server_name.end..server_name.end + usize::from(plain[33]);
    let payload_len = u32::from_le_bytes([plain[34], plain[35], plain[36], plain[37]]) as usize;
    let payload = host.end..host.end.saturating_add(payload_len);
    // Whoever has the key is believed, but not with our memory.
    let sound =
        payload.end <= plain.len() && std::str::from_utf8(&plain[server_name.clone()]).is_ok();
    if !sound {
        return Err(Refused::Forged);
    }
    let [created, not_after, tag, epoch] =
        [0, 8, 16, 24].map(|from| number(&plain[from..from + 8]));
    let host = ContextId::new(&plain[host]).ok().map(|id| (id, epoch));
    if now >= expires || now >= not_after {
        return Err(Refused::Expired);
    }
    if created > now.saturating_add(SKEW) {
        return Err(Refused::Future);
    }
    Ok(Opened {
        expires,
        not_after,
        tag,
        host,
        name: server_name,
        payload,
        plain,
    })
}

/// What is authenticated besides the contents.
fn associated(header: &[u8], name: &Name, class: Class, epoch: Epoch) -> Vec<u8> {
    let mut data = Vec::with_capacity(HEADER + 96);
    data.extend_from_slice(header);
    name.write(class, epoch, &mut data);
    data
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests;
