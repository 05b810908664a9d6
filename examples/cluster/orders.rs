//! What a node is told by the process that starts it, and what it tells: lines of JSON. Keys come by the standard input,
//! because others can read a command line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hex;
use crate::latencies::Latencies;
use crate::material::Material;
use crate::timed::{Lookups, no_lookups};

/// All that makes a node.
pub(crate) struct Orders {
    pub(crate) redis: String,
    pub(crate) keys: Material,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) threads: usize,
    /// For each read of the store.
    pub(crate) budget: Duration,
}

impl Orders {
    pub(crate) fn line(&self) -> String {
        let value = json!({
            "redis": self.redis,
            "keys": self.keys.text(),
            "certificate": hex::encode(&self.certificate),
            "key": hex::encode(&self.key),
            "threads": self.threads,
            "budget_us": self.budget.as_micros() as u64,
        });
        format!("{value}\n")
    }

    /// Reads the line; `None` if it is not one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str();
        Some(Self {
            redis: text("redis")?.to_owned(),
            keys: Material::parse(text("keys")?).ok()?,
            certificate: hex::decode(text("certificate")?)?,
            key: hex::decode(text("key")?)?,
            threads: value["threads"].as_u64()? as usize,
            budget: Duration::from_micros(value["budget_us"].as_u64()?),
        })
    }
}

/// What a node says of itself.
pub(crate) struct State {
    /// Whether all that was queued is written, the counts of invalidations are known, and the breaker is closed.
    pub(crate) settled: bool,
    /// Since the node began, by name.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Since they were told last.
    pub(crate) lookups: Lookups,
}

impl State {
    pub(crate) fn line(&self) -> String {
        let lookups: Vec<_> = self.lookups.iter().map(Latencies::pairs).collect();
        let value = json!({ "settled": self.settled, "counts": self.counts, "lookups": lookups });
        format!("{value}\n")
    }

    /// Reads the line; `None` if it is not one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let counts = value["counts"].as_object()?.iter();
        let mut lookups = no_lookups();
        for (latencies, pairs) in lookups.iter_mut().zip(value["lookups"].as_array()?) {
            for pair in pairs.as_array()? {
                let nanos = pair[0].as_u64()?;
                latencies.record_many(Duration::from_nanos(nanos), pair[1].as_u64()?);
            }
        }
        Some(Self {
            settled: value["settled"].as_bool()?,
            counts: counts
                .map(|(name, count)| Some((name.clone(), count.as_u64()?)))
                .collect::<Option<_>>()?,
            lookups,
        })
    }
}
