//! A record opens for its own name only, and only while it lives.

use super::*;
use crate::id::SessionId;

const NOW: Wall = 1_700_000_000_000;
const EPOCH: Epoch = Epoch { all: 3, own: 4 };

fn key(n: u8) -> [u8; 32] {
    std::array::from_fn(|i| (i as u8 ^ n).wrapping_mul(37).wrapping_add(n))
}

fn keys() -> Keys {
    Keys::new(&key(1), &key(2)).unwrap()
}

fn name(context: &[u8], id: &[u8]) -> Name {
    Name {
        context: ContextId::new(context).unwrap(),
        id: SessionId::new(id).unwrap(),
    }
}

fn usual() -> Name {
    name(b"context", b"id")
}

fn content(payload: &[u8]) -> Content<'_> {
    Content {
        created: NOW,
        expires: NOW + 1000,
        not_after: NOW + 5000,
        tag: 77,
        host: None,
        server_name: "a.example",
        payload,
    }
}

fn sealed(content: &Content<'_>) -> Vec<u8> {
    seal(&keys(), &usual(), Class::Looked, EPOCH, content).unwrap()
}

fn open_at(now: Wall, record: &[u8]) -> Result<Opened, Refused> {
    open(&keys(), &usual(), Class::Looked, EPOCH, now, record)
}

#[test]
fn what_is_sealed_comes_back() {
    for len in [0, 1, 63, 64, 5000] {
        let payload = vec![0x5a; len];
        let record = sealed(&content(&payload));
        assert_eq!(record.len() % 64, 0);
        let opened = open_at(NOW, &record).ok().unwrap();
        assert_eq!(opened.payload(), payload);
        assert_eq!(opened.server_name(), "a.example");
        assert_eq!((opened.tag, opened.expires), (77, NOW + 1000));
        assert_eq!((opened.not_after, opened.host), (NOW + 5000, None));
        assert_eq!(left(opened.expires, NOW + 400), Duration::from_millis(600));
    }
}

#[test]
fn a_host_comes_along() {
    let host = Some((ContextId::new(b"host").unwrap(), 7));
    let record = sealed(&Content {
        host,
        ..content(b"payload")
    });
    let opened = open_at(NOW, &record).ok().unwrap();
    assert_eq!((opened.host, opened.payload()), (host, &b"payload"[..]));
    assert_eq!(opened.server_name(), "a.example");
}

#[test]
fn nothing_of_a_session_shows_and_no_two_records_are_the_same() {
    let secret = b"a secret that is long enough to be found, even here";
    let (one, two) = (sealed(&content(secret)), sealed(&content(secret)));
    assert_ne!(one, two);
    for record in [&one, &two] {
        for part in [&secret[..8], b"a.example", b"context"] {
            assert!(!record.windows(part.len()).any(|w| w == part));
        }
    }
    // Of one length, whatever the length within it.
    assert_eq!(
        one.len(),
        sealed(&content(
            b"less of a secret, really, and yet it is a little longer"
        ))
        .len()
    );
}

#[test]
fn another_name_class_epoch_or_key_does_not_open_it() {
    let record = sealed(&content(b"payload"));
    let refused =
        |keys: &Keys, name: &Name, class, epoch| open(keys, name, class, epoch, NOW, &record).err();
    let (keys, usual, looked) = (keys(), usual(), Class::Looked);
    assert_eq!(refused(&keys, &usual, looked, EPOCH), None);
    for other in [
        name(b"context", b"ie"),
        name(b"kontext", b"id"),
        name(b"contexti", b"d"),
    ] {
        assert_eq!(refused(&keys, &other, looked, EPOCH), Some(Refused::Forged));
    }
    let forged = Some(Refused::Forged);
    assert_eq!(refused(&keys, &usual, Class::Taken, EPOCH), forged);
    for epoch in [Epoch { all: 4, ..EPOCH }, Epoch { own: 3, ..EPOCH }] {
        assert_eq!(refused(&keys, &usual, looked, epoch), forged);
    }
    let foreign = Keys::new(&key(1), &key(3)).unwrap();
    assert_eq!(
        refused(&foreign, &usual, looked, EPOCH),
        Some(Refused::Foreign)
    );
    let rotated = foreign.older(&key(2)).unwrap();
    assert_eq!(refused(&rotated, &usual, looked, EPOCH), None);
}

#[test]
fn no_changed_bit_and_no_missing_byte_goes_unnoticed() {
    let record = sealed(&content(b"payload"));
    for n in 0..record.len() {
        let mut changed = record.clone();
        changed[n] ^= 1 << (n % 8);
        assert!(open_at(NOW, &changed).is_err(), "{n}");
        assert!(open_at(NOW, &record[..n]).is_err(), "{n}");
    }
    let longer = [&record[..], &[0; 64]].concat();
    assert_eq!(open_at(NOW, &longer).err(), Some(Refused::Forged));
    assert_eq!(open_at(NOW, b"").err(), Some(Refused::Foreign));
    assert_eq!(open_at(NOW, &[7; 256]).err(), Some(Refused::Foreign));
}

#[test]
fn a_record_lives_until_the_earlier_of_its_ends() {
    let record = sealed(&content(b"payload"));
    assert!(open_at(NOW + 999, &record).is_ok());
    assert_eq!(open_at(NOW + 1000, &record).err(), Some(Refused::Expired));
    let authenticated = sealed(&Content {
        not_after: NOW + 500,
        ..content(b"payload")
    });
    assert!(open_at(NOW + 499, &authenticated).is_ok());
    let over = open_at(NOW + 500, &authenticated).err();
    assert_eq!(over, Some(Refused::Expired));
    let for_ever = sealed(&Content {
        expires: Wall::MAX,
        not_after: Wall::MAX,
        ..content(b"payload")
    });
    assert!(open_at(NOW * 2, &for_ever).is_ok());
}

#[test]
fn a_record_from_the_future_is_refused_beyond_a_minute() {
    let record = sealed(&content(b"payload"));
    assert!(open_at(NOW - 60_000, &record).is_ok());
    assert_eq!(open_at(NOW - 60_001, &record).err(), Some(Refused::Future));
}
