//! A cache that is filled to its capacity.

use serde_json::{Value, json};

use crate::cache::{Cache, Key, Setup};
use crate::heap;
use crate::random::Random;
use crate::rivals::{Visitor, visit};

/// Fills one rival and says what it takes.
pub(super) fn measure(
    rival: &str,
    sessions: usize,
    payload: usize,
    seed: u64,
) -> Result<Value, String> {
    let mut measure = Measure {
        sessions,
        payload,
        seed,
        found: Err(format!("no rival is called {rival:?}")),
    };
    visit(rival, &mut measure);
    measure.found
}

struct Measure {
    sessions: usize,
    payload: usize,
    seed: u64,
    found: Result<Value, String>,
}

/// The three ways to count, at one moment.
#[derive(Clone, Copy, Debug)]
struct Books {
    heap: usize,
    malloc: Option<usize>,
    resident: Option<usize>,
}

impl Books {
    /// The heap's since a moment.
    fn now(since: usize) -> Self {
        Self {
            heap: heap::since(since),
            malloc: heap::malloced(),
            resident: heap::resident(),
        }
    }
}

impl Visitor for Measure {
    fn visit<C: Cache>(&mut self) {
        let payload = vec![0x5a; self.payload];
        let start = heap::live();
        let before = Books::now(start);
        let cache = C::build(&Setup::new(self.sessions, self.payload, 1));
        let mut local = cache.local();
        let built = heap::since(start);
        let ids = || {
            let mut random = Random::new(self.seed, 0);
            (0..self.sessions).map(move |_| random.id())
        };
        for id in ids() {
            cache.add(&mut local, id, &payload);
        }
        cache.settle();
        let after = Books::now(start);
        let held = ids()
            .filter(|id| cache.see(&mut local, &C::Key::of(*id)).is_some())
            .count();
        if held < self.sessions / 2 {
            self.found = Err(format!("{} holds {held} sessions", C::NAME));
            return;
        }
        let each = |bytes: usize| bytes as f64 / held as f64 - self.payload as f64;
        let told = |pair: Option<(usize, usize)>| {
            pair.map(|(after, before)| each(after.saturating_sub(before)))
        };
        // What C code asks for, the counting allocator does not see.
        let heap = each(after.heap);
        self.found = Ok(json!({
            "rival": C::NAME,
            "held": held,
            "heap": (heap > 0.0).then_some(heap),
            "malloc": told(after.malloc.zip(before.malloc)),
            "rss": told(after.resident.zip(before.resident)),
            "empty_heap_bytes": built,
        }));
    }
}
