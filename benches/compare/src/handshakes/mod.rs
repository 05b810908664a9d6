//! What a server and its clients see of a cache: handshakes a second, and how long they take; also while many sessions
//! are flushed. It is the crate's examples that run, each with Refrain, with its library's own cache, and with none.

mod example;

use serde_json::{Value, json};

use crate::args::Options;
use crate::figures::{Summary, digits, ratio};
use crate::latency::human;
use crate::plot::Bar;
use crate::progress::Progress;
use crate::stop;
use crate::table::markdown;
use crate::throughput::REFERENCE;

use example::{Example, Load};

const VERSIONS: [&str; 2] = ["1.2", "1.3"];
/// Sessions that are flushed.
const MANY: usize = 1_000_000;
const QUICK: usize = 100_000;
const ROUNDS: usize = 7;
const QUICK_ROUNDS: usize = 3;
/// Connections of a run, for each second that it may take: about what a core makes.
const PACE: f64 = 2000.0;
/// So many are needed to see anything.
const FEWEST: u64 = 100;
/// Of the examples' latencies.
const PARTS: [&str; 3] = ["p50", "p99", "p99.9"];

/// One case, with every cache that takes part.
#[derive(Debug)]
pub(crate) struct Scene {
    example: &'static Example,
    load: Load,
    /// By cache, the results of its runs.
    rows: Vec<(&'static str, Vec<Value>)>,
}

/// What a run yields.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) scenes: Vec<Scene>,
    /// Runs that failed.
    pub(crate) faults: Vec<String>,
}

/// Measures all. `shown` gets each case when it is complete.
pub(crate) fn run(options: &Options, mut shown: impl FnMut(&Scene)) -> Result<Outcome, String> {
    let programs = example::build()?;
    let rounds = if options.quick { QUICK_ROUNDS } else { ROUNDS };
    let mut cases: Vec<(Scene, _)> = Vec::new();
    for (example, program) in example::ALL.iter().zip(&programs) {
        cases.extend(scenes(options, example).map(|scene| (scene, program)));
    }
    let runs: usize = cases.iter().map(|(scene, _)| scene.rows.len()).sum();
    let progress = Progress::start((runs * rounds) as u64);
    let mut outcome = Outcome::default();
    for (mut scene, program) in cases {
        if stop::is_asked() {
            break;
        }
        progress.begin(scene.title());
        let caches = scene.rows.len();
        for turn in 0..rounds * caches {
            if stop::is_asked() {
                break;
            }
            // Each round begins with another.
            let (cache, found) = &mut scene.rows[(turn + turn / caches) % caches];
            match example::run(program, cache, scene.load) {
                Ok(result) => found.push(result),
                // An interrupted one was not asked to finish.
                Err(_) if stop::is_asked() => break,
                Err(fault) => outcome.faults.push(fault),
            }
            progress.step(1);
        }
        if scene.rows.iter().any(|(_, found)| !found.is_empty()) {
            progress.print(|| shown(&scene));
            outcome.scenes.push(scene);
        }
    }
    Ok(outcome)
}

/// All cases of one example: each version on each number of threads, without a flush and with one.
fn scenes(options: &Options, example: &'static Example) -> impl Iterator<Item = Scene> {
    let flushed = if options.quick { QUICK } else { MANY };
    let connections = ((PACE * options.seconds) as u64).max(FEWEST);
    let loads = options.threads.iter().flat_map(move |threads| {
        VERSIONS.iter().flat_map(move |tls| {
            [None, Some(flushed)].map(|flush| Load {
                tls,
                threads: *threads,
                connections,
                flush,
            })
        })
    });
    loads.map(move |load| {
        let caches = match load.flush {
            Some(_) => example.flushed,
            None => &example.caches,
        };
        Scene {
            example,
            load,
            rows: caches.iter().map(|cache| (*cache, Vec::new())).collect(),
        }
    })
}

/// A number in a result; one for each run that has it.
fn all(found: &[Value], path: &str) -> Vec<f64> {
    let numbers = found.iter().map(|result| result.pointer(path)?.as_f64());
    numbers.flatten().collect()
}

fn rates(found: &[Value]) -> Vec<f64> {
    let handshakes = all(found, "/handshakes").into_iter();
    let rates = handshakes.zip(all(found, "/seconds"));
    rates
        .map(|(count, seconds)| count / seconds.max(1e-9))
        .collect()
}

/// The median, as a time.
fn time(found: &[Value], path: &str) -> String {
    let micros = Summary::of(&all(found, path));
    micros.map_or("-".to_owned(), |micros| human((micros.median * 1e3) as u64))
}

impl Scene {
    /// For files.
    pub(crate) fn name(&self) -> String {
        let Load { tls, threads, .. } = self.load;
        let flush = self.load.flush.map_or("", |_| "-flush");
        format!("{}-{tls}-{threads}{flush}", self.example.library)
    }

    pub(crate) fn title(&self) -> String {
        let Load { tls, threads, .. } = self.load;
        let threads = match threads {
            1 => "1 server thread".to_owned(),
            n => format!("{n} server threads"),
        };
        let flush = self.load.flush.map(|sessions| {
            let sessions = match sessions {
                MANY => "a million".to_owned(),
                other => format!("{} thousand", other / 1000),
            };
            format!(" while {sessions} sessions are flushed")
        });
        format!(
            "TLS {tls} by {}, {threads}{}",
            self.example.library,
            flush.unwrap_or_default()
        )
    }

    pub(crate) fn text(&self) -> String {
        let (head, rows) = match self.load.flush {
            None => self.quiet(),
            Some(_) => self.flushed(),
        };
        format!(
            "\n### {}\n\n{} connections in each of {} runs. Handshakes a second: median (p10 to p90), times refrain's; \
             medians of the runs' latencies.\n\n{}",
            self.title(),
            self.load.connections,
            self.rows
                .iter()
                .map(|(_, found)| found.len())
                .max()
                .unwrap_or(0),
            markdown(&head.map(str::to_owned), &rows)
        )
    }

    fn quiet(&self) -> ([&'static str; 9], Vec<Vec<String>>) {
        let head = [
            "cache",
            "a second",
            "resumed",
            "resumed p50",
            "p99",
            "p99.9",
            "full p50",
            "p99",
            "p99.9",
        ];
        let row = |(cache, found): &(&str, Vec<Value>)| {
            let sum = |path| all(found, path).iter().sum::<f64>();
            let resumed = 100.0 * sum("/resumed") / sum("/handshakes").max(1.0);
            let mut cells = vec![
                (*cache).to_owned(),
                self.rate(found),
                format!("{resumed:.1} %"),
            ];
            for kind in ["resumed", "full"] {
                let cell = |part| time(found, &format!("/latency_us/{kind}/{part}"));
                cells.extend(PARTS.map(cell));
            }
            cells
        };
        (head, self.rows.iter().map(row).collect())
    }

    fn flushed(&self) -> ([&'static str; 9], Vec<Vec<String>>) {
        let head = [
            "cache",
            "a second",
            "flush took",
            "handshakes meanwhile",
            "p50",
            "p99",
            "p99.9",
            "slowest",
            "slowest of all",
        ];
        let row = |(cache, found): &(&str, Vec<Value>)| {
            let mut cells = vec![(*cache).to_owned(), self.rate(found)];
            let median = |path| Summary::of(&all(found, path)).map_or(0.0, |all| all.median);
            cells.push(human((median("/flush/seconds") * 1e9) as u64));
            cells.push(format!("{:.0}", median("/flush/handshakes")));
            let path = |part| format!("/flush/latency_us/{part}");
            cells.extend(PARTS.map(|part| time(found, &path(part))));
            cells.push(time(found, &path("max")));
            let slowest = all(found, &path("max")).into_iter().fold(0.0, f64::max);
            cells.push(human((slowest * 1e3) as u64));
            cells
        };
        (head, self.rows.iter().map(row).collect())
    }

    fn reference(&self) -> Vec<f64> {
        let mut rows = self.rows.iter();
        let found = rows.find(|(cache, _)| *cache == REFERENCE);
        found.map_or(Vec::new(), |(_, found)| rates(found))
    }

    fn rate(&self, found: &[Value]) -> String {
        let rates = rates(found);
        let Some(rate) = Summary::of(&rates) else {
            return "-".to_owned();
        };
        let ratio = ratio(&rates, &self.reference());
        format!(
            "{} ({} to {}){}",
            digits(rate.median),
            digits(rate.low),
            digits(rate.high),
            ratio.map_or(String::new(), |ratio| format!(" x{ratio:.2}"))
        )
    }

    pub(crate) fn json(&self) -> Value {
        let row = |(cache, found): &(&str, Vec<Value>)| {
            let rates = rates(found);
            let rate = Summary::of(&rates);
            json!({
                "cache": cache,
                "per_second": rate.map(|rate| rate.median),
                "p10": rate.map(|rate| rate.low),
                "p90": rate.map(|rate| rate.high),
                "times_refrain": ratio(&rates, &self.reference()),
                "runs": found,
            })
        };
        json!({
            "example": self.example.name,
            "tls": self.load.tls,
            "threads": self.load.threads,
            "connections": self.load.connections,
            "flush": self.load.flush,
            "caches": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// What a plot shows: handshakes a second, or the slowest that a flush met.
    pub(crate) fn bars(&self) -> (&'static str, Vec<Bar>) {
        let what = match self.load.flush {
            None => "handshakes a second",
            Some(_) => "milliseconds of the slowest handshake during the flush",
        };
        let bar = |(cache, found): &(&'static str, Vec<Value>)| {
            let values: Vec<f64> = match self.load.flush {
                None => rates(found),
                Some(_) => {
                    let micros = all(found, "/flush/latency_us/max");
                    micros.iter().map(|micros| micros / 1e3).collect()
                }
            };
            let summary = Summary::of(&values)?;
            Some(Bar {
                name: cache,
                value: summary.median,
                low: summary.low,
                high: summary.high,
            })
        };
        (what, self.rows.iter().filter_map(bar).collect())
    }
}
