//! Two rustls servers in processes of their own whose sessions are in one Redis, and clients that connect to one and come back
//! to the other.
//!
//! ```text
//! cargo run --release --features redis --example cluster
//! cargo run --release --features redis --example cluster -- --kill-store
//! ```
//!
//! It shows the shared tier at its work, measures it, and checks it from outside: that every live session that is offered
//! resumes, at whichever server, that a single-use one resumes exactly once, and, with `--kill-store`, that no handshake
//! fails or waits when the store is gone. `--help` has the options.
//!
//! `stack.rs` is where a cache gets its store. The accept loop and the clients' handshakes are those of the example
//! `accept_loop`.

use std::env;
use std::process::ExitCode;

#[path = "../accept_loop/accepted.rs"]
mod accepted;
mod args;
mod fleet;
#[path = "../accept_loop/hello.rs"]
mod hello;
#[path = "../accept_loop/hex.rs"]
mod hex;
#[path = "../accept_loop/latencies.rs"]
mod latencies;
#[path = "../accept_loop/library.rs"]
#[allow(dead_code, reason = "rustls has nothing to tell")]
mod library;
#[path = "../accept_loop/material.rs"]
mod material;
#[path = "../accept_loop/net.rs"]
mod net;
mod node;
#[path = "../accept_loop/numbers.rs"]
#[allow(dead_code, reason = "no timeouts here")]
mod numbers;
mod orders;
#[path = "../accept_loop/output.rs"]
mod output;
mod parcel;
mod peer;
mod phase;
#[path = "../accept_loop/pki.rs"]
#[allow(dead_code, reason = "no clients but its own")]
mod pki;
#[path = "../accept_loop/progress.rs"]
mod progress;
mod race;
#[path = "../accept_loop/reader.rs"]
mod reader;
mod redis_server;
#[path = "../accept_loop/replay.rs"]
#[allow(dead_code, reason = "replays are sent to two servers here")]
mod replay;
mod report;
mod run;
#[path = "../accept_loop/server.rs"]
mod server;
mod stack;
mod timed;
#[path = "../accept_loop/visit.rs"]
mod visit;
mod watched;

use args::Task;
use output::{Failure, note, say};

fn main() -> ExitCode {
    match start() {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                note(format_args!("FAILED: {fault}"));
            }
            ExitCode::FAILURE
        }
        Err(failure) => {
            note(format_args!("cluster: {}", failure.what));
            ExitCode::from(failure.code)
        }
    }
}

/// Does what the command line asks for, and returns what broke.
fn start() -> Result<Vec<String>, Failure> {
    let options = match args::parse(env::args_os().skip(1))? {
        Task::Help => {
            say(args::HELP)?;
            return Ok(Vec::new());
        }
        Task::Node => {
            node::serve()?;
            return Ok(Vec::new());
        }
        Task::Run(options) => options,
    };
    let json = options.json;
    let outcome = run::run(options)?;
    if json {
        say(&format!("{}\n", report::json(&outcome)))?;
    } else {
        say(&report::Text(&outcome).to_string())?;
    }
    Ok(outcome.faults)
}
