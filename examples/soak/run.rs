//! The run: round after round, and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use refrain::{Added, Context, ContextId, Error, Session, SessionCache, Stats};

use crate::args::Options;
use crate::books::Books;
use crate::callbacks::{Gate, Home, Shared, on_get, on_new, on_remove};
use crate::control::Control;
use crate::governor::{Governor, Seen};
use crate::heap;
use crate::latency::Latencies;
use crate::mix::{KEPT, Load, Worker};
use crate::payload::{Kind, LONGEST, Label};
use crate::progress::{Now, Progress};
use crate::reference::{CONTEXTS, Reference};
use crate::verdict;

/// How long a round is, about.
const ROUND: Duration = Duration::from_secs(10);

/// The byte budget for each session of the capacity.
const BYTES_PER_SESSION: usize = 2048;

/// The least backlog that a cache has, as its builder says; the budget's fourth part is more where that is more.
const LEAST_BACKLOG: usize = 1 << 20;

/// Sessions that a thread may have in hand besides those that it keeps: being built, and between two places.
const IN_HAND: usize = 16;

/// What the libraries keep for each thread that there ever was at a time, aligned as sessions are.
const PER_THREAD: usize = 256;

/// Threads of the process that are not the soak's workers, at most.
const OTHERS: usize = 8;

/// What Refrain keeps of the memory of sessions that are gone, for sessions to come: for all threads, and for each thread that
/// there ever was at a time, two chains of each size up to 4 KiB. Built with `--cfg refrain_unpooled` it keeps nothing.
const DEPOT: usize = 8 << 20;
const SPARE: usize = 4 << 20;
const REGION: usize = 2 << 20;
const MAGAZINES: usize = 64 * 2 * (16 << 10);

/// Memory against its bound, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) budget: usize,
    pub(crate) backlog: usize,
    /// What the soak's own threads may hold beyond the cache's bound: handles.
    pub(crate) handles: usize,
    /// What Refrain may keep of sessions that are gone.
    pub(crate) kept: usize,
    /// The most that sessions took, by the allocator.
    pub(crate) peak: usize,
    /// What was left of them at the end.
    pub(crate) left: usize,
    /// The process's before the cache was built.
    pub(crate) resident_before: Option<usize>,
}

impl Memory {
    pub(crate) fn bound(&self) -> usize {
        let out = self.budget + self.backlog + self.handles + self.kept;
        // Regions are added while they are less than one and a half times what is out of them, and four megabytes, in each
        // of two yards.
        out + out / 2 + 2 * (SPARE + REGION)
    }
}

/// Everything that a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) options: Options,
    pub(crate) elapsed: Duration,
    pub(crate) rounds: u32,
    pub(crate) operations: u64,
    pub(crate) lookups: Latencies,
    /// How late an idle thread woke up meanwhile.
    pub(crate) control: Latencies,
    pub(crate) seen: Seen,
    pub(crate) memory: Memory,
    /// After the cache was dropped.
    pub(crate) stats: Stats,
    pub(crate) books: Books,
    pub(crate) faults: Vec<String>,
}

/// Runs the soak.
pub(crate) fn run(options: Options) -> Result<Outcome, Error> {
    let clients = (options.capacity as u64 / 4).max(options.threads as u64);
    let reference = Arc::new(Reference::new(options.seed, clients as usize)?);
    let shared = Shared {
        reference: Arc::clone(&reference),
        gate: Arc::new(Gate::default()),
        home: Arc::new(Home::new()),
    };
    let heap_before = heap::live();
    let resident_before = heap::resident();
    let bytes = (options.capacity * BYTES_PER_SESSION).max(2 * LONGEST);
    let cache = SessionCache::builder()
        .capacity(options.capacity)
        .byte_budget(bytes)
        .timeout(options.timeout)
        .tick(options.tick())
        .build()?;
    cache.set_on_remove(Some(on_remove(&shared, 0)));
    cache.set_on_new(Some(on_new(&shared)));
    cache.set_on_get(Some(on_get(&shared)));
    let index = heap::live() - heap_before;
    let contexts = contexts(&cache)?;
    let _ = shared.home.set((cache.clone(), contexts.clone()));
    let numbers = |len: usize| (0..len).map(|_| AtomicU64::new(0)).collect();
    let load = Arc::new(Load {
        cache: cache.clone(),
        contexts,
        reference: Arc::clone(&reference),
        shelf: numbers(options.capacity / 4),
        timeout: options.timeout,
        steps: numbers(options.threads),
        operations: numbers(options.threads),
    });

    let mut seen = Seen::default();
    let mut lookups = Latencies::default();
    let progress = start_progress(&options, &load);
    let control = Control::start();
    let begun = Instant::now();
    let (mut worked, mut replaced) = (Duration::ZERO, 0);
    while worked < options.time {
        let left = options.time - worked;
        // Equal rounds, so that the last is not a stump.
        let rounds = left.div_duration_f64(ROUND).ceil().max(1.0);
        let round = Instant::now();
        reference.begin_round();
        let mut governor = Governor {
            load: &load,
            shared: &shared,
            capacity: options.capacity,
            bytes,
            seen: &mut seen,
        };
        play(
            &load,
            &mut governor,
            round + left.div_f64(rounds),
            &mut lookups,
        );
        worked += round.elapsed();
        governor.restore();
        replaced = verdict::end_round(&cache, &reference, replaced).replaced;
        load.shelf
            .iter()
            .for_each(|t| t.store(0, Ordering::Relaxed));
    }
    let elapsed = begun.elapsed();
    let control = control.stop();
    progress.stop();

    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let operations = load.operations.iter().map(count).sum();
    let last = add_last(&load);
    let stats = cache.stats_handle();
    drop((cache, load, shared));
    let stats = stats.snapshot();
    let books = Books::close("after the drop", &stats, &reference.callbacks);
    verdict::note_books(&books, &reference);
    if (stats.dropped, stats.entries) != (last, 0) {
        reference
            .faults
            .note("a dropped cache was not emptied", || {
                format!(
                    "{} of {last} dropped, {} left",
                    stats.dropped, stats.entries
                )
            });
    }
    let backlog = (bytes / 4).max(LEAST_BACKLOG);
    let threads = options.threads + OTHERS;
    let memory = Memory {
        budget: bytes,
        backlog,
        handles: options.threads * (KEPT + IN_HAND) * (LONGEST + 128),
        kept: if cfg!(refrain_unpooled) {
            0
        } else {
            DEPOT + threads * MAGAZINES
        },
        peak: heap::peak().saturating_sub(heap_before + index),
        left: heap::live().saturating_sub(heap_before),
        resident_before,
    };
    if memory.peak > memory.bound() {
        reference
            .faults
            .note("sessions took more memory than the bound", || {
                format!("{memory:?}")
            });
    }
    if memory.left > memory.kept + threads * PER_THREAD {
        reference
            .faults
            .note("memory was left behind", || format!("{memory:?}"));
    }
    note_missing(&reference, &stats, operations);
    Ok(Outcome {
        elapsed,
        rounds: reference.round() - 1,
        operations,
        lookups,
        control,
        seen,
        memory,
        stats,
        books,
        faults: reference.faults.lines(),
        options,
    })
}

fn contexts(cache: &SessionCache) -> Result<[Context; CONTEXTS], Error> {
    let context = |name: &str| cache.context(ContextId::derive(name, &[]));
    Ok([context("a")?, context("b")?, context("c")?, context("d")?])
}

fn start_progress(options: &Options, load: &Arc<Load>) -> Progress {
    // Weak: the display must not be the cache's last owner.
    let load = Arc::downgrade(load);
    Progress::start(options.time, move || {
        load.upgrade().map_or_else(Now::default, |load| Now {
            operations: load
                .operations
                .iter()
                .map(|n| n.load(Ordering::Relaxed))
                .sum(),
            callbacks: load.reference.callbacks.total(),
            live: load.cache.len() as u64,
            round: load.reference.round(),
            faults: load.reference.faults.count(),
        })
    })
}

/// One round of work.
fn play(load: &Load, governor: &mut Governor<'_>, until: Instant, lookups: &mut Latencies) {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..load.steps.len())
            .map(|place| scope.spawn(move || Worker::new(load, place).work()))
            .collect();
        governor.govern(until);
        for worker in workers {
            match worker.join() {
                Ok(worked) => lookups.add(&worked),
                Err(_) => load
                    .reference
                    .faults
                    .note("a worker panicked", || "see above".to_owned()),
            }
        }
    });
}

/// Adds a few sessions for the drop to remove; returns how many.
fn add_last(load: &Load) -> u64 {
    let reference = &load.reference;
    reference.begin_round();
    let never = Duration::from_secs(86_400);
    let mut payload = Vec::new();
    let mut added = 0;
    for context in 0..CONTEXTS {
        let Some(serial) = reference.next_serial(Kind::Ticket) else {
            continue;
        };
        let label = Label {
            kind: Kind::Ticket,
            context,
            epoch: reference.epoch(context),
            number: reference.ticket(serial),
            round: reference.round(),
            serial,
            born: reference.now().as_millis(),
            life: never.as_millis() as u64,
        };
        label.write(500, &mut payload);
        let id = reference.id(Kind::Ticket, label.number);
        let session = Session::builder(&load.contexts[context], id)
            .timeout(never)
            .build(&payload);
        if session.is_ok_and(|session| load.cache.add(session) == Added::Inserted) {
            added += 1;
        } else {
            reference
                .faults
                .note("an empty cache refused a session", || format!("{label:?}"));
        }
    }
    added
}

/// A run that never reaches something proves nothing about it.
fn note_missing(reference: &Reference, stats: &Stats, operations: u64) {
    // The rarest of these comes once in some ten thousand operations.
    if operations < 2_000_000 {
        return;
    }
    let missing: Vec<_> = [
        ("hits", stats.hits),
        ("misses", stats.misses),
        ("replaced", stats.replaced),
        ("taken", stats.taken),
        ("removed", stats.removed),
        ("never added", stats.never_added),
        ("retained", stats.retained),
        ("cleared", stats.cleared),
        ("refused", stats.refused),
        ("evicted", stats.evicted),
        ("invalidated", stats.invalidated),
        ("external", stats.external_hits),
    ]
    .into_iter()
    .filter(|(_, count)| *count == 0)
    .map(|(what, _)| what)
    .collect();
    if !missing.is_empty() {
        reference
            .faults
            .note("the mix did not reach everything", || missing.join(", "));
    }
}
