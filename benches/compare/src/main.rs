//! Refrain beside every other way to keep sessions.
//!
//! ```text
//! cargo run --release -p compare -- --quick
//! ```
//!
//! The rivals stand behind one trait (`cache.rs`), each in a file of its own (`rivals/`). They take turns in short slices
//! of time, each round beginning with another, so that whatever happens to the machine happens to all. `workload.rs` is
//! what is done to them, `hand.rs` has the loops. `--help` has the options.

mod args;
mod cache;
mod contest;
mod cpu;
mod figures;
mod hand;
mod handshakes;
mod heap;
mod hits;
mod latency;
mod machine;
mod memory;
mod output;
mod plot;
mod pool;
mod progress;
mod random;
mod rivals;
mod sane;
mod stop;
mod table;
mod throughput;
mod workload;
mod zipf;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use args::{Options, Request, Subject};
use sane::Sanity;
use serde_json::Value;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == memory::CHILD)
    {
        let words = arguments[1..].iter();
        let words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        return child(&words);
    }
    let options = match args::parse(arguments) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Print(text)) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            note(format_args!("compare: {error} (--help lists the options)"));
            return ExitCode::from(2);
        }
    };
    stop::listen();
    let mut sanity = Sanity::default();
    // The examples examine themselves.
    if options.subject != Subject::Handshakes {
        for name in &options.rivals {
            rivals::visit(name, &mut sanity);
        }
    }
    let outcome = match sanity.faults.is_empty() {
        true => run(&options),
        false => Ok(sanity.faults),
    };
    match outcome {
        Ok(faults) if !faults.is_empty() => {
            for fault in faults {
                note(format_args!("FAILED: {fault}"));
            }
            ExitCode::FAILURE
        }
        Ok(_) if stop::is_asked() => ExitCode::from(stop::INTERRUPTED),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("compare: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures and writes; what is wrong with the results.
fn run(options: &Options) -> Result<Vec<String>, String> {
    match options.subject {
        Subject::Throughput => throughput(options),
        Subject::Latency => latency(options),
        Subject::Memory => memory(options),
        Subject::Hits => hits(options),
        Subject::Handshakes => handshakes(options),
    }
}

fn handshakes(options: &Options) -> Result<Vec<String>, String> {
    let mut text = String::new();
    let outcome = handshakes::run(options, |scene| {
        let shown = scene.text();
        say(&shown);
        text += &shown;
    })?;
    let scenes = &outcome.scenes;
    let figures = scenes.iter().map(handshakes::Scene::json).collect();
    write(options, "handshakes", &text, figures, |folder| {
        for scene in scenes {
            let path = folder.join(format!("handshakes-{}.svg", scene.name()));
            let (what, bars) = scene.bars();
            plot::bars(&scene.title(), what, &bars, &path)?;
        }
        Ok(())
    })?;
    Ok(outcome.faults)
}

fn hits(options: &Options) -> Result<Vec<String>, String> {
    let (text, figures) = hits::run(options, say);
    write(options, "hits", &text, figures, |_| Ok(()))?;
    Ok(Vec::new())
}

fn memory(options: &Options) -> Result<Vec<String>, String> {
    let outcome = memory::run(options, say)?;
    let figures = outcome.json.clone();
    write(options, "memory", &outcome.text, figures, |folder| {
        for (name, title, bars) in &outcome.plots {
            let path = folder.join(format!("{name}.svg"));
            plot::bars(title, "bytes, with malloc's own", bars, &path)?;
        }
        Ok(())
    })?;
    Ok(outcome.faults)
}

/// A process that measures memory: prints what it found.
fn child(arguments: &[String]) -> ExitCode {
    heap::count();
    match memory::be_child(arguments) {
        Ok(found) => {
            say(&format!("{found}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            note(format_args!("compare: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn latency(options: &Options) -> Result<Vec<String>, String> {
    let mut text = String::new();
    let scenes = latency::run(options, |scene| {
        let shown = scene.text();
        say(&shown);
        text += &shown;
    });
    let figures = scenes.iter().map(latency::Scene::json).collect();
    write(options, "latency", &text, figures, |folder| {
        for scene in &scenes {
            let name = format!("latency-{}.svg", scene.name());
            latency::draw(scene, &folder.join(name))?;
        }
        Ok(())
    })?;
    Ok(Vec::new())
}

/// Writes tables, figures, and what `draw` draws.
fn write(
    options: &Options,
    name: &str,
    text: &str,
    figures: Value,
    draw: impl FnOnce(&Path) -> Result<(), Box<dyn Error>>,
) -> Result<(), String> {
    let folder = &options.out;
    let write = || {
        output::write(&folder.join(format!("{name}.md")), text)?;
        output::write_json(options, name, figures)?;
        draw(folder)
    };
    write().map_err(|error: Box<dyn Error>| format!("{}: {error}", folder.display()))?;
    note(format_args!(
        "tables, JSON and plots are in {}",
        folder.display()
    ));
    Ok(())
}

fn throughput(options: &Options) -> Result<Vec<String>, String> {
    let mut text = String::new();
    let outcome = throughput::run(options, |table| {
        let shown = table::throughput(table);
        say(&shown);
        text += &shown;
    })?;
    let figures = output::throughput(&outcome);
    write(options, "throughput", &text, figures, |folder| {
        for table in &outcome.tables {
            let name = format!("throughput-{}-{}.svg", table.workload.name, table.payload);
            plot::draw(table, &folder.join(name))?;
        }
        Ok(())
    })?;
    Ok(outcome.faults)
}

/// Prints a result on standard output. If nobody reads it any more, there is nobody to tell.
fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a line on standard error.
fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
