//! What a program prints, and why there is nothing to print.

use std::fmt::Display;
use std::io::{self, Write};

/// Why there is no result.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) code: u8,
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

impl From<refrain::Error> for Failure {
    fn from(error: refrain::Error) -> Self {
        Self::broken(error.to_string())
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::broken(format!("rustls: {error}"))
    }
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
