//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread::available_parallelism;

use lexopt::prelude::*;

use crate::machine;
use crate::rivals::NAMES;
use crate::throughput::REFERENCE;
use crate::workload::{ALL, Workload};

/// What `--help` prints, before the lists.
const HELP: &str = "\
Refrain beside every other way to keep sessions, in one run: same ids, same payloads, same seeds, in turns.

Usage: compare [throughput | latency | memory | hits | handshakes] [OPTIONS]

  throughput          Operations a second, of every workload on several numbers of threads (what it does unless told)
  latency             How long look-ups and adds take while sessions expire, are flushed, and more
  memory              Bytes for each session beyond its payload, and under an hour of single-use sessions
  hits                Which sessions are still there when their clients return, by eviction policy and cache size
  handshakes          Handshakes a second of the crate's examples (which cargo builds), and how long they take, also
                      while a million sessions are flushed; with refrain, with the TLS library's own cache, and none

  --quick             A minute's look instead of the full programme
  --workload NAME     Only workloads whose name begins so; may be repeated, and separated by commas
  --rival NAME        Only these rivals (and refrain); likewise
  --threads N         Numbers of threads, 1 to 256; likewise [default: 1,2,4,8,32; quick: 2;
                      handshakes, of the server: the machine's cores]
  --payload BYTES     Sessions of so many bytes, 1 to 65536; likewise [default: 256,2048; quick: 256]
  --seconds S         Time for each figure, 0.01 to 3600 [default: 1, latency 3, handshakes 5; quick: 0.3]
  --memory GIB        How much memory rivals may take side by side, 1 to 1024 [default: half of what is free]
  --seed N            Where ids and choices begin [default: 1]
  --out DIR           Where JSON, tables and SVG plots go [default: target/compare]
  --list              Print workloads and rivals, and exit
  -h, --help          Print this and exit

Ctrl-C ends it after the slice under way; what was measured is printed and written.

Exit codes: 0 all went well; 1 a rival (or refrain) does not do what it should, and what is on standard error; 2 bad
arguments; 130 interrupted.
";

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Throughput,
    Latency,
    Memory,
    Hits,
    Handshakes,
}

/// Everything the command line decides.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) subject: Subject,
    pub(crate) quick: bool,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rivals: Vec<&'static str>,
    pub(crate) threads: Vec<usize>,
    pub(crate) payloads: Vec<usize>,
    pub(crate) seconds: f64,
    /// In bytes.
    pub(crate) memory: usize,
    pub(crate) seed: u64,
    pub(crate) out: PathBuf,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Run(Options),
    /// Only to print this.
    Print(String),
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Request, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut subject = None;
    let mut quick = false;
    let (mut workloads, mut rivals) = (Vec::new(), Vec::new());
    let (mut threads, mut payloads) = (Vec::new(), Vec::new());
    let (mut seconds, mut memory, mut seed, mut out) = (None, None, 1, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if subject.is_none() => subject = Some(named_subject(&word.string()?)?),
            Long("quick") => quick = true,
            Long("workload") => workloads.extend(list(&mut parser)?),
            Long("rival") => rivals.extend(list(&mut parser)?),
            Long("threads") => threads.extend(numbers(&mut parser, "--threads", 1, 256)?),
            Long("payload") => payloads.extend(numbers(&mut parser, "--payload", 1, 65_536)?),
            Long("seconds") => {
                seconds = Some(number(&mut parser, "--seconds", 0.01, 3600.0)?);
            }
            Long("memory") => memory = Some(number(&mut parser, "--memory", 1.0, 1024.0)?),
            Long("seed") => {
                let text = parser.value()?.string()?;
                seed = whole(&text, "--seed", 0, u64::MAX)?;
            }
            Long("out") => out = Some(PathBuf::from(parser.value()?)),
            Long("list") => return Ok(Request::Print(lists())),
            Short('h') | Long("help") => {
                return Ok(Request::Print(format!("{HELP}\n{}", lists())));
            }
            other => return Err(other.unexpected()),
        }
    }
    let subject = subject.unwrap_or(Subject::Throughput);
    let cores = [available_parallelism().map_or(2, usize::from).min(256)];
    let or = |given: Vec<usize>, else_: &[usize]| match given.is_empty() {
        true => else_.to_vec(),
        false => given,
    };
    Ok(Request::Run(Options {
        subject,
        quick,
        workloads: chosen_workloads(&workloads, quick)?,
        rivals: chosen_rivals(&rivals)?,
        threads: or(
            threads,
            match (quick, subject) {
                (_, Subject::Handshakes) => &cores,
                (true, _) => &[2],
                (false, _) => &[1, 2, 4, 8, 32],
            },
        ),
        payloads: or(payloads, if quick { &[256] } else { &[256, 2048] }),
        seconds: seconds.unwrap_or(match (quick, subject) {
            (true, _) => 0.3,
            (false, Subject::Latency) => 3.0,
            (false, Subject::Handshakes) => 5.0,
            (false, _) => 1.0,
        }),
        memory: memory.map_or_else(machine::spare_memory, |gib| {
            (gib * 1024.0) as usize * (1 << 20)
        }),
        seed,
        out: out.unwrap_or_else(|| PathBuf::from("target/compare")),
    }))
}

fn named_subject(word: &str) -> Result<Subject, lexopt::Error> {
    match word {
        "throughput" => Ok(Subject::Throughput),
        "latency" => Ok(Subject::Latency),
        "memory" => Ok(Subject::Memory),
        "hits" => Ok(Subject::Hits),
        "handshakes" => Ok(Subject::Handshakes),
        _ => Err(format!("nothing is called {word:?}").into()),
    }
}

fn chosen_workloads(wanted: &[String], quick: bool) -> Result<Vec<Workload>, lexopt::Error> {
    if let Some(none) = wanted
        .iter()
        .find(|name| ALL.iter().all(|workload| !workload.name.starts_with(*name)))
    {
        return Err(format!("no workload begins with {none:?} (--list lists them)").into());
    }
    let is_wanted = |workload: &&Workload| match wanted {
        [] => workload.quick || !quick,
        _ => wanted.iter().any(|name| workload.name.starts_with(name)),
    };
    Ok(ALL.iter().filter(is_wanted).copied().collect())
}

fn chosen_rivals(wanted: &[String]) -> Result<Vec<&'static str>, lexopt::Error> {
    if let Some(none) = wanted.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("no rival is called {none:?} (--list lists them)").into());
    }
    let is_wanted = |name: &&&str| {
        wanted.is_empty() || **name == REFERENCE || wanted.iter().any(|w| w == **name)
    };
    Ok(NAMES.iter().filter(is_wanted).copied().collect())
}

fn lists() -> String {
    let workloads: String = ALL
        .iter()
        .map(|workload| format!("  {:24}{}\n", workload.name, workload.what))
        .collect();
    format!("Workloads:\n{workloads}\nRivals: {}\n", NAMES.join(", "))
}

fn list(parser: &mut lexopt::Parser) -> Result<Vec<String>, lexopt::Error> {
    let text = parser.value()?.string()?;
    Ok(text.split(',').map(str::to_owned).collect())
}

fn numbers(
    parser: &mut lexopt::Parser,
    name: &str,
    least: u64,
    most: u64,
) -> Result<Vec<usize>, lexopt::Error> {
    list(parser)?
        .iter()
        .map(|text| whole(text, name, least, most).map(|number| number as usize))
        .collect()
}

fn whole(text: &str, name: &str, least: u64, most: u64) -> Result<u64, lexopt::Error> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{name} is a whole number from {least} to {most}, not {text:?}").into()),
    }
}

fn number(
    parser: &mut lexopt::Parser,
    name: &str,
    least: f64,
    most: f64,
) -> Result<f64, lexopt::Error> {
    let text = parser.value()?.string()?;
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{name} is a number from {least} to {most}, not {text:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Request::Run(options)) => Ok(options),
            Ok(Request::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn lists_and_repetitions_add_up() {
        let options =
            options("--threads 1,2 --threads 32 --payload 256 --workload adds,tls").unwrap();
        assert_eq!(options.threads, [1, 2, 32]);
        let names: Vec<_> = options.workloads.iter().map(|w| w.name).collect();
        assert_eq!(names, ["adds", "tls13", "tls12"]);
    }

    #[test]
    fn refrain_is_always_there() {
        assert_eq!(
            options("--rival papaya").unwrap().rivals,
            [REFERENCE, "papaya"]
        );
        assert_eq!(options("").unwrap().rivals, NAMES);
    }

    #[test]
    fn nonsense_is_told_apart() {
        for line in [
            "--threads 0",
            "--threads 1,x",
            "--payload 70000",
            "--seconds 0",
            "--workload nothing",
            "--rival nobody",
            "everything",
            "throughput latency",
            "--bogus",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
        assert!(options("--help").unwrap_err().contains("Exit codes"));
    }
}
