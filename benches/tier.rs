//! What the shared tier costs, over a real redis-server and a real memcached on loopback, which this starts. One that is not
//! installed is told by a line `NOT RUN`.
//!
//! `cargo bench --features redis,memcached --bench tier` runs everything; `-- redis/hit` one of them.
//!
//! The look-ups are those of handshakes: through `Connection`, on one thread. "round trip" is a read of the store itself, of
//! what it does not have: what is between that and a hit is Refrain's.

#![allow(missing_docs, reason = "a program, not an interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use refrain::store::{ExternalOptions, ExternalStore, Keys};
use refrain::{CacheMode, Context, ContextId, SessionCache, SessionId};

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/stores/servers.rs"]
mod servers;

use servers::{Kind, free_port, key, later};

/// A session of rustls's is as long.
const PAYLOAD: [u8; 96] = [0x5a; 96];
/// Sessions that are there.
const LIVE: u32 = 10_000;
/// As many as the queue takes.
const QUEUE: u32 = 16_384;
/// Single-use sessions between which others are made.
const BATCH: u32 = 2_000;

/// The system's allocator, with a count of what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn options() -> ExternalOptions {
    let key = |n: u8| std::array::from_fn(|at| (at as u8 ^ n).wrapping_mul(37).wrapping_add(n));
    ExternalOptions::new(Keys::new(&key(1), &key(2)).unwrap()).read_budget(servers::millis(20))
}

struct Node {
    cache: SessionCache,
    context: Context,
}

impl Node {
    fn new(kind: Kind, port: u16, mode: CacheMode, options: ExternalOptions) -> Self {
        let cache = SessionCache::builder()
            .capacity(4 * LIVE as usize)
            .mode(mode)
            .external(Arc::<dyn ExternalStore>::from(kind.store(port, 4)), options)
            .build()
            .unwrap();
        let context = cache.context(ContextId::derive("bench", &[])).unwrap();
        Self { cache, context }
    }

    fn settle(&self) {
        assert!(self.cache.settle_external(Duration::from_secs(20)));
    }

    fn establish(&self, n: u32) {
        let mut connection = self.cache.accept(&self.context);
        let session = connection.session_builder(id(n)).build(&PAYLOAD).unwrap();
        assert!(connection.establish(session));
        connection.close();
    }

    fn resume(&self, n: u32) -> bool {
        let mut connection = self.cache.accept(&self.context);
        let found = connection.resume(id(n)).is_some();
        connection.finish();
        connection.close();
        found
    }

    fn resume_once(&self, n: u32) -> bool {
        let mut connection = self.cache.accept(&self.context);
        let won = connection.resume_once(id(n)).is_some() && connection.claim();
        connection.finish();
        connection.close();
        won
    }
}

fn id(n: u32) -> SessionId {
    SessionId::new(&key(n).as_bytes()[..32]).unwrap()
}

fn tier(c: &mut Criterion) {
    for kind in Kind::ALL {
        let Some(server) = kind.server() else {
            continue;
        };
        let name = format!("{kind:?}").to_lowercase();
        let outside = CacheMode::default() | CacheMode::NO_INTERNAL;
        let maker = Node::new(kind, server.port, CacheMode::default(), options());
        let reader = Node::new(kind, server.port, outside, options());
        [&maker, &reader].into_iter().for_each(Node::settle);
        for n in 0..LIVE {
            maker.establish(n);
        }
        maker.settle();
        let next = Cell::new(0_u32);
        let pick = || {
            next.set(next.get().wrapping_add(7919));
            next.get() % LIVE
        };
        let lost = Cell::new(0_u64);

        let mut group = c.benchmark_group(&name);
        group.throughput(Throughput::Elements(1));
        let store = kind.connected(server.port, 1);
        group.bench_function("round trip", |b| {
            b.iter(|| store.get(&key(u32::MAX), later()).unwrap())
        });
        // A read that came too late is none: they are told, and the time that they took is in the mean.
        group.bench_function("hit", |b| {
            b.iter(|| lost.set(lost.get() + u64::from(!reader.resume(pick()))))
        });
        group.bench_function("miss", |b| {
            b.iter(|| assert!(!reader.resume(pick() | 1 << 31)))
        });
        group.bench_function("hit in the first tier", |b| {
            b.iter(|| assert!(maker.resume(pick())))
        });
        let fresh = Cell::new(LIVE);
        group.bench_function("single use, looked at and claimed", |b| {
            b.iter_custom(|times| {
                let (mut left, mut spent) = (times as u32, Duration::ZERO);
                while left > 0 {
                    let many = left.min(BATCH);
                    left -= many;
                    let first = fresh.get();
                    fresh.set(first + many);
                    (first..first + many).for_each(|n| maker.establish(n));
                    maker.settle();
                    let begin = Instant::now();
                    for n in first..first + many {
                        lost.set(lost.get() + u64::from(!reader.resume_once(n)));
                    }
                    spent += begin.elapsed();
                }
                spent
            })
        });
        println!("{name}: {} hits were lost to late answers", lost.get());

        // From the first that is queued to the last that is answered.
        group.throughput(Throughput::Elements(QUEUE.into()));
        group.sample_size(10);
        group.bench_function("the queue, filled and written", |b| {
            b.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    let writer = Node::new(kind, server.port, outside, options());
                    writer.settle();
                    let begin = Instant::now();
                    (0..QUEUE).for_each(|n| writer.establish(n));
                    writer.settle();
                    spent += begin.elapsed();
                    let stats = writer.cache.external_stats().unwrap();
                    assert_eq!(stats.written + stats.queue_dropped, u64::from(QUEUE));
                    assert_eq!(stats.queue_dropped, 0);
                }
                spent
            })
        });
        group.finish();
    }
}

/// What a session takes that waits to be written, while the store is away.
fn memory(_: &mut Criterion) {
    let outside = CacheMode::default() | CacheMode::NO_INTERNAL;
    let node = Node::new(Kind::Redis, free_port(), outside, options());
    let before = ALLOCATED.load(Relaxed);
    (0..QUEUE).for_each(|n| node.establish(n));
    let each = (ALLOCATED.load(Relaxed) - before) as f64 / f64::from(QUEUE);
    let stats = node.cache.external_stats().unwrap();
    assert_eq!(stats.queue_depth, u64::from(QUEUE));
    let counted = stats.queue_bytes as f64 / f64::from(QUEUE);
    println!(
        "memory of the queue: {each:.0} bytes for each session of {} bytes, of which {counted:.0} count against its bound",
        PAYLOAD.len()
    );
}

criterion_group!(benches, memory, tier);
criterion_main!(benches);
