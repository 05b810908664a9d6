//! What a run came to, for people and for programs.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use indicatif::HumanCount;
use serde_json::{Map, Value, json};

use crate::latencies::Latencies;
use crate::phase::{Kind, Offers, Phase, Weather};
use crate::progress::percent;
use crate::run::Outcome;
use crate::timed::OUTCOMES;

/// The quantiles of latency that are reported.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];
/// The counts of the nodes that are reported.
const COUNTS: [&str; 8] = [
    "timeouts",
    "unavailable",
    "denied_breaker",
    "unsent",
    "queue_dropped",
    "writes_lost",
    "breaker_openings",
    "breaker_closings",
];

/// The report for people.
pub(crate) struct Text<'a>(pub(crate) &'a Outcome);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Outcome {
            options,
            phases,
            uses,
            ..
        } = self.0;
        writeln!(
            f,
            "two nodes on {}, {} clients of TLS 1.2 and 1.3, {} threads each, {} ms for a read",
            self.0.redis,
            HumanCount(self.0.clients as u64),
            options.threads,
            options.budget.as_millis(),
        )?;
        for phase in phases {
            if phases.len() > 1 {
                writeln!(f, "\n--- {}", phase.name)?;
            }
            part(f, phase, options.budget)?;
        }
        if let Some(returned) = self.0.returned {
            writeln!(
                f,
                "\nstore      used again {:.1} s after its return",
                returned.as_secs_f64()
            )?;
        }
        writeln!(
            f,
            "\nsingle use {} sessions offered: {} used once, {} more than once, {} never",
            HumanCount(uses.iter().sum()),
            HumanCount(uses[1]),
            HumanCount(uses[2]),
            HumanCount(uses[0]),
        )?;
        if self.0.faults.is_empty() {
            writeln!(f, "\nEverything checked out.")?;
        }
        Ok(())
    }
}

fn part(f: &mut Formatter<'_>, phase: &Phase, budget: Duration) -> fmt::Result {
    writeln!(f)?;
    row(
        f,
        ["handshakes", "count", "p50", "p99", "max"].map(str::to_owned),
    )?;
    for (kind, name) in Kind::ALL {
        latencies(f, name, phase.latencies(kind))?;
    }
    row(f, ["look-ups", "", "", "", ""].map(str::to_owned))?;
    for (name, lookups) in OUTCOMES.into_iter().zip(&phase.lookups) {
        latencies(f, name, lookups)?;
    }
    let offers = |Offers { offered, resumed }| {
        let share = percent(resumed, offered);
        format!(
            "{} of {} ({share})",
            HumanCount(resumed),
            HumanCount(offered)
        )
    };
    writeln!(
        f,
        "resumption across nodes {}; at the same node: TLS 1.2 {}, TLS 1.3 {}",
        offers(phase.across),
        offers(phase.again),
        offers(phase.claimed),
    )?;
    writeln!(
        f,
        "           of sessions offered three times at once, to both nodes, {} were used",
        offers(phase.raced),
    )?;
    if phase.weather == Weather::Fair && phase.excused() > 0 {
        let excused = HumanCount(phase.excused());
        writeln!(f, "           {excused} lost because the store was late")?;
    }
    writeln!(
        f,
        "store      {:.2} reads and {:.2} writes per handshake, in {:.2} batches; {} look-ups beyond the budget",
        phase.per_handshake("reads"),
        phase.per_handshake("writes"),
        phase.per_handshake("batches"),
        phase.late(budget),
    )?;
    let counts: Vec<_> = COUNTS
        .into_iter()
        .filter(|name| phase.count(name) > 0)
        .map(|name| format!("{name} {}", HumanCount(phase.count(name))))
        .collect();
    if !counts.is_empty() {
        writeln!(f, "           {}", counts.join(", "))?;
    }
    writeln!(
        f,
        "failed     {} of {} handshakes",
        HumanCount(phase.errors),
        HumanCount(phase.handshakes())
    )
}

fn latencies(f: &mut Formatter<'_>, name: &str, latencies: &Latencies) -> fmt::Result {
    let [p50, p99, max] = QUANTILES.map(|(_, part)| match latencies.count() {
        0 => "-".to_owned(),
        _ => format!("{:.3} ms", latencies.quantile(part).as_secs_f64() * 1e3),
    });
    let count = HumanCount(latencies.count()).to_string();
    row(f, [format!("  {name}"), count, p50, p99, max])
}

fn row(f: &mut Formatter<'_>, [name, count, p50, p99, max]: [String; 5]) -> fmt::Result {
    let line = format!("{name:<14} {count:>9} {p50:>11} {p99:>11} {max:>11}");
    writeln!(f, "{}", line.trim_end())
}

/// The report for programs: one object.
pub(crate) fn json(outcome: &Outcome) -> Value {
    let options = &outcome.options;
    let phases = outcome.phases.iter();
    json!({
        "redis": outcome.redis,
        "clients": outcome.clients,
        "threads": options.threads,
        "budget_us": options.budget.as_micros() as u64,
        "phases": phases.map(|phase| phase_json(phase, options.budget)).collect::<Vec<_>>(),
        "single_use": { "never": outcome.uses[0], "once": outcome.uses[1], "more": outcome.uses[2] },
        "returned_seconds": outcome.returned.map(|after| after.as_secs_f64()),
        "faults": outcome.faults,
    })
}

fn phase_json(phase: &Phase, budget: Duration) -> Value {
    let offers = |Offers { offered, resumed }| json!({ "offered": offered, "resumed": resumed });
    let handshakes = Kind::ALL.map(|(kind, name)| (name, phase.latencies(kind)));
    let lookups = OUTCOMES.into_iter().zip(&phase.lookups);
    let counts = COUNTS.map(|name| (name.to_owned(), phase.count(name).into()));
    json!({
        "name": phase.name,
        "seconds": phase.elapsed.as_secs_f64(),
        "handshakes": phase.handshakes(),
        "errors": phase.errors,
        "handshake_us": table(handshakes),
        "lookup_us": table(lookups),
        "across": offers(phase.across),
        "again_tls12": offers(phase.again),
        "again_tls13": offers(phase.claimed),
        "raced": offers(phase.raced),
        "excused": phase.excused(),
        "late_lookups": phase.late(budget),
        "reads_per_handshake": phase.per_handshake("reads"),
        "writes_per_handshake": phase.per_handshake("writes"),
        "batches_per_handshake": phase.per_handshake("batches"),
        "nodes": Map::from_iter(counts),
    })
}

/// Count and quantiles in microseconds, by name; null where there are none.
fn table<'a>(rows: impl IntoIterator<Item = (&'static str, &'a Latencies)>) -> Value {
    let mut object = Map::new();
    for (name, latencies) in rows {
        let mut row = Map::from_iter([("count".to_owned(), latencies.count().into())]);
        for (quantile, part) in QUANTILES {
            let value = match latencies.count() {
                0 => Value::Null,
                _ => json!(latencies.quantile(part).as_nanos() as f64 / 1e3),
            };
            row.insert(quantile.to_owned(), value);
        }
        object.insert(name.replace([' ', '-'], "_"), Value::Object(row));
    }
    Value::Object(object)
}
