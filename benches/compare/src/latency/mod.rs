//! How long single operations take while something goes on.

mod latencies;
mod plot;
mod scenario;
mod trial;

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Options;
use crate::cache::Cache;
use crate::progress::Progress;
use crate::rivals::{Visitor, visit};
use crate::stop;
use crate::table::markdown;

pub(crate) use latencies::human;
use latencies::{Latencies, PARTS};
pub(crate) use plot::draw;
use scenario::Scenario;
use trial::{Plan, Trial};

const MANY: usize = 1_000_000;
const QUICK: usize = 100_000;

/// One scenario with everybody.
#[derive(Debug)]
pub(crate) struct Scene {
    scenario: Scenario,
    sessions: usize,
    trials: Vec<(&'static str, Result<Trial, String>)>,
}

/// Plays all scenarios. `shown` gets each when it is complete.
pub(crate) fn run(options: &Options, mut shown: impl FnMut(&Scene)) -> Vec<Scene> {
    let sessions = if options.quick { QUICK } else { MANY };
    let payload = options.payloads[0];
    let steps = scenario::ALL.len() * options.rivals.len();
    let progress = Progress::start(steps as u64);
    let mut scenes = Vec::new();
    for scenario in scenario::ALL {
        let mut scene = Scene {
            scenario,
            sessions,
            trials: Vec::new(),
        };
        for name in &options.rivals {
            if stop::is_asked() {
                return scenes;
            }
            progress.begin(format_args!("{}: {name}", scenario.name()));
            let mut player = Player {
                plan: Plan {
                    scenario,
                    sessions,
                    payload,
                    time: Duration::from_secs_f64(options.seconds),
                    seed: options.seed,
                },
                played: Err("no such rival".to_owned()),
            };
            visit(name, &mut player);
            scene.trials.push((name, player.played));
            progress.step(1);
        }
        progress.print(|| shown(&scene));
        scenes.push(scene);
    }
    scenes
}

struct Player {
    plan: Plan,
    played: Result<Trial, String>,
}

impl Visitor for Player {
    fn visit<C: Cache>(&mut self) {
        self.played = match self.plan.scenario.lacks::<C>() {
            Some(why) => Err(why.to_owned()),
            None => trial::run::<C>(self.plan),
        };
    }
}

impl Scene {
    pub(crate) fn name(&self) -> &'static str {
        self.scenario.name()
    }

    /// The rivals that took part.
    fn played(&self) -> impl Iterator<Item = (&'static str, &Trial)> {
        let trials = self.trials.iter();
        trials.filter_map(|(name, trial)| Some((*name, trial.as_ref().ok()?)))
    }

    /// As a table.
    pub(crate) fn text(&self) -> String {
        let mut head = vec!["rival".to_owned(), String::new()];
        head.extend(PARTS.iter().map(|(name, _)| (*name).to_owned()));
        head.extend(["max", "samples", "remarks"].map(str::to_owned));
        let mut rows = Vec::new();
        for (name, trial) in self.played() {
            rows.push(row(name, "look-up", &trial.lookups, &self.remarks(trial)));
            rows.push(row("", "add", &trial.adds, &refusals(trial)));
            rows.push(row("", "control", &trial.control, ""));
        }
        format!(
            "\n### {}: {}\n\n{}{}",
            self.name(),
            self.scenario.what(self.sessions),
            markdown(&head, &rows),
            self.absent()
        )
    }

    /// Who did not take part, by reason.
    fn absent(&self) -> String {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (name, trial) in &self.trials {
            let Err(why) = trial else { continue };
            match reasons.iter_mut().find(|(known, _)| known == why) {
                Some((_, names)) => names.push(name),
                None => reasons.push((why, vec![name])),
            }
        }
        let lines: String = reasons
            .iter()
            .map(|(why, names)| format!("- {}: {why}\n", names.join(", ")))
            .collect();
        match lines.is_empty() {
            true => lines,
            false => format!("\nNot taking part:\n\n{lines}"),
        }
    }

    fn remarks(&self, trial: &Trial) -> String {
        let mut remarks = Vec::new();
        if let Some(event) = trial.event {
            remarks.push(format!("it took {}", human(event.as_nanos() as u64)));
        }
        let hits = trial.found as f64 / trial.lookups.count().max(1) as f64;
        if hits < 0.9995 {
            remarks.push(format!("hits {:.1} %", 100.0 * hits));
        }
        remarks.join("; ")
    }

    pub(crate) fn json(&self) -> Value {
        let trials: Vec<Value> = self
            .trials
            .iter()
            .map(|(name, trial)| match trial {
                Ok(trial) => json!({
                    "rival": name,
                    "event_ns": trial.event.map(|event| event.as_nanos() as u64),
                    "lookups": figures(&trial.lookups),
                    "adds": figures(&trial.adds),
                    "control": figures(&trial.control),
                    "found": trial.found,
                    "refused": trial.refused,
                }),
                Err(why) => json!({"rival": name, "none": why}),
            })
            .collect();
        json!({
            "scenario": self.name(),
            "what": self.scenario.what(self.sessions),
            "sessions": self.sessions,
            "rivals": trials,
        })
    }
}

fn row(name: &str, what: &str, latencies: &Latencies, remarks: &str) -> Vec<String> {
    let mut cells = vec![name.to_owned(), what.to_owned()];
    cells.extend(latencies.figures().map(human));
    cells.push(latencies.count().to_string());
    cells.push(remarks.to_owned());
    cells
}

fn refusals(trial: &Trial) -> String {
    match trial.refused {
        0 => String::new(),
        refused => format!(
            "{:.2} % refused",
            100.0 * refused as f64 / trial.adds.count().max(1) as f64
        ),
    }
}

fn figures(latencies: &Latencies) -> Value {
    let [p50, p99, p999, p9999, max] = latencies.figures();
    json!({
        "samples": latencies.count(),
        "p50_ns": p50, "p99_ns": p99, "p99.9_ns": p999, "p99.99_ns": p9999, "max_ns": max,
    })
}
