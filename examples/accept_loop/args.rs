//! The command line: what may be asked for, and one clear line about what may not.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use lexopt::prelude::*;

use crate::numbers::{timeout, whole};
use crate::stack::{CACHE_HELP, FLUSHES, LIBRARY, PROGRAM};

/// What `--help` prints.
pub(crate) fn help() -> String {
    format!(
        "\
A multi-threaded {LIBRARY} server whose sessions live in a refrain::SessionCache, and a fleet of clients that come back.

Usage: {PROGRAM} [OPTIONS]
       {PROGRAM} --listen ADDR [--ca-out FILE] [OPTIONS]

Without --listen it runs a load on loopback: clients connect, leave and return, some of them as newcomers, and some
TLS 1.3 hellos are recorded and sent again. It prints rates, latencies and the cache's books, and checks them.

  --connections N     Connections to make, 1 to 10000000 [default: 30000]
  --threads N         Server threads, and as many client threads, 1 to 1024
                      [default: the machine's cores; with --listen eight per core, at least 32]
  --clients N         Clients that share the connections, 1 to 100000; fewer when there are not four connections for
                      each, and one per version with --tls both [default: 400]
  --tls VERSION       1.2, 1.3 or both: half of the clients speak each [default: both]
  --timeout SECONDS   How long a session lives, 0.01 to 31536000; short ones make sessions expire during the run
                      [default: 7200]
  --capacity N        Sessions the cache holds before it evicts, 1 to 16777216 [default: 20480]
  {CACHE_HELP}
  --flush N           Put N more sessions into the cache, 1 to 10000000, and flush them when half of the connections
                      are made. Handshakes that the flush meets are reported by themselves. Needs a timeout of a
                      minute or more, and a cache that can be flushed: {FLUSHES}
  --no-replays        Send no hello again: then every cache has the same load, and the run measures better than it checks
  --disk FILE         Keep the sessions in a file too, sealed, so that they survive a restart; at the end of a run the
                      server is started anew, and clients come back. Says what the file had in it. Needs the feature
                      disk, --cache refrain, and without --listen a timeout of a minute or more
  --keys FILE         With --disk: what to seal with, two or more words of 64 hexadecimal digits, in a file that only
                      its owner may read. Else they come from the environment's REFRAIN_KEYS, or are drawn at random
                      and kept in FILE.keys beside the sessions, which is good enough for a demonstration
  --metrics ADDR      Serve the cache's counters at http://ADDR/metrics, for Prometheus. Needs the feature metrics and
                      --cache refrain
  --json              Print one JSON object on standard output and nothing else there

  --listen ADDR       Serve a short page over HTTP/1.0 to real clients at ADDR (such as 127.0.0.1:8443; port 0 lets the
                      system choose) until Ctrl-C or SIGTERM. The certificate is for localhost,
                      other.localhost and 127.0.0.1.
                      Says the address and a line per second on standard error, and the books at the end.
                      --connections and --clients have no effect
  --ca-out FILE       With --listen: write the certificate of the CA there (PEM), for clients that verify

  -h, --help          Print this and exit

Exit codes: 0 all went well; 1 something broke, and what it was is on standard error; 2 bad arguments.
"
    )
}

/// Which session store serves the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheKind {
    /// The crate that this is an example of.
    Refrain,
    /// The one that comes with the server's TLS library.
    Library,
    /// Nothing is kept.
    None,
}

impl CacheKind {
    /// The name as given on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refrain => "refrain",
            Self::Library => LIBRARY,
            Self::None => "none",
        }
    }
}

/// Which versions of TLS the fleet speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsChoice {
    /// TLS 1.2 only: sessions are looked up again and again.
    Tls12,
    /// TLS 1.3 only: every session is used once.
    Tls13,
    /// Half of the clients each.
    Both,
}

impl TlsChoice {
    /// The name as given on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
            Self::Both => "both",
        }
    }
}

/// Everything the command line decides.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) connections: u64,
    pub(crate) threads: usize,
    pub(crate) clients: usize,
    pub(crate) tls: TlsChoice,
    pub(crate) timeout: Duration,
    pub(crate) capacity: usize,
    pub(crate) cache: CacheKind,
    /// Sessions that are flushed meanwhile.
    pub(crate) flush: Option<usize>,
    /// Whether recorded hellos are sent again.
    pub(crate) replays: bool,
    pub(crate) json: bool,
    /// The addresses to try, in order; `None` for the run on loopback.
    pub(crate) listen: Option<Vec<SocketAddr>>,
    pub(crate) ca_out: Option<PathBuf>,
    /// The file behind the cache.
    pub(crate) disk: Option<PathBuf>,
    /// The file with its keys.
    pub(crate) keys: Option<PathBuf>,
    /// Where the counters are to be had, the addresses to try.
    pub(crate) metrics: Option<Vec<SocketAddr>>,
}

impl Options {
    /// What the cache is built for: with what is flushed.
    pub(crate) fn room(&self) -> usize {
        self.capacity + self.flush.unwrap_or(0)
    }

    /// The wheel's tick: a second, or less where a short timeout would otherwise expire in lumps.
    pub(crate) fn tick(&self) -> Duration {
        (self.timeout / 20).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Reads the arguments that follow the program's name. `None` means that help was asked for.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        connections: 30_000,
        threads: 0,
        clients: 400,
        tls: TlsChoice::Both,
        timeout: Duration::from_secs(7200),
        capacity: 20_480,
        cache: CacheKind::Refrain,
        flush: None,
        replays: true,
        json: false,
        listen: None,
        ca_out: None,
        disk: None,
        keys: None,
        metrics: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("connections") => {
                options.connections = whole(&mut parser, "--connections", 1, 10_000_000)?;
            }
            Long("threads") => options.threads = whole(&mut parser, "--threads", 1, 1024)? as usize,
            Long("clients") => {
                options.clients = whole(&mut parser, "--clients", 1, 100_000)? as usize
            }
            Long("capacity") => {
                options.capacity = whole(&mut parser, "--capacity", 1, 1 << 24)? as usize;
            }
            Long("timeout") => options.timeout = timeout(&mut parser)?,
            Long("tls") => {
                options.tls = match parser.value()?.string()?.as_str() {
                    "1.2" => TlsChoice::Tls12,
                    "1.3" => TlsChoice::Tls13,
                    "both" => TlsChoice::Both,
                    other => return Err(format!("--tls is 1.2, 1.3 or both, not {other:?}").into()),
                };
            }
            Long("cache") => {
                options.cache = match parser.value()?.string()?.as_str() {
                    "refrain" => CacheKind::Refrain,
                    "none" => CacheKind::None,
                    name if name == LIBRARY => CacheKind::Library,
                    other => {
                        let complaint =
                            format!("--cache is refrain, {LIBRARY} or none, not {other:?}");
                        return Err(complaint.into());
                    }
                };
            }
            Long("flush") => {
                options.flush = Some(whole(&mut parser, "--flush", 1, 10_000_000)? as usize);
            }
            Long("no-replays") => options.replays = false,
            Long("json") => options.json = true,
            Long("listen") => {
                options.listen = Some(addresses("--listen", &parser.value()?.string()?)?)
            }
            Long("ca-out") => options.ca_out = Some(parser.value()?.into()),
            Long("disk") => {
                feature("--disk", "disk", cfg!(feature = "disk"))?;
                options.disk = Some(parser.value()?.into());
            }
            Long("keys") => options.keys = Some(parser.value()?.into()),
            Long("metrics") => {
                feature("--metrics", "metrics", cfg!(feature = "metrics"))?;
                options.metrics = Some(addresses("--metrics", &parser.value()?.string()?)?);
            }
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if options.listen.is_none() && options.ca_out.is_some() {
        return Err("--ca-out goes with --listen".into());
    }
    if options.listen.is_some() && options.flush.is_some() {
        return Err("--flush belongs to a run and does not go with --listen".into());
    }
    if options.flush.is_some() && options.timeout < Duration::from_secs(60) {
        return Err("--flush needs a timeout of a minute or more".into());
    }
    if options.listen.is_some() && options.json {
        return Err("--json reports a run and does not go with --listen".into());
    }
    if options.keys.is_some() && options.disk.is_none() {
        return Err("--keys goes with --disk".into());
    }
    if options.cache != CacheKind::Refrain && (options.disk.is_some() || options.metrics.is_some())
    {
        return Err("--disk and --metrics go with --cache refrain".into());
    }
    if options.disk.is_some()
        && options.listen.is_none()
        && options.timeout < Duration::from_secs(60)
    {
        return Err("--disk needs a timeout of a minute or more, or --listen".into());
    }
    if options.threads == 0 {
        let cores = available_parallelism().map_or(2, usize::from);
        options.threads = match options.listen {
            // A real client may hold its connection for a while, and one thread serves one connection.
            Some(_) => (8 * cores).clamp(32, 1024),
            None => cores.min(1024),
        };
    }
    Ok(Some(options))
}

/// An option that is there only with a feature of the library.
fn feature(option: &str, feature: &str, present: bool) -> Result<(), lexopt::Error> {
    if present {
        return Ok(());
    }
    let build = format!("cargo run --release --features {feature} --example {PROGRAM}");
    Err(format!("{option} needs the feature {feature}: {build}").into())
}

/// The socket addresses that the value of an option stands for.
fn addresses(option: &str, text: &str) -> Result<Vec<SocketAddr>, lexopt::Error> {
    match text.to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(format!(
            "{option} is an address such as 127.0.0.1:8443, not {text:?}: {error}"
        )
        .into()),
    }
}
