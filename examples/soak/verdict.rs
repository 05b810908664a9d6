//! The end of a round and of the run: the books, and for each session what became of it.

use refrain::{SessionCache, Stats};

use crate::books::Books;
use crate::reference::{CACHED, CAUSE, CLIENT, REFUSED, Reference, TAKEN};

/// Times that books are looked at that do not add up, because the wheel goes on meanwhile.
const LOOKS: usize = 200;

/// Waits until everything that has left was seen out, and closes the books.
pub(crate) fn settle(when: &str, cache: &SessionCache, reference: &Reference) -> (Stats, Books) {
    let mut looks = 0;
    loop {
        cache.settle();
        let stats = cache.stats();
        let books = Books::close(when, &stats, &reference.callbacks);
        looks += 1;
        let is_quiet = books.faults.is_empty() && stats.backlog_bytes == 0;
        if is_quiet || looks == LOOKS {
            if stats.backlog_bytes > 0 {
                let what = "memory was never given back";
                let bytes = stats.backlog_bytes;
                reference
                    .faults
                    .note(what, || format!("{when}: {bytes} bytes"));
            }
            return (stats, books);
        }
        std::thread::yield_now();
    }
}

/// Notes what does not add up in the books.
pub(crate) fn note_books(books: &Books, reference: &Reference) {
    for fault in &books.faults {
        reference
            .faults
            .note("the books do not balance", || fault.clone());
    }
}

/// Takes the inventory of a round: nothing else goes on any more. The replaced are those that the cache counts in it.
pub(crate) fn end_round(
    cache: &SessionCache,
    reference: &Reference,
    replaced_before: u64,
) -> Stats {
    let (_, books) = settle("at a round's end", cache, reference);
    note_books(&books, reference);
    // All that are left are whole, and nothing is known against them.
    let mut wrong = 0;
    reference.told.retained.add(cache.retain(|session| {
        let label = reference.read(session);
        let gone = label.is_some_and(|label| !reference.may_live(label.serial));
        // One that has expired stays until its tick, and has been missed.
        let lives = session.is_resumable() && session.deadline() > reference.now();
        wrong += u64::from(gone && lives);
        true
    }) as u64);
    reference.faults.add(
        "sessions were left that should have been gone",
        wrong,
        || "at a round's end".to_owned(),
    );
    reference.told.cleared.add(cache.clear() as u64);
    let (stats, books) = settle("after a round's clearing", cache, reference);
    note_books(&books, reference);
    if (stats.entries, stats.bytes) != (0, 0) {
        reference.faults.note("a cleared cache was not empty", || {
            format!("{} sessions, {} bytes", stats.entries, stats.bytes)
        });
    }
    compare(&stats, reference);
    take_inventory(reference, stats.replaced - replaced_before);
    stats
}

/// What callers were told, and what the cache says.
fn compare(stats: &Stats, reference: &Reference) {
    let told = &reference.told;
    let off = |what: &'static str, told: u64, counted: u64| {
        reference.faults.note(what, || {
            format!("{told} by what callers were told, {counted} by the cache")
        });
    };
    for (what, told, counted) in [
        (
            "the number of taken sessions is off",
            told.taken.get(),
            stats.taken,
        ),
        (
            "the number of retained sessions is off",
            told.retained.get(),
            stats.retained,
        ),
        (
            "the number of cleared sessions is off",
            told.cleared.get(),
            stats.cleared,
        ),
    ] {
        if told != counted {
            off(what, told, counted);
        }
    }
    let removed = stats.removed + stats.never_added;
    let least = told.removed.get();
    // A connection that broke may have removed its session, and does not say so.
    if !(least..=least + told.broken.get()).contains(&removed) {
        off("the number of removed sessions is off", least, removed);
    }
    if told.flushed.get() > stats.expired {
        off(
            "more were flushed than expired",
            told.flushed.get(),
            stats.expired,
        );
    }
    // Connections don't tell whether the cache kept a session.
    if told.refused.get() > stats.not_cached {
        off(
            "more adds were refused than counted",
            told.refused.get(),
            stats.not_cached,
        );
    }
}

/// Looks at every session of the round.
fn take_inventory(reference: &Reference, replaced: u64) {
    let (mut lost, mut silent, mut refused, mut taken) = (0, 0, 0, 0);
    for serial in 0..reference.built() {
        let word = reference.word(serial);
        let is_reported = word & CAUSE != 0;
        if word & CACHED != 0 && !is_reported {
            if word & CLIENT != 0 {
                silent += 1;
            } else {
                lost += 1;
            }
        }
        refused += u64::from(word & REFUSED != 0 && is_reported);
        // The first cause is that of taking.
        taken += u64::from((word & TAKEN != 0) != (word & CAUSE == 1));
    }
    let round = || format!("in round {}", reference.round());
    for (what, count) in [
        ("sessions left without a remove callback", lost),
        (
            "clients' sessions left without a remove callback, and were not replaced",
            u64::saturating_sub(silent, replaced),
        ),
        ("sessions were reported that the cache had refused", refused),
        (
            "sessions were taken and reported otherwise, or the other way round",
            taken,
        ),
    ] {
        reference.faults.add(what, count, round);
    }
}
