//! A multi-threaded rustls server on loopback whose sessions live in a [`refrain::SessionCache`], and a fleet of clients
//! that come back.
//!
//! ```text
//! cargo run --release --example accept_loop
//! ```
//!
//! It shows the cache at its work, measures it, and checks it from outside: that a live session which is offered
//! resumes, that a single-use session resumes once, and that the cache's books balance. `--help` has the options.
//!
//! `server.rs` is the accept loop that the example is named after, `store.rs` is where the cache is built, and `stack.rs`
//! is where rustls gets it. The example `openssl_accept_loop` is the same with another `stack.rs`.

mod accepted;
mod app;
mod args;
mod books;
mod checked;
mod checker;
mod client;
#[cfg(feature = "disk")]
mod disk;
mod flood;
mod hello;
#[cfg(feature = "disk")]
mod hex;
mod latencies;
mod library;
mod listen;
#[cfg(feature = "disk")]
mod material;
mod net;
mod numbers;
mod output;
#[cfg(feature = "metrics")]
mod page;
mod pki;
mod progress;
mod reader;
mod replay;
mod report;
mod restart;
mod run;
mod server;
mod stack;
mod store;
mod tally;
mod visit;

fn main() -> std::process::ExitCode {
    app::main()
}
