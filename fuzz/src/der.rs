//! What the adapter reads of a session by itself, beside what libssl reads; and the server name that a hello asks for.
//!
//! The reader looks at payloads that an external store hands out, before libssl does. What it says of one decides whether
//! libssl gets it at all: so for whatever both can read, both must read the same.

use arbitrary::{Result, Unstructured};
use openssl::ssl::{SslSession, SslSessionRef};
use refrain::inside::der::{self, Summary};

/// Seconds since 1970, for what depends on the moment.
const NOW: i64 = 1_700_000_000;

pub(crate) fn run(data: &[u8]) {
    prove();
    // Bytes that end too early are no case.
    let _ = case(&mut Unstructured::new(data));
}

/// Once: a session like those of libssl must be read by both, or nothing here would prove anything.
fn prove() {
    static PROVED: std::sync::Once = std::sync::Once::new();
    PROVED.call_once(|| {
        let parts: [&[u8]; 7] = [
            &[0x30, 0x78, 2, 1, 1, 2, 2, 3, 3, 4, 2, 0xc0, 0x2f, 4, 32],
            &[7; 32],
            &[4, 48],
            &[9; 48],
            &[0xa1, 6, 2, 4, 0x65, 0x53, 0xf1, 0],
            &[0xa2, 4, 2, 2, 0x0e, 0x10],
            &[0xa4, 9, 4, 7, b'c', b'o', b'n', b't', b'e', b'x', b't'],
        ];
        let payload = parts.concat();
        let summary = der::read(&payload, NOW).expect("a session");
        let session = SslSession::from_der(&payload).expect("a session of libssl's");
        check_same(&summary, &session);
    });
}

fn case(u: &mut Unstructured<'_>) -> Result<()> {
    if u.ratio(1, 4)? {
        let extension = extension(u)?;
        crate::trace(&extension);
        check_name(&extension);
        return Ok(());
    }
    let mut payload = match u.ratio(1, 8)? {
        true => u.bytes(u.len())?.to_vec(),
        false => session(u)?,
    };
    edit(u, &mut payload)?;
    crate::trace(&payload);
    check_session(&payload, u.arbitrary()?);
    Ok(())
}

/// A session's fields in the order of libssl, now and then with something else among them.
fn session(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    put(u, &mut body, 0x02, &[1])?;
    let version = *u.choose(&[[3, 3], [3, 3], [3, 4], [3, 1], [0xfe, 0xfd]])?;
    put(u, &mut body, 0x02, &version)?;
    let cipher = *u.choose(&[[0xc0, 0x2f], [0xc0, 0x30], [0x13, 1], [0x13, 2], [0, 0x2f]])?;
    put(u, &mut body, 0x04, &cipher)?;
    let id = u.bytes(u.len().min(32))?.to_vec();
    put(u, &mut body, 0x04, &id)?;
    let key = vec![9; *u.choose(&[48, 48, 32, 0, 256])?];
    put(u, &mut body, 0x04, &key)?;
    for tag in 0xa0..=0xae {
        if u.ratio(1, 3)? {
            continue;
        }
        let mut value = Vec::new();
        match tag {
            // Times and other numbers.
            0xa1 | 0xa2 | 0xa5 | 0xa9 | 0xad => {
                let number = number(u)?;
                put(u, &mut value, 0x02, &number)?;
            }
            _ => {
                let bytes = u.bytes(u.len().min(20))?.to_vec();
                put(u, &mut value, 0x04, &bytes)?;
            }
        }
        let tag = if u.ratio(1, 30)? { u.arbitrary()? } else { tag };
        put(u, &mut body, tag, &value)?;
    }
    let mut der = Vec::new();
    put(u, &mut der, 0x30, &body)?;
    Ok(der)
}

/// A number as DER has it, or of any length.
fn number(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1, 8)? {
        return Ok(u.bytes(u.len().min(10))?.to_vec());
    }
    let number = match u.int_in_range(0..=3)? {
        0 => NOW - i64::from(u.arbitrary::<u16>()?),
        1 => i64::from(u.arbitrary::<i16>()?),
        2 => i64::from(u.arbitrary::<i32>()?),
        _ => u.arbitrary()?,
    };
    let bytes = number.to_be_bytes();
    // Without the bytes that only repeat the sign.
    let spare = (0..7).take_while(|&at| (number << (8 * at)) >> 55 == number >> 63);
    Ok(bytes[spare.count()..].to_vec())
}

/// An element, mostly with its length in the shortest form.
fn put(u: &mut Unstructured<'_>, out: &mut Vec<u8>, tag: u8, value: &[u8]) -> Result<()> {
    out.push(tag);
    let len = value.len() as u32;
    let shortest = match len {
        0..=0x7f => 0,
        0x80..=0xff => 1,
        _ => 2,
    };
    let bytes = match u.ratio(1, 40)? {
        true => u.int_in_range(0..=5)?,
        false => shortest,
    };
    if bytes == 0 {
        out.push(len as u8);
    } else {
        out.push(0x80 | bytes as u8);
        let padded = [&[0; 4][..], &len.to_be_bytes()].concat();
        out.extend(&padded[8 - bytes..]);
    }
    out.extend(value);
    Ok(())
}

fn edit(u: &mut Unstructured<'_>, payload: &mut Vec<u8>) -> Result<()> {
    for _ in 0..u.int_in_range(0..=12_u8)?.saturating_sub(9) {
        if payload.is_empty() {
            break;
        }
        let at = u.choose_index(payload.len())?;
        match u.int_in_range(0..=3)? {
            0 => drop(payload.remove(at)),
            1 => payload.insert(at, u.arbitrary()?),
            2 => payload.truncate(at),
            _ => payload[at] = u.arbitrary()?,
        }
    }
    Ok(())
}

fn check_session(payload: &[u8], until: i64) {
    let summary = der::read(payload, NOW);
    // The end of the authentication is eight bytes behind the DER, and nothing else is.
    if let Some(whole) = element(payload) {
        let bare = der::read(&payload[..whole], NOW);
        let trailer = payload[whole..].try_into().ok().map(i64::from_be_bytes);
        let with = |until, behind: &[u8]| {
            bare.as_ref().map(|bare| Summary {
                until,
                rest: [&bare.rest, behind].concat(),
                ..bare.clone()
            })
        };
        assert_eq!(summary, with(trailer, &payload[whole..]));
        let sealed = der::seal(payload[..whole].to_vec(), until);
        assert_eq!(
            der::read(&sealed, NOW),
            with(Some(until), &until.to_be_bytes())
        );
    } else {
        assert_eq!(summary, None);
    }
    let Some(summary) = summary else {
        return;
    };
    check_times(&summary);
    let Ok(session) = SslSession::from_der(payload) else {
        return;
    };
    check_same(&summary, &session);
}

/// Whatever libssl would resume is what the cache took it for.
fn check_same(summary: &Summary, session: &SslSessionRef) {
    let canonical = session.to_der().expect("it was read a moment ago");
    let canonical = der::read(&canonical, NOW).expect("libssl's own encoding can be read");
    assert_eq!(summary.version, canonical.version);
    assert_eq!(summary.cipher, canonical.cipher);
    assert_eq!(summary.id, session.id());
    assert_eq!(summary.id, canonical.id);
    // Zeros are to libssl what is absent: the present, and three seconds.
    if let Some(time) = summary.time.filter(|&time| time != 0) {
        assert_eq!((time, canonical.time), (session.time(), Some(time)));
    }
    let timeout = summary.timeout.filter(|&timeout| timeout != 0);
    assert_eq!(timeout.unwrap_or(3), session.timeout());
    // What is decoded without its secret, and gets it afterwards, is the same session.
    assert_eq!(summary.secret, master_key(session));
    let zeros = vec![0; summary.secret.len()];
    let without =
        SslSession::from_der(&summary.rest).expect("with the secret it was read a moment ago");
    assert_eq!(master_key(&without), zeros);
    assert_eq!(
        without.to_der().map(|der| der.len()).ok(),
        session.to_der().map(|der| der.len()).ok()
    );
}

fn master_key(session: &SslSessionRef) -> Vec<u8> {
    let mut key = vec![0; session.master_key_len()];
    session.master_key(&mut key);
    key
}

/// What follows from the fields.
fn check_times(summary: &Summary) {
    let end = summary
        .time
        .map(|time| time.saturating_add(summary.timeout.unwrap_or(3)));
    assert_eq!(summary.is_expired, end.is_some_and(|end| end < NOW));
    assert_eq!(summary.left, end.map(|end| end.saturating_sub(NOW).max(0)));
    let sha384 = match summary.cipher[..] {
        [0x13, 2] => [false, true],
        [_, _] => [true, false],
        _ => [false, false],
    };
    assert_eq!(summary.hashes, sha384);
}

/// How long the first element is, with its tag and its length, if it is whole.
fn element(bytes: &[u8]) -> Option<usize> {
    let first = usize::from(*bytes.get(1)?);
    let whole = match first {
        0..=0x7f => 2 + first,
        0x81..=0x83 => {
            let digits = bytes.get(2..2 + (first - 0x80))?;
            let len = digits
                .iter()
                .fold(0, |len, &digit| len * 256 + usize::from(digit));
            2 + digits.len() + len
        }
        _ => return None,
    };
    (whole <= bytes.len()).then_some(whole)
}

/// The body of a server name extension, mostly a list of one host name.
fn extension(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let name = match u.int_in_range(0..=3)? {
        0 => u.bytes(u.len().min(300))?.to_vec(),
        1 => vec![b'a'; u.int_in_range(0..=700)?],
        _ => b"host.example".to_vec(),
    };
    let mut extension = host(&name);
    if u.ratio(1, 4)? {
        extension.extend(host(b"other"));
    }
    edit(u, &mut extension)?;
    Ok(extension)
}

/// As RFC 6066 has it.
fn host(name: &[u8]) -> Vec<u8> {
    let len = name.len() as u16;
    [&(len + 3).to_be_bytes()[..], &[0], &len.to_be_bytes(), name].concat()
}

/// There is one way to write a name, and nothing else is read as one.
fn check_name(extension: &[u8]) {
    let name = extension
        .get(5..)
        .filter(|name| !name.is_empty() && !name.contains(&0));
    let name = name.and_then(|name| std::str::from_utf8(name).ok());
    let name = name.filter(|name| host(name.as_bytes()) == extension);
    assert_eq!(der::host_name(extension).as_deref(), name);
}
