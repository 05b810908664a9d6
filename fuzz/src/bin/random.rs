//! The targets without coverage guidance: over bytes that are random, or the last interesting ones with a few changes.
//! For machines without nightly Rust or cargo-fuzz, and to replay one input.
//!
//!     random [--seconds N] [--seed N] [TARGET ..]
//!     random --replay FILE TARGET
//!
//! A replay prints the calls that the input's bytes mean.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest input.
const LONGEST: u64 = 4096;

/// The input that is being run: what a failure has to print.
static CURRENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    /// New bytes, most inputs short; or the last ones with a few changes.
    fn input(&mut self, last: &mut Vec<u8>) {
        if self.below(4) == 0 || last.is_empty() {
            let longest = [16, 256, LONGEST][self.below(3) as usize];
            let length = self.below(longest);
            *last = (0..length).map(|_| (self.next() >> 32) as u8).collect();
            return;
        }
        for _ in 0..=self.below(4) {
            let at = self.below(last.len() as u64) as usize;
            last[at] = (self.next() >> 32) as u8;
        }
    }
}

fn main() {
    let (mut seconds, mut seed, mut replay, mut names) = (20, 1, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value");
        match &*argument {
            "--seconds" => seconds = value().parse().expect("a number of seconds"),
            "--seed" => seed = value().parse().expect("a number"),
            "--replay" => replay = Some(value()),
            _ => names.push(argument),
        }
    }
    if let Some(file) = replay {
        let input = std::fs::read(&file).expect("a readable file");
        refrain_fuzz::set_traced();
        names
            .iter()
            .for_each(|name| refrain_fuzz::run(name, &input));
        println!("{file}: nothing wrong");
        return;
    }
    if names.is_empty() {
        let all = refrain_fuzz::TARGETS.iter();
        names = all.map(|(name, _)| (*name).to_owned()).collect();
    }

    // A panic that is contained on its way up is a finding, too.
    std::panic::set_hook(Box::new(|info| {
        let bytes = CURRENT
            .lock()
            .map_or_else(|e| e.into_inner().clone(), |b| b.clone());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{info}\nthe input, in hexadecimal: {hex}");
        std::process::abort();
    }));
    for name in names {
        let mut random = Random(seed | 1);
        let (mut input, mut executions) = (Vec::new(), 0_u64);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(seconds) {
            random.input(&mut input);
            CURRENT.lock().expect("nobody panicked").clone_from(&input);
            refrain_fuzz::run(&name, &input);
            executions += 1;
        }
        println!("{name}: {executions} executions in {seconds} s, seed {seed}, at random");
    }
}
