//! Sums, and what stands in them.

use super::*;

#[test]
fn the_sums_are_of_all_and_of_nothing_else() {
    let stats = Stats {
        entries: 1,
        taken: 2,
        removed: 4,
        invalidated: 8,
        cleared: 16,
        retained: 32,
        refused: 64,
        dropped: 128,
        expired: 256,
        evicted: 512,
        replaced: 1024,
        never_added: 2048,
        inserted: 2047,
        ..Stats::default()
    };
    assert_eq!(stats.removed_total(), 4 + 8 + 16 + 32 + 64 + 128);
    assert_eq!(stats.callbacks_due(), 2 + 252 + 256 + 512 + 2048);
    assert!(stats.is_balanced());
    for inserted in [0, 2046, 2048] {
        assert!(!Stats { inserted, ..stats }.is_balanced());
    }
}

#[test]
fn openssls_numbers_are_twelve_of_them() {
    let stats = Stats {
        entries: 1,
        connects: 2,
        connects_good: 3,
        connects_again: 4,
        accepts: 5,
        accepts_good: 6,
        accepts_again: 7,
        hits: 8,
        external_hits: 9,
        misses: 10,
        timeouts: 11,
        evicted: 12,
        ..Stats::default()
    };
    let expected = SessCounters {
        number: 1,
        connect: 2,
        connect_good: 3,
        connect_renegotiate: 4,
        accept: 5,
        accept_good: 6,
        accept_renegotiate: 7,
        hits: 8,
        cb_hits: 9,
        misses: 10,
        timeouts: 11,
        cache_full: 12,
    };
    assert_eq!(stats.openssl(), expected);
}

#[test]
fn what_is_counted_is_told() {
    let cells = Cells::new(2, Permit::new(10, 100));
    assert!(cells.budget.take(Permit::new(3, 7)));
    let events = [
        Event::Hit,
        Event::Miss,
        Event::Timeout,
        Event::Accept,
        Event::AcceptGood,
        Event::AcceptAgain,
        Event::Connect,
        Event::ConnectGood,
        Event::ConnectAgain,
    ];
    for (n, event) in events.into_iter().enumerate() {
        (0..=n).for_each(|_| cells.count(event));
    }
    for (n, shard) in cells.shards.iter().enumerate() {
        for (times, cause) in RemovalCause::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| shard.end(cause, 1));
        }
        // 45 ends in each.
        shard.begun.add(100 + n as u64);
        shard.abandoned.add(3);
        shard.replaced.add(20);
        shard.pushed.add(50);
        assert_eq!(shard.live(), 32 + n as u64);
    }
    let counters = [
        &cells.never_added,
        &cells.external_hits,
        &cells.external_denied,
        &cells.wrong_name,
        &cells.forged,
        &cells.not_cached,
        &cells.not_cached_backlog,
        &cells.not_cached_raced,
        &cells.callbacks,
        &cells.callback_panics,
    ];
    for (counter, n) in counters.into_iter().zip(20..) {
        counter.add(n);
    }
    cells.collected.add(60);
    cells.freed.add(11);
    assert_eq!(cells.pushed(), 100);
    assert_eq!(cells.backlog(), 89);
    assert_eq!(cells.in_hand(), 49);
    let expected = Stats {
        entries: 3,
        bytes: 7 * 64,
        inserted: 201 - 6,
        replaced: 40,
        taken: 2,
        removed: 4,
        expired: 6,
        evicted: 8,
        invalidated: 10,
        cleared: 12,
        retained: 14,
        refused: 16,
        dropped: 18,
        hits: 1,
        misses: 2,
        timeouts: 3,
        accepts: 4,
        accepts_good: 5,
        accepts_again: 6,
        connects: 7,
        connects_good: 8,
        connects_again: 9,
        never_added: 20,
        external_hits: 21,
        external_denied: 22,
        wrong_name: 23,
        forged: 24,
        not_cached: 25,
        not_cached_backlog: 26,
        not_cached_raced: 27,
        callbacks: 28,
        callback_panics: 29,
        backlog_bytes: 89 * 64,
    };
    assert_eq!(StatsHandle(cells).snapshot(), expected);
}
