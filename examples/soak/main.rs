//! A session cache under everything that a server does to it, for as long as one likes, beside a reference that knows what
//! may be found.
//!
//! ```text
//! cargo run --release --example soak -- --seconds 60
//! ```
//!
//! Worker threads play connections: TLS 1.2 clients that return, TLS 1.3 tickets that work once and are replayed, floods
//! of newcomers and of strangers. A governor changes the capacity and the byte budget, invalidates contexts, swaps the
//! callbacks, and now and then blocks the listener until the backlog is full. There is no TLS in it: each session's bytes
//! tell what it is, so that every read is checked.
//!
//! `reference.rs` is what the cache is checked against, `verdict.rs` closes a round, `mix.rs` is the load. `--help` has
//! the options. Exit codes: 0 all went well; 1 something is off, and what it was is on standard error; 2 bad arguments.

mod args;
#[path = "../accept_loop/books.rs"]
mod books;
mod callbacks;
mod chores;
mod control;
mod faults;
mod governor;
mod heap;
mod latency;
mod mix;
#[path = "../accept_loop/numbers.rs"]
mod numbers;
mod payload;
mod progress;
mod reference;
mod report;
mod run;
mod told;
mod verdict;
mod visit;

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match args::parse(env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            note(format_args!("soak: {error} (--help lists the options)"));
            return ExitCode::from(2);
        }
    };
    let json = options.json;
    let outcome = match run::run(options) {
        Ok(outcome) => outcome,
        Err(error) => {
            note(format_args!("soak: {error}"));
            return ExitCode::from(2);
        }
    };
    if json {
        say(&format!("{}\n", report::json(&outcome)));
    } else {
        say(&report::Text(&outcome).to_string());
    }
    for fault in &outcome.faults {
        note(format_args!("FAILED: {fault}"));
    }
    if outcome.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints a result on standard output. If nobody reads it any more, there is nobody to tell.
fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a line on standard error.
fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
