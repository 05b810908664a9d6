//! The cost of each operation on one thread, beside a private, unshared `hashbrown` map in the same run: the distance
//! to what the machine could do without sharing, counting, expiring or evicting.
//!
//! `cargo bench` runs everything; `cargo bench -- lookup` only the lookups.

#![allow(missing_docs, reason = "a program, not an interface")]

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use refrain::{
    Builder, CacheMode, Context, ContextId, Maintenance, ManualClock, Session, SessionCache,
    SessionId, Time,
};

const LIVE: usize = 20_000;
const PAYLOAD: [u8; 256] = [0x5a; 256];
/// Operations between which, off the clock, what they need is made and what they leave is put in order.
const BATCH: usize = 2000;

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
    built(SessionCache::builder(), capacity)
}

fn built(builder: Builder, capacity: usize) -> (SessionCache, Context) {
    let builder = builder.capacity(capacity).byte_budget(capacity * 4096);
    let cache = builder.build().unwrap();
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

/// The time that `one` takes for each of so many things that `prepare` makes. `after` comes after a batch of them.
fn in_batches<T>(
    times: u64,
    prepare: impl Fn(usize) -> Vec<T>,
    one: impl Fn(T),
    after: impl Fn(),
) -> Duration {
    let mut left = times as usize;
    let mut spent = Duration::ZERO;
    while left > 0 {
        let batch = prepare(left.min(BATCH));
        left -= batch.len();
        let begin = Instant::now();
        batch.into_iter().for_each(&one);
        spent += begin.elapsed();
        after();
    }
    spent
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
    group.bench_function("contains", |b| b.iter(|| cache.contains(&context, pick())));
    let absent: Vec<_> = (0..LIVE).map(|_| random.id()).collect();
    group.bench_function("miss", |b| {
        b.iter(|| cache.contains(&context, &absent[random.next() as usize % LIVE]))
    });
    group.finish();
}

/// Look-ups that postpone the session's deadline, each of them.
fn touch(c: &mut Criterion) {
    let random = Random::new(4);
    let clock = ManualClock::new();
    let builder = SessionCache::builder()
        .mode(CacheMode::default() | CacheMode::UPDATE_TIME)
        .clock(clock.clone());
    let (cache, context) = built(builder, 2 * LIVE);
    let ids = fill(&cache, &context, &random, LIVE);
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(1));
    group.bench_function("touch", |b| {
        b.iter_custom(|times| {
            in_batches(
                times,
                |n| {
                    clock.advance(Duration::from_secs(1));
                    cache.now();
                    let begin = random.next() as usize % (LIVE - n);
                    ids[begin..begin + n].to_vec()
                },
                |id| {
                    cache.with(&context, &id, |session| black_box(session.payload()[0]));
                },
                || (),
            )
        })
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

    let (roomy, context) = cache(2 * LIVE);
    let ids = fill(&roomy, &context, &random, LIVE);
    let added = RefCell::new(Vec::new());
    group.bench_function("add", |b| {
        b.iter_custom(|times| {
            in_batches(
                times,
                |n| {
                    let new: Vec<_> = (0..n).map(|_| random.id()).collect();
                    let session = |id: &SessionId| Session::new(&context, *id, &PAYLOAD).unwrap();
                    let sessions = new.iter().map(session).collect();
                    added.replace(new);
                    sessions
                },
                |session| assert!(roomy.add(session).is_cached()),
                || {
                    let removed = |id: &SessionId| roomy.remove(&context, id);
                    assert!(added.borrow().iter().all(removed));
                    roomy.settle();
                },
            )
        })
    });
    group.bench_function("replace", |b| {
        b.iter_custom(|times| {
            in_batches(
                times,
                |n| {
                    let begin = random.next() as usize % (LIVE - n);
                    let session = |id: &SessionId| Session::new(&context, *id, &PAYLOAD).unwrap();
                    ids[begin..begin + n].iter().map(session).collect()
                },
                |session| assert!(roomy.add(session).is_cached()),
                || roomy.settle(),
            )
        })
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

fn endings(c: &mut Criterion) {
    let random = Random::new(5);
    let (cache, context) = cache(2 * LIVE);
    fill(&cache, &context, &random, LIVE);
    let mut group = c.benchmark_group("end");
    group.throughput(Throughput::Elements(1));
    let ids = |n| fill(&cache, &context, &random, n);
    group.bench_function("take", |b| {
        b.iter_custom(|times| {
            let take = |id| assert!(cache.take(&context, &id).is_some());
            in_batches(times, ids, take, || cache.settle())
        })
    });
    group.bench_function("take_exact", |b| {
        b.iter_custom(|times| {
            let handles = |n| {
                let ids = ids(n);
                let handles = ids.iter().map(|id| cache.get(&context, id).unwrap());
                handles.collect()
            };
            let take = |session: Session| assert!(cache.take_exact(&session));
            in_batches(times, handles, take, || cache.settle())
        })
    });
    group.bench_function("remove", |b| {
        b.iter_custom(|times| {
            let remove = |id| assert!(cache.remove(&context, &id));
            in_batches(times, ids, remove, || cache.settle())
        })
    });
    group.finish();
}

/// What is nobody's handshake, one call each.
fn chores(c: &mut Criterion) {
    let random = Random::new(6);
    let by_hand = || SessionCache::builder().maintenance(Maintenance::Manual);
    let mut group = c.benchmark_group("chore");
    let (cache, context) = built(by_hand(), 2 * LIVE);
    fill(&cache, &context, &random, LIVE);
    group.bench_function("stats", |b| b.iter(|| cache.stats()));
    group.bench_function("maintain, nothing to do", |b| {
        b.iter(|| cache.run_maintenance())
    });
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("maintain, 2000 taken", |b| {
        let taken = || {
            for id in fill(&cache, &context, &random, BATCH) {
                assert!(cache.take(&context, &id).is_some());
            }
        };
        b.iter_batched(taken, |()| cache.settle(), BatchSize::PerIteration)
    });
    group.finish();

    // In constant time, whatever is in it.
    let mut group = c.benchmark_group("chore");
    let (cache, context) = built(by_hand(), 2 * LIVE);
    fill(&cache, &context, &random, LIVE);
    group.bench_function("invalidate", |b| {
        b.iter(|| cache.invalidate_context(&context).unwrap())
    });
    group.finish();
}

fn expiry(c: &mut Criterion) {
    let random = Random::new(3);
    let mut group = c.benchmark_group("expiry");
    group.throughput(Throughput::Elements(LIVE as u64));
    group.sample_size(20);
    let build = |clock: &ManualClock| {
        SessionCache::builder()
            .capacity(LIVE)
            .shards(1)
            .timeout(Duration::from_secs(60))
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .build()
            .unwrap()
    };
    let full = || {
        let clock = ManualClock::new();
        let cache = build(&clock);
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
    // The same where it has been so for a while: memory and index are there.
    group.bench_function("a full shard once more, to the last byte", |b| {
        let clock = ManualClock::new();
        let cache = build(&clock);
        let context = cache.context(ContextId::derive("bench", &[])).unwrap();
        b.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    fill(&cache, &context, &random, LIVE);
                    clock.advance(Duration::from_secs(61));
                    let begin = Instant::now();
                    cache.settle();
                    let elapsed = begin.elapsed();
                    assert!(cache.is_empty());
                    elapsed
                })
                .sum()
        })
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

criterion_group!(benches, lookups, touch, changes, endings, chores, expiry);
criterion_main!(benches);
