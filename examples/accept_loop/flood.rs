//! `--flush`: many more sessions in the cache, which are flushed at once while the handshakes go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use refrain::{Session, SessionCache};

use crate::args::{CacheKind, Options};
use crate::output::Failure;
use crate::stack::Stack;
use crate::store;

/// The end of every id that none of the handshakes made. libssl hashes the beginning.
const MARK: [u8; 16] = *b"one of the flood";
/// About what a TLS 1.3 session takes.
const PAYLOAD: [u8; 200] = [0x5a; 200];
/// How often it is looked whether it is time.
const PAUSE: Duration = Duration::from_millis(1);

/// Removes the flood and nothing else. How many it removed, where that is told.
pub(crate) type Flush = Box<dyn FnOnce() -> Option<u64> + Send>;

/// Whether the flush is still to come, under way, or over.
#[derive(Debug, Default)]
pub(crate) struct Stage(AtomicU8);

impl Stage {
    const DURING: u8 = 1;
    const AFTER: u8 = 2;

    pub(crate) fn now(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }

    /// Whether the flush was under way at some time since this was the stage.
    pub(crate) fn saw_flush(&self, since: u8) -> bool {
        since < Self::AFTER && self.now() >= Self::DURING
    }
}

/// What the flush came to.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// Sessions that were there for it.
    pub(crate) sessions: usize,
    /// As the cache tells it; libssl tells nothing.
    pub(crate) removed: Option<u64>,
    pub(crate) took: Duration,
}

/// A thread that waits to flush.
pub(crate) struct Flood {
    end: Sender<()>,
    thread: JoinHandle<Flushed>,
}

impl Flood {
    /// Fills the cache with as many sessions as the options say, which end in half of the others' time. A thread then
    /// flushes them as soon as `is_time` says so, or else at the end. None, if the options say nothing.
    pub(crate) fn begin(
        options: &Options,
        cache: Option<&SessionCache>,
        stack: &Stack,
        stage: &Arc<Stage>,
        is_time: impl Fn() -> bool + Send + 'static,
    ) -> Result<Option<Self>, Failure> {
        let Some(sessions) = options.flush else {
            return Ok(None);
        };
        let timeout = options.timeout / 2;
        let flush = match (cache, options.cache) {
            (Some(cache), _) => Some(fill(cache, sessions, timeout)?),
            (None, CacheKind::Library) => stack.fill(sessions, timeout)?,
            (None, _) => None,
        };
        let flush = flush.ok_or_else(|| {
            let cache = options.cache.as_str();
            Failure::usage(format!("--flush: cache {cache} can't be flushed"))
        })?;
        let (end, ended) = mpsc::channel();
        let stage = Arc::clone(stage);
        let wait = move || {
            while !is_time() && ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {}
            stage.set(Stage::DURING);
            let began = Instant::now();
            let removed = flush();
            let took = began.elapsed();
            stage.set(Stage::AFTER);
            Flushed {
                sessions,
                removed,
                took,
            }
        };
        let thread = thread::Builder::new()
            .name("flush".to_owned())
            .spawn(wait)
            .map_err(|error| Failure::broken(format!("could not start a thread: {error}")))?;
        Ok(Some(Self { end, thread }))
    }

    /// The handshakes are over: waits for the flush.
    pub(crate) fn end(self) -> Result<Flushed, Failure> {
        drop(self.end);
        let flushed = self.thread.join();
        flushed.map_err(|_| Failure::broken("the flush panicked".to_owned()))
    }
}

/// Whether a session of this id is one of the flood.
pub(crate) fn is_of_it(id: &[u8]) -> bool {
    id.ends_with(&MARK)
}

/// The ids, as even as random ones.
pub(crate) fn ids(sessions: usize) -> impl Iterator<Item = [u8; 32]> {
    (1..=sessions as u64).map(|number| {
        let mut id = [0; 32];
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes();
        id[..8].copy_from_slice(&mixed.to_le_bytes());
        id[8..16].copy_from_slice(&number.to_le_bytes());
        id[16..].copy_from_slice(&MARK);
        id
    })
}

/// Fills Refrain.
fn fill(cache: &SessionCache, sessions: usize, timeout: Duration) -> Result<Flush, Failure> {
    let broken = |error: refrain::Error| Failure::broken(error.to_string());
    let context = cache.context(store::context_id()).map_err(broken)?;
    let mut kept = 0;
    for id in ids(sessions) {
        let session = Session::builder(&context, id.into()).timeout(timeout);
        let session = session.build(&PAYLOAD).map_err(broken)?;
        kept += usize::from(cache.add(session).is_cached());
    }
    if kept < sessions {
        let complaint = format!("the cache keeps only {kept} of {sessions} sessions");
        return Err(Failure::broken(complaint));
    }
    let cache = cache.clone();
    Ok(Box::new(move || {
        let all = cache.now() + timeout + Duration::from_secs(1);
        Some(cache.flush(all) as u64)
    }))
}
