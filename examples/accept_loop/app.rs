//! The program: its arguments and its exit codes.

use std::env;
use std::process::ExitCode;

use crate::output::{Failure, note, say};
use crate::{args, listen, report, run, stack};

/// What the program does, from its arguments to its exit code.
pub(crate) fn main() -> ExitCode {
    match start() {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                note(format_args!("FAILED: {fault}"));
            }
            ExitCode::FAILURE
        }
        Err(failure) => {
            note(format_args!("{}: {}", stack::PROGRAM, failure.what));
            ExitCode::from(failure.code)
        }
    }
}

/// Does what the command line asks for, and returns what broke.
fn start() -> Result<Vec<String>, Failure> {
    let Some(options) = args::parse(env::args_os().skip(1))? else {
        say(&args::help())?;
        return Ok(Vec::new());
    };
    if let Some(addresses) = &options.listen {
        return listen::serve(&options, addresses);
    }
    let json = options.json;
    let outcome = run::run(options)?;
    if json {
        say(&format!("{}\n", report::json(&outcome)))?;
    } else {
        say(&report::Text(&outcome).to_string())?;
    }
    Ok(outcome.faults)
}
