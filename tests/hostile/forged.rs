//! Ids that nobody was given, of every length, and ids that are nearly somebody's.

use super::answer::Answer;
use super::common::Random;
use super::hello::Hello;
use super::site::{Cost, Site};
use super::stack::{Stack, VERSIONS, Version};

on_each_stack!(
    a_session_id_of_any_length_is_a_full_handshake_at_most,
    a_key_of_any_length_is_a_full_handshake_at_most,
    what_is_nearly_a_live_id_is_none,
);

fn bytes(length: usize) -> Vec<u8> {
    let mut random = Random::new(length as u64);
    (0..length).map(|_| random.next() as u8).collect()
}

fn a_session_id_of_any_length_is_a_full_handshake_at_most(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls12);
    for length in 0..=255 {
        let hello = Hello::tls12().session_id(&bytes(length));
        let (answer, cost) = site.cost(|| site.attack(&hello));
        if length > 32 {
            assert!(
                matches!(answer, Answer::Alert(_)),
                "{length} bytes: {answer:?}"
            );
            assert_eq!(cost, Cost::default(), "{length} bytes");
            continue;
        }
        let lookups = u64::from(length > 0);
        let expected = Cost {
            lookups,
            gets: site.allowed(lookups),
            changes: 0,
        };
        assert_eq!((answer, cost), (Answer::Full, expected), "{length} bytes");
        site.next_second();
    }
    assert!(site.visit(&*client));
}

/// In TLS 1.3 the session id is noise for middleboxes, and means nothing even if it is somebody's.
fn a_key_of_any_length_is_a_full_handshake_at_most(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls13);
    for length in (1..=300).chain([1000, 20_000, 65_000]) {
        let hello = Hello::tls13()
            .session_id(&[9; 32])
            .keys(&[bytes(length)], 1, 32);
        let (answer, cost) = site.cost(|| site.attack(&hello));
        let lookups = u64::from(stack.looks_up_key(length));
        let expected = Cost {
            lookups,
            gets: site.allowed(lookups),
            changes: 0,
        };
        assert_eq!((answer, cost), (Answer::Full, expected), "{length} bytes");
        site.next_second();
    }
    let (answer, cost) = site.cost(|| site.attack(&Hello::tls13().keys(&[[]], 1, 32)));
    assert_ne!(answer, Answer::Resumed, "no bytes");
    assert_eq!(cost, Cost::default(), "no bytes");
    assert!(site.visit(&*client));
}

fn what_is_nearly_a_live_id_is_none(stack: Stack) {
    let site = Site::new(stack);
    for version in VERSIONS {
        let client = site.regular(version);
        let resumed = site.visit_past(&*client, |id| {
            let mut near: Vec<Vec<u8>> = (1..id.len()).map(|n| id[..n].to_vec()).collect();
            near.extend((1..id.len()).map(|n| id[n..].to_vec()));
            // The head alone, and zeros where the rest was.
            near.extend((0..id.len()).map(|n| [&id[..n], &vec![0; id.len() - n]].concat()));
            near.extend((0..8 * id.len()).map(|bit| {
                let mut flipped = id.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                flipped
            }));
            // It may end in zeros itself.
            near.retain(|other| *other != id);
            if version == Version::Tls12 {
                // The id itself would do.
                let (answer, _) = site.cost(|| site.attack(&Hello::offering(version, id)));
                assert_eq!(answer, Answer::Resumed);
            }
            for other in &near {
                let hello = Hello::offering(version, other);
                let (answer, cost) = site.cost(|| site.attack(&hello));
                assert_eq!((answer, cost.changes), (Answer::Full, 0));
                site.next_second();
            }
            // Longer ones are no session ids at all.
            let longer = [[id, &[0]].concat(), [&[0], id].concat()];
            let hello = Hello::tls13().keys(&longer, 2, 32);
            let (answer, cost) = site.cost(|| site.attack(&hello));
            assert_eq!((answer, cost), (Answer::Full, Cost::default()));
        });
        assert!(resumed, "{version:?}");
    }
}
