//! `--listen`: the same server for real clients, until a signal.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use indicatif::HumanCount;

use crate::args::Options;
use crate::books::Callbacks;
use crate::output::{Failure, note, say};
use crate::pki::Pki;
use crate::report;
use crate::server::{Served, Server};
use crate::stack::Stack;
use crate::store;

/// Serves until Ctrl-C or SIGTERM, then closes the books. Returns what is wrong with them.
pub(crate) fn serve(options: &Options, addresses: &[SocketAddr]) -> Result<Vec<String>, Failure> {
    let (signal, signals) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Nobody receives any more once the first signal was heard.
        let _ = signal.send(());
    })
    .map_err(|error| Failure::broken(format!("could not watch for signals: {error}")))?;

    // No checker here: its records of all sessions would grow for as long as the server runs.
    let callbacks = Arc::new(Callbacks::default());
    let counted = Arc::clone(&callbacks);
    let cache = store::open(options, move |_, cause| counted.count(cause))?;
    #[cfg(feature = "metrics")]
    let page = crate::page::Page::start(options, cache.as_ref())?;
    let pki = Pki::generate()?;
    let stack = Stack::open(options, &pki, cache.as_ref(), None)?;
    let served = Arc::new(Served::default());
    let server = Server::start(addresses, options.threads, stack, Arc::clone(&served))?;
    if let Some(path) = &options.ca_out {
        fs::write(path, pki.ca_pem()).map_err(|error| {
            Failure::broken(format!("could not write {}: {error}", path.display()))
        })?;
    }
    note(format_args!(
        "listening on https://{}, Ctrl-C ends it",
        server.address()
    ));

    while signals.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        let statistics = cache.as_ref().map_or(String::new(), |cache| {
            format!("; {}", report::statistics(&cache.stats()))
        });
        note(format_args!(
            "{} full and {} resumed handshakes, {} unfinished{statistics}",
            HumanCount(served.full.load(Ordering::Relaxed)),
            HumanCount(served.resumed.load(Ordering::Relaxed)),
            HumanCount(served.unfinished.load(Ordering::Relaxed)),
        ));
    }
    #[cfg(feature = "metrics")]
    if let Some(page) = page {
        page.stop();
    }
    let library = server.stop();
    say(&library.to_string())?;

    let mut faults = library.faults;
    if let Some(cache) = cache {
        let closing = store::close(cache, &callbacks);
        say(&closing.to_string())?;
        faults.extend(closing.before_drop.faults);
        faults.extend(closing.after_drop.faults);
    }
    Ok(faults)
}
