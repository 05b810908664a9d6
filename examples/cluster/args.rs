//! The command line.

use std::ffi::OsString;
use std::thread::available_parallelism;
use std::time::Duration;

use lexopt::prelude::*;
use refrain::store::MAX_READ_BUDGET;

use crate::numbers::whole;

/// The hidden option by which the example starts its nodes.
pub(crate) const NODE: &str = "node";

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Two servers in processes of their own share a Redis by the shared tier of refrain::SessionCache, and clients connect to one
and come back to the other.

Usage: cluster [OPTIONS]

It starts the two servers, and a redis-server on a free port unless --redis names one. Prints resumption across the servers,
reads and writes of the store per handshake, and latencies, and checks them: every live session that is offered resumes, and
each single-use one exactly once in total, also where both servers are offered it at once.

  --connections N   Connections to make, 300 to 10000000 [default: 6000]
  --clients N       Clients that share them, 4 to 10000; fewer when there are not three connections for each in a phase
                    [default: 120]
  --threads N       Threads of each server, and of the clients, 1 to 256 [default: the machine's cores]
  --budget MS       How long a handshake may wait for each read of the store, 1 to 20 [default: 20, because everything
                    runs on one machine here; the library's is 3]
  --redis URL       Use this server instead of starting one, such as redis://127.0.0.1:6379. What is written there expires
                    in two hours
  --kill-store      Kill the redis-server in the middle and start it again, empty: no handshake may fail or wait longer than
                    its budget, and resumption must return
  --json            Print one JSON object on standard output and nothing else there
  -h, --help        Print this and exit

Exit codes: 0 all went well; 1 something broke, and what it was is on standard error; 2 bad arguments; 3 redis-server is not
installed and no --redis given, so nothing was run.
";

/// Everything the command line decides.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) connections: u64,
    pub(crate) clients: usize,
    pub(crate) threads: usize,
    pub(crate) budget: Duration,
    pub(crate) redis: Option<String>,
    pub(crate) kill_store: bool,
    pub(crate) json: bool,
}

/// What to do.
pub(crate) enum Task {
    Help,
    Node,
    Run(Options),
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Task, lexopt::Error> {
    let mut options = Options {
        connections: 6000,
        clients: 120,
        threads: available_parallelism().map_or(2, usize::from).min(256),
        budget: MAX_READ_BUDGET,
        redis: None,
        kill_store: false,
        json: false,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("connections") => {
                options.connections = whole(&mut parser, "--connections", 300, 10_000_000)?;
            }
            Long("clients") => {
                options.clients = whole(&mut parser, "--clients", 4, 10_000)? as usize
            }
            Long("threads") => options.threads = whole(&mut parser, "--threads", 1, 256)? as usize,
            Long("budget") => {
                options.budget = Duration::from_millis(whole(&mut parser, "--budget", 1, 20)?);
            }
            Long("redis") => options.redis = Some(parser.value()?.string()?),
            Long("kill-store") => options.kill_store = true,
            Long("json") => options.json = true,
            Long(NODE) => return Ok(Task::Node),
            Short('h') | Long("help") => return Ok(Task::Help),
            other => return Err(other.unexpected()),
        }
    }
    if options.kill_store && options.redis.is_some() {
        return Err(
            "--kill-store kills only a server that this has started, and not that of --redis"
                .into(),
        );
    }
    Ok(Task::Run(options))
}
