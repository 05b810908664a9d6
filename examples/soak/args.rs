//! The command line.

use std::ffi::OsString;
use std::thread::available_parallelism;
use std::time::Duration;

use lexopt::prelude::*;

use crate::numbers::{timeout, whole};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A session cache under everything that a server does to it, beside a reference that knows what may be found.

Usage: soak [OPTIONS]

It runs in rounds of about ten seconds. Each round ends with an inventory: the balance, and for each session what became
of it. It prints operations, callbacks, memory against its bound, and the worst lookup.

  --seconds N         How long, 1 to 1000000 [default: 60]
  --threads N         Worker threads, 1 to 1024 [default: two for each core, at least 4]
  --capacity N        Sessions that the cache holds, 64 to 16777216 [default: 20480]
  --timeout SECONDS   How long a session lives, 0.01 to 31536000; one of eight lives at most a tenth of a second
                      [default: 2]
  --seed N            Where the choices begin. The threads' interleaving is the machine's, so a run does not repeat
                      [default: 1]
  --json              Print one JSON object on standard output and nothing else there
  -h, --help          Print this and exit

Exit codes: 0 all went well; 1 something is off, and what it was is on standard error; 2 bad arguments.
";

/// Everything the command line decides.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) time: Duration,
    pub(crate) threads: usize,
    pub(crate) capacity: usize,
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
    pub(crate) json: bool,
}

impl Options {
    /// The wheel's tick: short enough that the wheel works within a round.
    pub(crate) fn tick(&self) -> Duration {
        (self.timeout / 20).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Reads the arguments that follow the program's name. `None` means that help was asked for.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Options>, lexopt::Error> {
    let cores = available_parallelism().map_or(2, usize::from);
    let mut options = Options {
        time: Duration::from_secs(60),
        threads: (2 * cores).clamp(4, 1024),
        capacity: 20_480,
        timeout: Duration::from_secs(2),
        seed: 1,
        json: false,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => {
                options.time = Duration::from_secs(whole(&mut parser, "--seconds", 1, 1_000_000)?);
            }
            Long("threads") => options.threads = whole(&mut parser, "--threads", 1, 1024)? as usize,
            Long("capacity") => {
                options.capacity = whole(&mut parser, "--capacity", 64, 1 << 24)? as usize;
            }
            Long("timeout") => options.timeout = timeout(&mut parser)?,
            Long("seed") => options.seed = whole(&mut parser, "--seed", 0, u64::MAX)?,
            Long("json") => options.json = true,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}
