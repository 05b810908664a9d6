//! An hour of TLS 1.3: two tickets for each handshake, one of them used once and half a minute later, the other never.
//! The clock is moved by hand, so that it takes seconds; what could pile up piles up all the same.

use std::time::Duration;

use refrain::{ContextId, Maintenance, ManualClock, Session, SessionCache, SessionId, Time};
use serde_json::{Value, json};

use crate::cache::Key;
use crate::heap;
use crate::latency::human;
use crate::random::Random;
use crate::table::markdown;

const HOUR: u64 = 3600;
const TIMEOUT: u64 = 300;
/// Seconds until a ticket is used.
const THINK: usize = 30;
/// A quarter of the wheel's tick, as its documentation wants.
const STEPS: u64 = 4;
const REPORT: u64 = 300;
/// How much more than in the first half it may take in the second, in percent.
const GROWTH: usize = 5;

/// What Refrain keeps when there is no cache, in bytes: a region of 2 MiB in each of two places, and some of its own.
const BEHIND: usize = 2 * (2 << 20) + (1 << 20);

/// What was seen at a moment of the hour.
#[derive(Clone, Copy, Debug)]
struct Sight {
    second: u64,
    live: usize,
    heap: usize,
    resident: Option<usize>,
    backlog: u64,
}

pub(super) fn measure(rate: usize, payload: usize, seed: u64) -> Result<Value, String> {
    let live = rate * (TIMEOUT as usize + THINK);
    let clock = ManualClock::new();
    // The harness's own memory is there before it is counted.
    let mut random = Random::new(seed, 0);
    let bytes = vec![0x5a; payload];
    let mut waiting = vec![SessionId::of(random.id()); rate * THINK];
    let mut sights = Vec::with_capacity(64);

    let before = heap::live();
    let cache = SessionCache::builder()
        .capacity(2 * live)
        .timeout(Duration::from_secs(TIMEOUT))
        .clock(clock.clone())
        .maintenance(Maintenance::Manual)
        .on_remove(|_, _| {})
        .build()
        .map_err(|error| error.to_string())?;
    let context = cache
        .context(ContextId::derive("compare", &[]))
        .map_err(|error| error.to_string())?;
    let empty = heap::since(before);
    let (mut taken, mut refused, mut next) = (0_u64, 0_u64, 0);
    let mut peaks = [0; 2];
    let end = HOUR + 2 * TIMEOUT;
    for step in 0..end * STEPS {
        let second = step / STEPS;
        clock.set(Time::from_millis(step * 1000 / STEPS));
        // After the hour, nobody comes any more.
        for _ in 0..if second < HOUR {
            rate / STEPS as usize
        } else {
            0
        } {
            let used = std::mem::replace(&mut waiting[next], SessionId::of(random.id()));
            taken += u64::from(cache.take(&context, &used).is_some());
            for id in [waiting[next], SessionId::of(random.id())] {
                let session = Session::new(&context, id, &bytes);
                let added = session.map(|session| cache.add(session));
                refused += u64::from(!added.is_ok_and(|added| added.is_cached()));
            }
            next = (next + 1) % waiting.len();
        }
        while cache.run_maintenance().more {}
        let heap = heap::since(before);
        if (2 * TIMEOUT..HOUR).contains(&second) {
            let half = usize::from(second >= HOUR / 2);
            peaks[half] = peaks[half].max(heap);
        }
        if step % (REPORT * STEPS) == REPORT * STEPS - 1 {
            sights.push(Sight {
                second: second + 1,
                live: cache.len(),
                heap,
                resident: heap::resident(),
                backlog: cache.stats().backlog_bytes,
            });
        }
    }
    cache.settle();
    let stats = cache.stats();
    let mut faults = Vec::new();
    if peaks[1] * 100 > peaks[0] * (100 + GROWTH) {
        faults.push(format!(
            "memory grows: {} bytes, then {}",
            peaks[0], peaks[1]
        ));
    }
    if refused > 0 {
        faults.push(format!("{refused} adds were refused"));
    }
    if !stats.is_balanced() || stats.entries > 0 {
        faults.push(format!(
            "{} sessions are left, or the books are wrong",
            stats.entries
        ));
    }
    let left = heap::since(before).saturating_sub(empty);
    drop((cache, context));
    let behind = heap::since(before);
    if behind > BEHIND {
        faults.push(format!("{behind} bytes are left when the cache has ended"));
    }
    let sights: Vec<Value> = sights
        .iter()
        .map(|sight| {
            json!({
                "second": sight.second, "live": sight.live, "heap": sight.heap,
                "rss": sight.resident, "backlog": sight.backlog,
                "beyond_payload": (sight.live > 0)
                    .then(|| sight.heap as f64 / sight.live as f64 - payload as f64),
            })
        })
        .collect();
    Ok(json!({
        "handshakes_per_second": rate, "payload": payload, "timeout_seconds": TIMEOUT,
        "added": stats.inserted, "taken": taken, "expired": stats.expired, "evicted": stats.evicted,
        "empty": empty, "peak_first_half": peaks[0], "peak_second_half": peaks[1], "left": left, "behind": behind,
        "sights": sights, "faults": faults,
    }))
}

/// As a table.
pub(super) fn text(hour: &Value) -> String {
    let head = [
        "minute",
        "live",
        "heap",
        "a session beyond its payload",
        "waiting to be freed",
    ];
    let mib = |value: &Value| format!("{:.1} MiB", value.as_f64().unwrap_or(0.0) / 1048576.0);
    let rows: Vec<Vec<String>> = hour["sights"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|sight| {
            let beyond = sight["beyond_payload"].as_f64();
            vec![
                (sight["second"].as_u64().unwrap_or(0) / 60).to_string(),
                sight["live"].to_string(),
                mib(&sight["heap"]),
                beyond.map_or("-".to_owned(), |bytes| format!("{bytes:.0} B")),
                mib(&sight["backlog"]),
            ]
        })
        .collect();
    format!(
        "\n### refrain: an hour of single-use sessions\n\n{} handshakes a second of the clock, each with two tickets of {} \
         bytes that live for {}; one of them is used after {THINK} s, the other never. {} added, {} taken, {} expired, \
         {} evicted. The empty cache has {}; when all have expired, {} more are left for \
         sessions to come, and {} in all when the cache has ended.\n\n{}",
        hour["handshakes_per_second"],
        hour["payload"],
        human(TIMEOUT * 1_000_000_000),
        hour["added"],
        hour["taken"],
        hour["expired"],
        hour["evicted"],
        mib(&hour["empty"]),
        mib(&hour["left"]),
        mib(&hour["behind"]),
        markdown(&head.map(str::to_owned), &rows)
    )
}
