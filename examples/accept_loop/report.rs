//! What a run came to, for people and for programs.

use std::fmt::{self, Display, Formatter};

use indicatif::HumanCount;
use serde_json::{Map, Value, json};

use crate::args::TlsChoice;
use crate::books::Balance;
use crate::latencies::Latencies;
use crate::progress::percent;
use crate::run::Outcome;
use crate::store::Closing;

/// The quantiles of latency that are reported.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The report for people.
pub(crate) struct Text<'a>(pub(crate) &'a Outcome);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let outcome = self.0;
        let Outcome {
            options,
            tally,
            findings,
            ..
        } = outcome;
        let seconds = outcome.elapsed.as_secs_f64();
        let versions = match options.tls {
            TlsChoice::Both => "1.2 and 1.3",
            one => one.as_str(),
        };
        writeln!(
            f,
            "{} handshakes in {seconds:.1} s: TLS {versions}, cache {}, {} clients, {} server and {} client threads\n",
            HumanCount(tally.full.count() + tally.resumed.count()),
            options.cache.as_str(),
            HumanCount(outcome.clients as u64),
            options.threads,
            options.threads.min(outcome.clients),
        )?;

        let columns = ["handshakes", "count", "per second", "p50", "p99", "p99.9"];
        row(f, columns.map(str::to_owned))?;
        for (kind, latencies) in [("  full", &tally.full), ("  resumed", &tally.resumed)] {
            let count = latencies.count();
            let rate = (count as f64 / seconds.max(1e-9)).round() as u64;
            let [p50, p99, p999] = QUANTILES.map(|(_, part)| match count {
                0 => "-".to_owned(),
                _ => format!("{:.3} ms", latencies.quantile(part).as_secs_f64() * 1e3),
            });
            let [count, rate] = [count, rate].map(|number| HumanCount(number).to_string());
            row(f, [kind.to_owned(), count, rate, p50, p99, p999])?;
        }
        if let Some(flushed) = &outcome.flushed {
            let met = &tally.flushed;
            writeln!(
                f,
                "\nflush      of {} sessions took {:.3} s and met {} handshakes, the slowest of {:.3} ms",
                HumanCount(flushed.sessions as u64),
                flushed.took.as_secs_f64(),
                HumanCount(met.count()),
                met.quantile(1.0).as_secs_f64() * 1e3,
            )?;
        }

        let (live, resumed) = (outcome.offered_live(), tally.resumed_live);
        write!(
            f,
            "\nresumption {} of {} live sessions offered ({})",
            HumanCount(resumed),
            HumanCount(live),
            percent(resumed, live),
        )?;
        if findings.evicted_meanwhile > 0 {
            write!(
                f,
                ", {} more were being evicted",
                HumanCount(findings.evicted_meanwhile)
            )?;
        }
        if outcome.excused() > 0 {
            let excused = HumanCount(outcome.excused());
            write!(f, ", {excused} were lost because the file was late")?;
        }
        writeln!(
            f,
            "\nreplays    {} recorded TLS 1.3 hellos sent again, {} of them won the session; {} sessions resumed twice",
            HumanCount(tally.replays_offered),
            HumanCount(tally.replays_accepted),
            HumanCount(findings.reused_twice),
        )?;
        if let Some(restart) = &outcome.restart {
            writeln!(
                f,
                "restart    {} of {} sessions resumed after it, {} of {} used ones once more",
                HumanCount(restart.resumed),
                HumanCount(restart.offered),
                HumanCount(restart.reused),
                HumanCount(restart.used),
            )?;
        }
        write!(f, "{}", outcome.library)?;
        let Some(closing) = &outcome.closing else {
            return writeln!(
                f,
                "checks     off: cache {} has no books",
                options.cache.as_str()
            );
        };
        write!(f, "\ncache      {}\n{closing}", statistics(&closing.stats))?;
        if outcome.faults.is_empty() {
            writeln!(f, "\nEverything checked out.")?;
        }
        Ok(())
    }
}

/// A row of the table of handshakes.
fn row(f: &mut Formatter<'_>, [kind, count, rate, p50, p99, p999]: [String; 6]) -> fmt::Result {
    writeln!(
        f,
        "{kind:<10} {count:>12} {rate:>12} {p50:>11} {p99:>11} {p999:>11}"
    )
}

impl Display for Closing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, books) in [
            ("balance", &self.before_drop),
            ("dropped", &self.after_drop),
        ] {
            writeln!(f, "{name:<10} {}", books.balance)?;
            let (fired, due) = (HumanCount(books.callbacks), HumanCount(books.callbacks_due));
            writeln!(f, "           {fired} callbacks fired, {due} due")?;
        }
        Ok(())
    }
}

/// The cache's statistics that are not in the balance, in a line.
pub(crate) fn statistics(stats: &refrain::Stats) -> String {
    format!(
        "{} hits, {} misses, {} found expired, {} not cached, {} bytes in {} sessions",
        HumanCount(stats.hits),
        HumanCount(stats.misses),
        HumanCount(stats.timeouts),
        HumanCount(stats.not_cached),
        HumanCount(stats.bytes),
        HumanCount(stats.entries),
    )
}

/// The report for programs: one object.
pub(crate) fn json(outcome: &Outcome) -> Value {
    let Outcome {
        options,
        tally,
        findings,
        ..
    } = outcome;
    let seconds = outcome.elapsed.as_secs_f64();
    let (full, resumed) = (tally.full.count(), tally.resumed.count());
    let closing = outcome.closing.as_ref();
    let before = closing.map(|closing| &closing.before_drop);
    json!({
        "cache": options.cache.as_str(),
        "tls": options.tls.as_str(),
        "threads": options.threads,
        "clients": outcome.clients,
        "connections": options.connections,
        "timeout": options.timeout.as_secs_f64(),
        "capacity": options.capacity,
        "seconds": seconds,
        "handshakes": full + resumed,
        "full": full,
        "resumed": resumed,
        "full_per_second": full as f64 / seconds.max(1e-9),
        "resumed_per_second": resumed as f64 / seconds.max(1e-9),
        "latency_us": { "full": latency(&tally.full), "resumed": latency(&tally.resumed) },
        "flush": outcome.flushed.as_ref().map(|flushed| json!({
            "sessions": flushed.sessions,
            "seconds": flushed.took.as_secs_f64(),
            "handshakes": tally.flushed.count(),
            "latency_us": latency(&tally.flushed),
        })),
        "offered_live": outcome.offered_live(),
        "resumed_live": tally.resumed_live,
        "evicted_meanwhile": findings.evicted_meanwhile,
        "replays_offered": tally.replays_offered,
        "replays_accepted": tally.replays_accepted,
        "reused_twice": findings.reused_twice,
        "restart": outcome.restart.as_ref().map(|restart| json!({
            "offered": restart.offered,
            "resumed": restart.resumed,
            "used": restart.used,
            "reused": restart.reused,
        })),
        "errors": tally.errors,
        "callbacks": before.map(|books| books.callbacks),
        "balance": before.map(|books| balance(&books.balance)),
        "after_drop": closing.map(|closing| json!({
            "callbacks": closing.after_drop.callbacks,
            "balance": balance(&closing.after_drop.balance),
        })),
        "statistics": closing.map(|closing| json!({
            "hits": closing.stats.hits,
            "misses": closing.stats.misses,
            "timeouts": closing.stats.timeouts,
            "not_cached": closing.stats.not_cached,
            "bytes": closing.stats.bytes,
        })),
        "library": outcome.library.json(),
        "faults": outcome.faults,
    })
}

fn balance(balance: &Balance) -> Value {
    balance
        .columns()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), Value::from(count)))
        .collect()
}

/// The quantiles and the maximum in microseconds, or null where there was no handshake.
fn latency(latencies: &Latencies) -> Value {
    let mut object = Map::new();
    for (name, part) in QUANTILES.into_iter().chain([("max", 1.0)]) {
        let microseconds = latencies.quantile(part).as_nanos() as f64 / 1e3;
        let value = if latencies.count() == 0 {
            Value::Null
        } else {
            json!(microseconds)
        };
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}
