//! The limit: a map for each thread, which nobody shares. To evict, it drops its oldest.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup};

pub(crate) struct Private {
    /// Of each thread's map.
    capacity: usize,
}

pub(crate) struct Own {
    map: HashMap<Id, Payload, Hashing>,
    order: VecDeque<Id>,
}

impl Cache for Private {
    const NAME: &'static str = "private-map";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Share, "the limit: each thread has its own"),
        (Need::Listen, "a map: no callbacks"),
    ];
    const CLEARS: bool = true;

    type Key = Id;
    type Local = Own;

    fn build(setup: &Setup) -> Self {
        Self {
            capacity: setup.capacity / setup.threads,
        }
    }

    fn local(&self) -> Own {
        Own {
            map: HashMap::with_capacity_and_hasher(self.capacity, Hashing::new()),
            order: VecDeque::new(),
        }
    }

    #[inline]
    fn lend(&self, own: &mut Own, key: &Id) -> Option<u8> {
        own.map.get(key).map(|payload| payload[0])
    }

    #[inline]
    fn own(&self, own: &mut Own, key: &Id) -> Option<u8> {
        let payload = own.map.get(key).cloned()?;
        Some(payload[0])
    }

    #[inline]
    fn take(&self, own: &mut Own, key: &Id) -> Option<u8> {
        let payload = own.map.remove(key)?;
        Some(payload[0])
    }

    #[inline]
    fn add(&self, own: &mut Own, id: Id, payload: &[u8]) -> bool {
        own.map.insert(id, payload.into());
        own.order.push_back(id);
        // What was taken is still in the order, and dropped from it when its turn comes.
        while own.map.len() > self.capacity || own.order.len() > 2 * self.capacity {
            match own.order.pop_front() {
                Some(oldest) => own.map.remove(&oldest),
                None => break,
            };
        }
        true
    }

    fn len(&self, own: &Own) -> Option<usize> {
        Some(own.map.len())
    }

    fn clear(&self, own: &mut Own) {
        own.map.clear();
        own.order.clear();
    }
}
