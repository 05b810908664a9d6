//! What is written beside what is printed.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::args::Options;
use crate::machine;
use crate::throughput::{Cell, Outcome, Table};

/// Writes a file, with what leads to it.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

/// A JSON file, with the machine and the options in it.
pub(crate) fn write_json(options: &Options, name: &str, results: Value) -> io::Result<()> {
    let path = options.out.join(format!("{name}.json"));
    let whole = json!({
        "machine": machine::description(),
        "arguments": std::env::args().skip(1).collect::<Vec<_>>(),
        "quick": options.quick,
        "seed": options.seed,
        "seconds": options.seconds,
        name: results,
    });
    write(&path, &format!("{whole:#}\n"))
}

/// All figures of a run.
pub(crate) fn throughput(outcome: &Outcome) -> Value {
    json!({
        "interrupted": outcome.interrupted,
        "faults": outcome.faults,
        "tables": outcome.tables.iter().map(table).collect::<Vec<_>>(),
    })
}

fn table(table: &Table) -> Value {
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            let cells: Vec<Value> = table
                .threads
                .iter()
                .zip(&row.cells)
                .map(|(threads, figures)| match figures {
                    Ok(figures) => cell(*threads, figures),
                    Err(why) => json!({"threads": threads, "none": why}),
                })
                .collect();
            json!({"rival": row.name, "evicted_by_its_threads": row.helped, "figures": cells})
        })
        .collect();
    json!({
        "workload": table.workload.name,
        "what": table.workload.what,
        "unit": table.workload.unit,
        "sessions": table.workload.live,
        "payload": table.payload,
        "rivals": rows,
    })
}

fn cell(threads: usize, cell: &Cell) -> Value {
    json!({
        "threads": threads,
        "per_second": cell.rate.median,
        "p10": cell.rate.low,
        "p90": cell.rate.high,
        "times_refrain": cell.ratio,
        "cpu_ns": cell.cpu,
        "hits": cell.hits,
        "refused": cell.refused,
        "settling": cell.settling,
        "slices": cell.rounds,
    })
}
