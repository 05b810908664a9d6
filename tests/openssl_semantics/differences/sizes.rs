//! How many sessions there are.

use refrain::{Error, Maintenance, SessionCache};

use super::{ENTRIES_AT_SIZE_N, SIZE_0, SIZE_CUT};
use crate::books::Books;
use crate::counts;
use crate::store::refrain::MOST;
use crate::store::{Ledger, Libssl, Refrain, Store};
use crate::version::{KEEPS_ONE_LESS, version};

/// Adds sessions with these ids, which expire in the order of the ids.
fn fill(on: &impl Store, ids: std::ops::Range<u8>) {
    for id in ids {
        assert!(on.add(&on.session(id, 1000 + u64::from(id))));
    }
}

#[test]
fn entries_at_size_n() {
    ENTRIES_AT_SIZE_N.quote();
    for n in [1, 2, 3, 4, 5, 60] {
        let on = Libssl::new(n);
        fill(&on, 0..2 * n as u8);
        let kept = if version() >= KEEPS_ONE_LESS {
            (n - 1).max(1)
        } else {
            n
        };
        assert_eq!(on.books().number, kept as i64);

        let on = Refrain::new(n);
        fill(&on, 0..2 * n as u8);
        assert_eq!(on.books().number, n as i64);
    }
}

#[test]
fn size_0() {
    SIZE_0.quote();
    let on = Libssl::new(0);
    fill(&on, 0..200);
    assert_eq!(on.books(), counts!(number: 200));

    let error = SessionCache::builder().capacity(0).build().unwrap_err();
    assert!(matches!(error, Error::Capacity { asked: 0, .. }), "{error}");
    let on = Refrain::new(0);
    assert_eq!(on.size(), MOST, "as far as the maximum");
    fill(&on, 0..200);
    assert_eq!(on.books().number, MOST as i64);
}

#[test]
fn size_cut_below_the_count() {
    SIZE_CUT.quote();
    let mut on = Ledger::<Libssl>::new(60);
    fill(&*on, 0..8);
    on.step("eight", counts!(number: 8));
    assert_eq!(on.set_size(4), 60);
    on.step("nothing happens at once", Books::NONE);
    fill(&*on, 8..9);
    let gone = if version() >= KEEPS_ONE_LESS { 6 } else { 5 };
    on.step(
        "the next add makes room for all of it",
        counts!(number: 1 - gone, remove: gone, cache_full: gone),
    );

    let mut on = Ledger::<Refrain>::new(60);
    fill(&*on, 0..8);
    on.step("eight", counts!(number: 8));
    assert_eq!(on.set_size(4), 60);
    // Nothing is added: looking at the books lets the maintenance work.
    on.step(
        "the number falls without an add",
        counts!(number: -4, remove: 4, cache_full: 4),
    );
    fill(&*on, 8..9);
    on.step("no add makes it rise", counts!(remove: 1, cache_full: 1));

    // Nor does one that comes before any maintenance.
    let cache = SessionCache::builder()
        .capacity(60)
        .maintenance(Maintenance::Manual)
        .build()
        .unwrap();
    let context = cache
        .context(refrain::ContextId::derive("sizes", &[]))
        .unwrap();
    let add = |id| {
        let session = refrain::Session::new(&context, Refrain::id(id), b"payload").unwrap();
        let _ = cache.add(session);
        cache.len()
    };
    assert_eq!(
        (0..8).map(add).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7, 8]
    );
    cache.set_capacity(4).unwrap();
    assert!(add(8) <= 8);
}
