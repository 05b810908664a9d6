//! The program: its arguments, its exit codes, and what it prints.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::{args, listen, report, run, stack};

/// Why there is no result.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    code: u8,
}

impl Failure {
    /// The arguments ask for what can't be.
    pub(crate) fn usage(what: String) -> Self {
        Self { what, code: 2 }
    }

    /// The machine or the library did not play along.
    pub(crate) fn broken(what: String) -> Self {
        Self { what, code: 1 }
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::usage(format!("{error} (--help lists the options)"))
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::broken(format!("rustls: {error}"))
    }
}

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

/// Prints a result on standard output. That nobody reads any more (`| head`) is not an error.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::broken(format!(
            "could not write the result: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints a line on standard error. If that is closed, there is nobody to tell.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
