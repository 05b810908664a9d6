//! Bad input: every error that a caller can reach, with the numbers that it must carry and a text that a person can use.

#![allow(missing_docs)]

mod common;

use common::{Rig, context, id, millis, secs, session};
use refrain::{Added, Builder, ContextId, Error, NotCached, Session, SessionCache, SessionId};

const MAX_ENTRIES: usize = (1 << 28) - 1;
const MAX_BYTES: usize = ((1 << 36) - 1) * 64;

/// The error of a builder that must not build, checked for its text.
#[track_caller]
fn refused(builder: Builder) -> Error {
    tell(builder.build().expect_err("must not build"))
}

/// Checks the text: a sentence's part without a capital or a full stop, as `Display` of errors should be.
#[track_caller]
fn tell(error: Error) -> Error {
    let text = error.to_string();
    assert!(text.len() > 15, "says too little: {text}");
    assert!(!text.ends_with('.') && !text.contains("  "), "{text}");
    assert!(text.starts_with(|c: char| c.is_lowercase()), "{text}");
    assert!(!text.contains("Error"), "{text}");
    // As a boxed error of a caller's own.
    let boxed: Box<dyn std::error::Error + Send + Sync> = error.clone().into();
    assert_eq!(boxed.to_string(), text);
    error
}

#[track_caller]
fn names(error: &Error, numbers: &[&str]) {
    let text = error.to_string();
    for number in numbers {
        assert!(text.contains(number), "{text:?} does not say {number}");
    }
}

fn builder() -> Builder {
    SessionCache::builder()
}

#[test]
fn ids_and_names_of_the_wrong_length() {
    for len in [0, 33, 34, 1000] {
        let error = tell(SessionId::new(&vec![1; len]).unwrap_err());
        assert_eq!(error, Error::IdLength { len });
        names(&error, &["1 to 32", &len.to_string()]);
        let error = tell(ContextId::new(&vec![1; len]).unwrap_err());
        assert_eq!(error, Error::ContextLength { len });
        names(&error, &["1 to 32", &len.to_string()]);
    }
    let rig = Rig::new(1);
    let name = |len| "n".repeat(len);
    let build = |len| {
        let name = name(len);
        let builder = Session::builder(&rig.context, id(1)).server_name(&name);
        builder.build(b"").map(|s| s.server_name().map(str::len))
    };
    assert_eq!(build(0), Ok(None));
    assert_eq!(build(255), Ok(Some(255)));
    let error = tell(build(256).unwrap_err());
    assert_eq!(error, Error::ServerNameLength { len: 256 });
    names(&error, &["255", "256"]);
}

#[test]
fn a_payload_beyond_what_a_session_can_hold() {
    let rig = Rig::new(1);
    let len = 1 << 24;
    let payload = vec![0; len];
    let error = tell(Session::new(&rig.context, id(1), &payload).unwrap_err());
    let max = len - 1;
    assert_eq!(error, Error::PayloadLength { len, max });
    names(&error, &[&len.to_string(), &max.to_string()]);
}

#[test]
fn capacities_out_of_range() {
    let error = refused(builder().capacity(0));
    let max = MAX_ENTRIES;
    assert_eq!(error, Error::Capacity { asked: 0, max });
    names(&error, &["max_capacity"]);
    for asked in [max + 1, usize::MAX] {
        let error = refused(builder().capacity(asked));
        assert_eq!(error, Error::Capacity { asked, max });
        names(&error, &[&asked.to_string(), &max.to_string()]);
        refused(builder().max_capacity(asked));
    }
    let error = refused(builder().capacity(11).max_capacity(10));
    let (asked, max) = (11, 10);
    assert_eq!(error, Error::Capacity { asked, max });
    assert_eq!(
        refused(builder().max_capacity(0)),
        Error::Capacity {
            asked: 0,
            max: MAX_ENTRIES
        }
    );
    let rig = Rig::with(builder().capacity(5).max_capacity(10));
    assert_eq!(
        tell(rig.cache.set_capacity(11).unwrap_err()),
        Error::Capacity { asked, max }
    );
    assert_eq!(rig.cache.capacity(), 5, "unchanged");
    assert_eq!(rig.cache.set_capacity(10), Ok(5));
}

#[test]
fn byte_budgets_out_of_range() {
    let (min, max) = (64, MAX_BYTES);
    let rig = Rig::new(10);
    let before = rig.cache.byte_budget();
    for asked in [0, 1, 63, max + 1, usize::MAX] {
        let error = refused(builder().byte_budget(asked));
        assert_eq!(error, Error::ByteBudget { asked, min, max });
        names(&error, &["64", &max.to_string(), &asked.to_string()]);
        let error = tell(rig.cache.set_byte_budget(asked).unwrap_err());
        assert_eq!(error, Error::ByteBudget { asked, min, max });
        assert_eq!(rig.cache.byte_budget(), before, "unchanged");
    }
    // The smallest holds a session without payload.
    let rig = Rig::with(builder().byte_budget(64));
    let empty = Session::new(&rig.context, id(1), b"").unwrap();
    assert_eq!(rig.cache.add(empty), Added::Inserted);
    assert_eq!(rig.add(2), Added::NotCached(NotCached::TooLarge));
    assert_eq!(
        Rig::with(builder().byte_budget(max)).cache.byte_budget(),
        max
    );
}

#[test]
fn shards_ticks_and_contexts_out_of_range() {
    for asked in [0, 1025, usize::MAX] {
        let error = refused(builder().shards(asked));
        assert_eq!(error, Error::Shards { asked, max: 1024 });
        names(&error, &["1 to 1024", &asked.to_string()]);
    }
    let (min, max) = (millis(1), secs(3600));
    for asked in [
        millis(0),
        std::time::Duration::from_micros(999),
        max + millis(1),
        std::time::Duration::MAX,
    ] {
        let error = refused(builder().tick(asked));
        assert_eq!(error, Error::Tick { asked, min, max });
        names(&error, &["1ms", "3600s"]);
    }
    for asked in [0, 65_537, usize::MAX] {
        let error = refused(builder().max_contexts(asked));
        assert_eq!(error, Error::ContextLimit { asked, max: 65_536 });
        names(&error, &["1 to 65536", &asked.to_string()]);
    }
    // The bounds themselves.
    for builder in [
        builder().capacity(2048).shards(1024),
        builder().shards(1),
        builder().tick(min),
        builder().tick(max),
        builder().max_contexts(1),
        builder().max_contexts(65_536),
    ] {
        let rig = Rig::with(builder);
        assert!(rig.add(1).is_cached() && rig.has(1));
    }
}

#[test]
fn contexts_that_are_too_many_or_anothers() {
    let rig = Rig::with(builder().max_contexts(1));
    let error = rig.cache.context(ContextId::derive("more", &[]));
    let error = tell(error.unwrap_err());
    assert_eq!(error, Error::TooManyContexts { max: 1 });
    names(&error, &["1", "max_contexts"]);
    let other = Rig::new(1);
    let error = rig.cache.invalidate_context(&other.context).unwrap_err();
    assert_eq!(tell(error), Error::ForeignContext);
    // A generation of another context than the session is built for.
    let generation = other.context.generation();
    let mixed = Session::builder(&rig.context, id(1)).generation(generation);
    assert_eq!(
        tell(mixed.build(b"").unwrap_err()),
        Error::ForeignGeneration
    );
}

#[test]
fn errors_that_only_a_machine_can_bring_about_have_their_texts_too() {
    for error in [
        Error::ContextNumbersExhausted,
        Error::OutOfMemory { bytes: 77 },
        Error::AddressSpace,
        Error::Forked,
        Error::Thread {
            kind: std::io::ErrorKind::OutOfMemory,
        },
    ] {
        tell(error);
    }
    names(&Error::OutOfMemory { bytes: 77 }, &["77"]);
}

#[test]
fn what_a_client_sends_is_a_miss_and_a_counter() {
    let rig = Rig::new(10);
    let other = context(&rig.cache, "other");
    for n in 0..100 {
        assert!(!rig.has(n) && rig.take(n).is_none() && !rig.remove(n));
        assert!(rig.cache.get(&other, &id(n)).is_none());
    }
    let stats = rig.cache.stats();
    assert_eq!((stats.hits, stats.misses), (0, 300));
    assert_eq!(rig.cache.len(), 0);
}

#[test]
fn every_refusal_is_counted_and_leaves_no_trace() {
    let rig = Rig::with(builder().capacity(4).shards(1).byte_budget(64 * 64));
    let stale = session(&rig.context, 1);
    rig.cache.invalidate_context(&rig.context).unwrap();
    rig.cache.settle();
    let zero = Session::builder(&rig.context, id(1)).timeout(secs(0));
    let refusals = [
        (stale, NotCached::Stale),
        (zero.build(b"").unwrap(), NotCached::Expired),
        (common::sized(&rig.context, 1, 5000), NotCached::TooLarge),
    ];
    for (i, (refused, reason)) in refusals.into_iter().enumerate() {
        let added = rig.cache.add(refused.clone());
        assert_eq!(added, Added::NotCached(reason));
        assert!(!added.is_cached());
        assert_eq!(refused.references(), 1);
        assert_eq!(rig.cache.stats().not_cached, i as u64 + 1);
    }
    let stats = rig.cache.stats();
    assert_eq!((stats.inserted, stats.entries, stats.bytes), (0, 0, 0));
    assert_eq!(rig.gone(), []);
}
