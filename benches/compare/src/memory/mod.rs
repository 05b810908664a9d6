//! How much memory a session takes beyond its payload, and whether an hour of single-use sessions takes more and more.
//!
//! Each rival has a process of its own: a heap that another has used would tell little.

mod churn;
mod filled;

use std::env;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::args::Options;
use crate::plot::Bar;
use crate::progress::Progress;
use crate::stop;
use crate::table::markdown;

/// The first argument of a process that measures: `child filled RIVAL SESSIONS PAYLOAD SEED` and
/// `child churn HANDSHAKES_A_SECOND PAYLOAD SEED`. It prints a JSON object.
pub(crate) const CHILD: &str = "child";

const SIZES: [usize; 2] = [20_000, 1_000_000];
/// TLS 1.3 handshakes in a second of the clock that is moved by hand.
const RATE: usize = 500;
const QUICK_RATE: usize = 100;

/// What a run yields.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) json: Value,
    pub(crate) faults: Vec<String>,
    /// For plots: a name, a title, and its bars.
    pub(crate) plots: Vec<(String, String, Vec<Bar>)>,
}

/// Measures all. `shown` gets each table when it is complete.
pub(crate) fn run(options: &Options, mut shown: impl FnMut(&str)) -> Result<Outcome, String> {
    let cases = SIZES.len() * options.payloads.len();
    let progress = Progress::start((cases * options.rivals.len() + 1) as u64);
    let mut outcome = Outcome::default();
    let mut tables = Vec::new();
    for sessions in SIZES {
        for payload in &options.payloads {
            let mut results = Vec::new();
            for rival in &options.rivals {
                if stop::is_asked() {
                    return Ok(outcome);
                }
                progress.begin(format_args!(
                    "{rival}: {sessions} sessions of {payload} bytes"
                ));
                let (sessions, payload) = (sessions.to_string(), payload.to_string());
                let seed = options.seed.to_string();
                let found = child(&["filled", rival, &sessions, &payload, &seed])?;
                results.push((*rival, found));
                progress.step(1);
            }
            let text = filled_text(sessions, *payload, &results);
            progress.print(|| shown(&text));
            outcome.text += &text;
            outcome.plots.push((
                format!("memory-{sessions}-{payload}"),
                format!("bytes a session beyond its {payload} bytes, {sessions} sessions"),
                bars(&results),
            ));
            let rivals: Vec<&Value> = results.iter().map(|(_, found)| found).collect();
            tables.push(json!({"sessions": sessions, "payload": payload, "rivals": rivals}));
        }
    }
    progress.begin("refrain: an hour of single-use sessions");
    let rate = if options.quick { QUICK_RATE } else { RATE }.to_string();
    let (payload, seed) = (options.payloads[0].to_string(), options.seed.to_string());
    let hour = child(&["churn", &rate, &payload, &seed])?;
    let text = churn::text(&hour);
    progress.print(|| shown(&text));
    outcome.text += &text;
    let faults = hour["faults"].as_array().into_iter().flatten();
    outcome.faults = faults
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    outcome.json = json!({"filled": tables, "churn": hour});
    Ok(outcome)
}

/// What a process of its own found.
fn child(arguments: &[&str]) -> Result<Value, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", arguments.join(" "));
    let program = env::current_exe().map_err(|error| told(&error))?;
    let output = Command::new(program)
        .arg(CHILD)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| told(&error))?;
    if !output.status.success() {
        return Err(told(&output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| told(&error))
}

/// Is such a process: measures what the arguments say.
pub(crate) fn be_child(arguments: &[String]) -> Result<Value, String> {
    let number = |n: usize| -> Result<usize, String> {
        let text = arguments.get(n).ok_or("too few arguments")?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    };
    match arguments.first().map(String::as_str) {
        Some("filled") => filled::measure(&arguments[1], number(2)?, number(3)?, number(4)? as u64),
        Some("churn") => churn::measure(number(1)?, number(2)?, number(3)? as u64),
        _ => Err("what am I to measure?".to_owned()),
    }
}

/// Columns of a table: the field of a result, and its name.
const COLUMNS: [(&str, &str); 3] = [
    ("heap", "asked for"),
    ("malloc", "with malloc's own"),
    ("rss", "resident"),
];

fn each(found: &Value, field: &str) -> Option<f64> {
    found[field].as_f64()
}

fn filled_text(sessions: usize, payload: usize, results: &[(&str, Value)]) -> String {
    let mut head = vec!["rival".to_owned()];
    head.extend(COLUMNS.map(|(_, name)| name.to_owned()));
    head.push("sessions held".to_owned());
    let rows: Vec<Vec<String>> = results
        .iter()
        .map(|(name, found)| {
            let mut cells = vec![(*name).to_owned()];
            cells.extend(COLUMNS.map(|(field, _)| {
                each(found, field).map_or("-".to_owned(), |bytes| format!("{bytes:.0}"))
            }));
            cells.push(found["held"].to_string());
            cells
        })
        .collect();
    format!(
        "\n### {sessions} sessions of {payload} bytes\n\nBytes a session beyond its payload.\n\n{}",
        markdown(&head, &rows)
    )
}

fn bars(results: &[(&'static str, Value)]) -> Vec<Bar> {
    let bar = |(name, found): &(&'static str, Value)| {
        let bytes = each(found, "malloc").or_else(|| each(found, "heap"))?;
        Some(Bar {
            name,
            value: bytes,
            low: bytes,
            high: bytes,
        })
    };
    results.iter().filter_map(bar).collect()
}
