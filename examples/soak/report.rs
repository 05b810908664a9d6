//! What a run came to, for people and for programs.

use std::fmt::{self, Display, Formatter};

use indicatif::{HumanBytes, HumanCount};
use refrain::RemovalCause;
use serde_json::{Map, Value, json};

use crate::latency::Latencies;
use crate::run::Outcome;

/// The report for people.
pub(crate) struct Text<'a>(pub(crate) &'a Outcome);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let outcome = self.0;
        let Outcome {
            options,
            seen,
            stats,
            memory,
            books,
            ..
        } = outcome;
        let bytes = |bytes: u64| HumanBytes(bytes);
        writeln!(
            f,
            "{} operations in {:.1} s, {} a minute: {} threads, capacity {}, timeout {:?}, {} rounds\n",
            HumanCount(outcome.operations),
            outcome.elapsed.as_secs_f64(),
            HumanCount(per_minute(outcome)),
            options.threads,
            HumanCount(options.capacity as u64),
            options.timeout,
            outcome.rounds,
        )?;
        writeln!(
            f,
            "look-ups   {} hits, {} misses, {} found expired; {} adds refused, {} of them for the backlog",
            HumanCount(stats.hits),
            HumanCount(stats.misses),
            HumanCount(stats.timeouts),
            HumanCount(stats.not_cached),
            HumanCount(stats.not_cached_backlog),
        )?;
        writeln!(
            f,
            "governor   {} changes of limits, {} invalidations, {} callbacks swapped, {} times a stuck listener ({} until adds were refused)",
            HumanCount(seen.limits),
            HumanCount(seen.invalidations),
            HumanCount(seen.swaps),
            seen.stuck,
            seen.backed_up,
        )?;
        writeln!(f, "balance    {}", books.balance)?;
        writeln!(
            f,
            "callbacks  {} called, {} due, {} panicked:",
            HumanCount(books.callbacks),
            HumanCount(books.callbacks_due),
            HumanCount(stats.callback_panics),
        )?;
        let causes = causes(outcome).map(|(name, count)| format!("{name} {}", HumanCount(count)));
        writeln!(f, "           {}", causes.join(", "))?;
        writeln!(
            f,
            "memory     sessions at most {} by the allocator, bound {}: budget {}, backlog {}, handles of the soak's own {}, kept of others {}",
            bytes(memory.peak as u64),
            bytes(memory.bound() as u64),
            bytes(memory.budget as u64),
            bytes(memory.backlog as u64),
            bytes(memory.handles as u64),
            bytes(memory.kept as u64),
        )?;
        writeln!(
            f,
            "           by the cache: live at most {}, on their way out at most {}; {} left at the end",
            bytes(seen.peak_live),
            bytes(seen.peak_backlog),
            bytes(memory.left as u64),
        )?;
        match (seen.peak_resident, memory.resident_before) {
            (Some(peak), Some(before)) => writeln!(
                f,
                "           the process at most {}, {} of them before the cache was built",
                bytes(peak as u64),
                bytes(before as u64),
            )?,
            _ => writeln!(f, "           the process: not available")?,
        }
        writeln!(
            f,
            "worst      look-up {:.1?} (half within {:.1?}, 99.9 % within {:.1?}); an idle thread woke up {:.1?} late",
            outcome.lookups.worst(),
            outcome.lookups.quantile(0.5),
            outcome.lookups.quantile(0.999),
            outcome.control.worst(),
        )?;
        if outcome.faults.is_empty() {
            writeln!(f, "\nEverything checked out.")?;
        }
        Ok(())
    }
}

fn per_minute(outcome: &Outcome) -> u64 {
    (outcome.operations as f64 * 60.0 / outcome.elapsed.as_secs_f64().max(1e-9)) as u64
}

/// The callbacks of each cause.
fn causes(outcome: &Outcome) -> [(&'static str, u64); RemovalCause::ALL.len()] {
    let stats = &outcome.stats;
    RemovalCause::ALL.map(|cause| {
        let count = match cause {
            RemovalCause::Taken => stats.taken,
            RemovalCause::Removed => stats.removed + stats.never_added,
            RemovalCause::Expired => stats.expired,
            RemovalCause::Evicted => stats.evicted,
            RemovalCause::Invalidated => stats.invalidated,
            RemovalCause::Cleared => stats.cleared,
            RemovalCause::Retained => stats.retained,
            RemovalCause::Refused => stats.refused,
            RemovalCause::Dropped => stats.dropped,
            _ => 0,
        };
        (cause.as_str(), count)
    })
}

/// The report for programs: one object.
pub(crate) fn json(outcome: &Outcome) -> Value {
    let Outcome {
        options,
        seen,
        stats,
        memory,
        books,
        ..
    } = outcome;
    json!({
        "seconds": outcome.elapsed.as_secs_f64(),
        "threads": options.threads,
        "capacity": options.capacity,
        "timeout": options.timeout.as_secs_f64(),
        "seed": options.seed,
        "rounds": outcome.rounds,
        "operations": outcome.operations,
        "operations_per_minute": per_minute(outcome),
        "hits": stats.hits,
        "misses": stats.misses,
        "timeouts": stats.timeouts,
        "not_cached": stats.not_cached,
        "not_cached_backlog": stats.not_cached_backlog,
        "governor": {
            "limits": seen.limits,
            "invalidations": seen.invalidations,
            "swaps": seen.swaps,
            "stuck": seen.stuck,
            "backed_up": seen.backed_up,
        },
        "balance": object(books.balance.columns()),
        "callbacks": books.callbacks,
        "callbacks_due": books.callbacks_due,
        "callback_panics": stats.callback_panics,
        "causes": object(causes(outcome)),
        "memory": {
            "peak": memory.peak,
            "bound": memory.bound(),
            "budget": memory.budget,
            "backlog": memory.backlog,
            "handles": memory.handles,
            "kept": memory.kept,
            "left": memory.left,
            "peak_live": seen.peak_live,
            "peak_backlog": seen.peak_backlog,
            "peak_resident": seen.peak_resident,
            "resident_before": memory.resident_before,
        },
        "lookup_us": latency(&outcome.lookups),
        "control_us": latency(&outcome.control),
        "faults": outcome.faults,
    })
}

fn object<const N: usize>(columns: [(&'static str, u64); N]) -> Value {
    let pairs = columns.map(|(name, count)| (name.to_owned(), Value::from(count)));
    Value::Object(Map::from_iter(pairs))
}

/// In microseconds.
fn latency(latencies: &Latencies) -> Value {
    let micros = |time: std::time::Duration| time.as_nanos() as f64 / 1e3;
    json!({
        "count": latencies.count(),
        "p50": micros(latencies.quantile(0.5)),
        "p99.9": micros(latencies.quantile(0.999)),
        "worst": micros(latencies.worst()),
    })
}
