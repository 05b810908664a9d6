//! One operation, again and again, for valgrind to count: `scripts/instructions` runs it.
//!
//! ```text
//! instructions SUBJECT OPERATION BATCHES
//! instructions --list
//! ```
//!
//! It prints how many operations valgrind was shown. Everything is on the calling thread, with time that stands still
//! unless it is moved, so that two runs of it differ by hardly more than the seeds of the hashes.

#[allow(dead_code, reason = "compare uses the rest")]
#[path = "../../cache.rs"]
mod cache;
#[allow(dead_code, reason = "compare uses the rest")]
#[path = "../../random.rs"]
mod random;
mod refrained;
#[allow(dead_code, unused_imports, reason = "compare uses the rest")]
#[path = "../../rivals/mod.rs"]
mod rivals;
mod yardstick;

use std::env;
use std::hint::black_box;
use std::process::ExitCode;

/// Sessions that are there.
const LIVE: usize = 20_000;
/// Operations between which what they have left behind is put in order, which is not counted.
const BATCH: usize = 2_000;
/// The bytes of each session.
const PAYLOAD: [u8; 256] = [0x5a; 256];

/// Does it that many times. valgrind counts what happens in here, and nothing else.
#[inline(never)]
fn counted(times: usize, mut one: impl FnMut(usize)) {
    for n in 0..times {
        one(black_box(n));
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let operations = match words[..] {
        ["--list"] => {
            list();
            return ExitCode::SUCCESS;
        }
        [subject, operation, batches] => batches
            .parse()
            .ok()
            .and_then(|batches| run(subject, operation, batches)),
        _ => None,
    };
    match operations {
        Some(operations) => {
            println!("{operations}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("instructions: SUBJECT OPERATION BATCHES, of what --list lists");
            ExitCode::from(2)
        }
    }
}

/// Every subject with each of its operations, a line each.
fn list() {
    for subject in refrained::SUBJECTS {
        for (operation, ..) in refrained::OPERATIONS {
            println!("{subject} {operation}");
        }
    }
    for subject in yardstick::SUBJECTS {
        for operation in yardstick::operations(subject) {
            println!("{subject} {operation}");
        }
    }
}

/// How many operations were counted; none if there is no such thing.
fn run(subject: &str, operation: &str, batches: usize) -> Option<usize> {
    if refrained::SUBJECTS.contains(&subject) {
        refrained::run(subject, operation, batches)
    } else {
        yardstick::run(subject, operation, batches)
    }
}
