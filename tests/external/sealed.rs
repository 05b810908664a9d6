//! What the store has shows nothing, and what it changes is refused.

use std::sync::Arc;
use std::time::Duration;

use refrain::store::{ExternalOptions, Keys, MAX_READ_BUDGET};
use refrain::{Error, SessionCache};

use crate::common::{id, secs, watchdog};
use crate::node::{Node, key, keys, off_by, options, payload};
use crate::store::Shop;

/// Two servers, and a session of the first at the store.
fn pair(one: ExternalOptions, other: ExternalOptions) -> (Arc<Shop>, Node, Node) {
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::with(&shop, one), Node::with(&shop, other));
    a.establish(1);
    a.settle();
    assert_eq!(shop.len(), 1);
    (shop, a, b)
}

#[test]
fn the_store_learns_neither_ids_nor_secrets() {
    let _dog = watchdog();
    let (shop, ..) = pair(options(), options());
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|w| w == part);
    for bytes in shop.records() {
        assert_eq!(bytes.len() % 64, 0);
        assert!(!has(&bytes, &payload(1)[..8]) && !has(&bytes, &id(1).as_bytes()[..8]));
    }
    for key in shop.keys() {
        assert!(!has(key.as_bytes(), &id(1).as_bytes()[..8]));
    }
}

#[test]
fn a_record_that_was_changed_or_cut_short_is_a_counted_miss() {
    let _dog = watchdog();
    let changes: [fn(&mut Vec<u8>); 4] = [
        |record| record[100] ^= 1,
        |record| record.truncate(record.len() - 10),
        // The time it expires.
        |record| record[30] ^= 1,
        |record| record.extend([0; 64]),
    ];
    for change in changes {
        let (shop, _a, b) = pair(options(), options());
        shop.tamper(change);
        assert!(!b.resume(1));
        assert_eq!(b.stats().refused_forged, 1);
        assert!(!b.has(1));
    }
    let foreign: [fn(&mut Vec<u8>); 2] = [Vec::clear, |record| record[0] = 9];
    for change in foreign {
        let (shop, _a, b) = pair(options(), options());
        shop.tamper(change);
        assert!(!b.resume(1));
        assert_eq!(b.stats().refused_foreign, 1);
    }
}

#[test]
fn keys_rotate_without_a_miss_and_a_strangers_records_are_refused() {
    let _dog = watchdog();
    let with = |keys| {
        ExternalOptions::new(keys)
            .read_budget(MAX_READ_BUDGET)
            .epoch_refresh(Duration::from_millis(20))
    };
    let ring = |current| Keys::new(&key(1), &key(current)).unwrap();
    // The newcomer's key seals; the old one still opens.
    let (shop, a, b) = pair(with(ring(2)), with(ring(3).older(&key(2)).unwrap()));
    assert!(b.resume(1));
    b.establish(2);
    b.settle();
    assert!(!a.resume(2));
    assert_eq!(a.stats().refused_foreign, 1);
    assert!(a.cache.set_external_keys(ring(2).older(&key(3)).unwrap()));
    assert!(a.resume(2));
    drop((shop, a, b));
    // Another naming key finds nothing at all.
    let stranger = Keys::new(&key(9), &key(2)).unwrap();
    let (_shop, _a, b) = pair(with(ring(2)), with(stranger));
    assert!(!b.resume(1));
    assert_eq!(b.stats().refused_foreign + b.stats().refused_forged, 0);
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let _dog = watchdog();
    let now = Duration::ZERO;
    // This server's clock is behind, so the record is from its future.
    let (_shop, _a, b) = pair(options(), off_by(options(), now, secs(50)));
    assert!(b.resume(1));
    let (_shop, _a, b) = pair(options(), off_by(options(), now, secs(120)));
    assert!(!b.resume(1));
    assert_eq!(b.stats().refused_future, 1);
    // It is ahead: the record's time is over sooner.
    let (_shop, _a, b) = pair(options(), off_by(options(), secs(7000), now));
    assert!(b.resume(1));
    let found = b.cache.get(&b.context, &id(1)).unwrap();
    let left = found.deadline().saturating_since(b.cache.now());
    assert!(left <= secs(200), "{left:?}");
    let (_shop, _a, b) = pair(options(), off_by(options(), secs(7300), now));
    assert!(!b.resume(1));
    assert_eq!(b.stats().refused_expired, 1);
}

#[test]
fn keys_and_settings_that_make_no_sense_are_refused() {
    assert_eq!(
        Keys::new(&key(1), &[0; 32]).map(drop),
        Err(Error::WeakStoreKey)
    );
    let settings: [fn(ExternalOptions) -> ExternalOptions; 6] = [
        |options| options.read_budget(Duration::ZERO),
        |options| options.read_budget(MAX_READ_BUDGET + Duration::from_nanos(1)),
        |options| options.write_budget(Duration::ZERO),
        |options| options.epoch_refresh(Duration::ZERO),
        |options| options.queue_entries(0),
        |options| options.batch(0),
    ];
    for setting in settings {
        let options = setting(ExternalOptions::new(keys()));
        let built = SessionCache::builder()
            .external(Shop::default(), options)
            .build();
        assert!(matches!(built, Err(Error::External { .. })));
    }
    assert!(
        !SessionCache::builder()
            .build()
            .unwrap()
            .set_external_keys(keys())
    );
}
