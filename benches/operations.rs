//! The cost of each operation on one thread, beside a private, unshared `hashbrown` map in the same run: the distance
//! to what the machine could do without sharing, counting, expiring or evicting.
//!
//! `cargo bench` runs everything; `cargo bench -- lookup` only the lookups.

#![allow(missing_docs, reason = "a program, not an interface")]

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use refrain::{
    Context, ContextId, Maintenance, ManualClock, Session, SessionCache, SessionId, Time,
};

const LIVE: usize = 20_000;
const PAYLOAD: [u8; 256] = [0x5a; 256];

/// A small generator of pseudo-random numbers (xorshift), the same in every run.
struct Random(Cell<u64>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        x
    }

    fn id(&self) -> SessionId {
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        SessionId::new(&bytes).unwrap()
    }
}

fn cache(capacity: usize) -> (SessionCache, Context) {
    let cache = SessionCache::builder()
        .capacity(capacity)
        .byte_budget(capacity * 4096)
        .build()
        .unwrap();
    let context = cache.context(ContextId::derive("bench", &[])).unwrap();
    (cache, context)
}

fn fill(cache: &SessionCache, context: &Context, random: &Random, n: usize) -> Vec<SessionId> {
    (0..n)
        .map(|_| {
            let id = random.id();
            let added = cache.add(Session::new(context, id, &PAYLOAD).unwrap());
            assert!(added.is_cached());
            id
        })
        .collect()
}

fn lookups(c: &mut Criterion) {
    let random = Random::new(1);
    let (cache, context) = cache(2 * LIVE);
    let ids = fill(&cache, &context, &random, LIVE);
    let map: hashbrown::HashMap<SessionId, Box<[u8]>, ahash::RandomState> = ids
        .iter()
        .map(|id| (*id, PAYLOAD.to_vec().into_boxed_slice()))
        .collect();
    let pick = || &ids[random.next() as usize % LIVE];
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(1));
    group.bench_function("private map", |b| {
        b.iter(|| map.get(pick()).map(|payload| black_box(payload[0])))
    });
    group.bench_function("with", |b| {
        b.iter(|| cache.with(&context, pick(), |session| black_box(session.payload()[0])))
    });
    group.bench_function("get", |b| {
        b.iter(|| {
            cache
                .get(&context, pick())
                .map(|session| black_box(session.payload()[0]))
        })
    });
    let absent: Vec<_> = (0..LIVE).map(|_| random.id()).collect();
    group.bench_function("miss", |b| {
        b.iter(|| cache.contains(&context, &absent[random.next() as usize % LIVE]))
    });
    group.finish();
}

fn changes(c: &mut Criterion) {
    let random = Random::new(2);
    let mut group = c.benchmark_group("change");
    group.throughput(Throughput::Elements(1));

    let (roomy, context) = cache(4 * LIVE);
    let mut ids = fill(&roomy, &context, &random, LIVE);
    group.bench_function("take+add", |b| {
        b.iter(|| {
            let place = random.next() as usize % LIVE;
            black_box(roomy.take(&context, &ids[place]));
            ids[place] = random.id();
            roomy.add(Session::new(&context, ids[place], &PAYLOAD).unwrap())
        })
    });

    let (full, context) = cache(LIVE);
    fill(&full, &context, &random, LIVE);
    group.bench_function("add at capacity", |b| {
        b.iter(|| full.add(Session::new(&context, random.id(), &PAYLOAD).unwrap()))
    });

    // The same allocation, one live allocation replaced each time, in a map that nobody shares.
    let mut map: hashbrown::HashMap<SessionId, Session, ahash::RandomState> = Default::default();
    let mut queue = std::collections::VecDeque::new();
    group.bench_function("private map, oldest out", |b| {
        b.iter(|| {
            let id = random.id();
            map.insert(id, Session::new(&context, id, &PAYLOAD).unwrap());
            queue.push_back(id);
            if queue.len() > LIVE {
                map.remove(&queue.pop_front().unwrap());
            }
        })
    });
    group.bench_function("allocate and wipe", |b| {
        b.iter(|| Session::new(&context, random.id(), &PAYLOAD).unwrap())
    });
    group.finish();
}

fn expiry(c: &mut Criterion) {
    let random = Random::new(3);
    let mut group = c.benchmark_group("expiry");
    group.throughput(Throughput::Elements(LIVE as u64));
    group.sample_size(20);
    let full = || {
        let clock = ManualClock::new();
        let cache = SessionCache::builder()
            .capacity(LIVE)
            .shards(1)
            .timeout(Duration::from_secs(60))
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .build()
            .unwrap();
        let context = cache.context(ContextId::derive("bench", &[])).unwrap();
        fill(&cache, &context, &random, LIVE);
        clock.set(Time::from_millis(61_000));
        cache
    };
    // Turning the wheel, ending, unlinking, collecting, wiping and freeing: all that maintenance does.
    group.bench_function("a full shard, to the last byte", |b| {
        b.iter_batched(
            full,
            |cache| {
                cache.settle();
                cache
            },
            BatchSize::PerIteration,
        )
    });
    group.bench_function("a full shard, by flush", |b| {
        b.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let cache = full();
                    let begin = Instant::now();
                    assert_eq!(cache.flush(Time::MAX), LIVE);
                    begin.elapsed()
                })
                .sum()
        })
    });
    group.finish();
}

criterion_group!(benches, lookups, changes, expiry);
criterion_main!(benches);
