//! A multi-threaded server of the crate openssl on loopback whose sessions live in a [`refrain::SessionCache`], and a
//! fleet of rustls clients that come back.
//!
//! ```text
//! cargo run --release --features openssl --example openssl_accept_loop
//! ```
//!
//! It is the example `accept_loop` with another TLS library behind the server: `stack.rs` is what differs, with
//! `census.rs` and `own.rs` beside it. `--cache openssl` serves the same load from libssl's internal cache, to compare with.

#[path = "../accept_loop/app.rs"]
mod app;
#[path = "../accept_loop/args.rs"]
mod args;
#[path = "../accept_loop/books.rs"]
mod books;
mod census;
#[path = "../accept_loop/checker.rs"]
mod checker;
#[path = "../accept_loop/client.rs"]
mod client;
#[cfg(feature = "disk")]
#[path = "../accept_loop/disk.rs"]
mod disk;
#[path = "../accept_loop/flood.rs"]
mod flood;
#[path = "../accept_loop/hello.rs"]
mod hello;
#[cfg(feature = "disk")]
#[path = "../accept_loop/hex.rs"]
mod hex;
#[path = "../accept_loop/latencies.rs"]
mod latencies;
#[path = "../accept_loop/library.rs"]
mod library;
#[path = "../accept_loop/listen.rs"]
mod listen;
#[cfg(feature = "disk")]
#[path = "../accept_loop/material.rs"]
mod material;
#[path = "../accept_loop/net.rs"]
mod net;
#[path = "../accept_loop/numbers.rs"]
mod numbers;
#[path = "../accept_loop/output.rs"]
mod output;
mod own;
#[cfg(feature = "metrics")]
#[path = "../accept_loop/page.rs"]
mod page;
#[path = "../accept_loop/pki.rs"]
mod pki;
#[path = "../accept_loop/progress.rs"]
mod progress;
#[path = "../accept_loop/reader.rs"]
mod reader;
#[path = "../accept_loop/replay.rs"]
mod replay;
#[path = "../accept_loop/report.rs"]
mod report;
#[path = "../accept_loop/restart.rs"]
mod restart;
#[path = "../accept_loop/run.rs"]
mod run;
#[path = "../accept_loop/server.rs"]
mod server;
mod stack;
#[path = "../accept_loop/store.rs"]
mod store;
#[path = "../accept_loop/tally.rs"]
mod tally;
#[path = "../accept_loop/visit.rs"]
mod visit;

fn main() -> std::process::ExitCode {
    app::main()
}
