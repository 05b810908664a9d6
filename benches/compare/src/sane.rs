//! A look at each rival before it is measured: does it store, find, take, replace and evict at all? A figure of something
//! that does nothing would look splendid.

use crate::cache::{Cache, Id, Key, Need, Setup, lacks};
use crate::random::Random;
use crate::rivals::Visitor;

const CAPACITY: usize = 1000;
const LIVE: usize = 600;
const SHRUNK: usize = 160;

/// Collects what is wrong with the rivals that it visits.
#[derive(Debug, Default)]
pub(crate) struct Sanity {
    pub(crate) faults: Vec<String>,
}

impl Visitor for Sanity {
    fn visit<C: Cache>(&mut self) {
        for fault in faults::<C>() {
            self.faults.push(format!("{}: {fault}", C::NAME));
        }
    }
}

/// One rival under examination.
struct Patient<C: Cache> {
    cache: C,
    local: C::Local,
    faults: Vec<String>,
}

impl<C: Cache> Patient<C> {
    fn check(&mut self, is_right: bool, what: &str) {
        if !is_right {
            self.faults.push(what.to_owned());
        }
    }

    /// By each way of looking that it has.
    fn looks(&mut self, id: Id) -> Vec<Option<u8>> {
        let (cache, local, key) = (&self.cache, &mut self.local, C::Key::of(id));
        let mut seen = vec![cache.find(local, &key), cache.see(local, &key)];
        if lacks::<C>(Need::Lend).is_none() {
            seen.push(cache.lend(local, &key));
        }
        if lacks::<C>(Need::Own).is_none() {
            seen.push(cache.own(local, &key));
        }
        seen
    }

    fn has(&mut self, id: Id, first: u8) -> bool {
        let wanted = Some(if C::BLIND { 0 } else { first });
        self.looks(id).into_iter().all(|seen| seen == wanted)
    }

    fn has_not(&mut self, id: Id) -> bool {
        self.looks(id).into_iter().all(|seen| seen.is_none())
    }

    fn add(&mut self, id: Id, first: u8) -> bool {
        self.cache.add(&mut self.local, id, &[first; 256])
    }

    /// How many there are by its own count, and how many of these are found.
    fn count(&mut self, ids: &[Id]) -> (usize, usize) {
        self.cache.settle();
        let (cache, local) = (&self.cache, &mut self.local);
        let found = ids
            .iter()
            .filter(|id| cache.see(local, &C::Key::of(**id)).is_some())
            .count();
        (cache.len(local).unwrap_or(found), found)
    }
}

fn faults<C: Cache>() -> Vec<String> {
    let setup = Setup::new(CAPACITY, 256, 1);
    let cache = C::build(&setup);
    let local = cache.local();
    let mut it = Patient::<C> {
        cache,
        local,
        faults: Vec::new(),
    };
    let mut random = Random::new(1, 0);
    let mut ids: Vec<Id> = (0..LIVE).map(|_| random.id()).collect();

    let kept = ids.iter().filter(|id| it.add(**id, id.0[0])).count();
    it.check(kept == LIVE, "an add is refused");
    let counted = it.count(&ids);
    it.check(counted == (LIVE, LIVE), "what was added is not there");
    let all = ids.iter().all(|id| it.has(*id, id.0[0]));
    it.check(all, "a look-up does not find the right session");
    let none = (0..LIVE).all(|_| it.has_not(random.id()));
    it.check(none, "a look-up finds what was never added");

    let id = ids[0];
    it.add(id, id.0[0] ^ 1);
    let replaced = it.has(id, id.0[0] ^ 1);
    it.check(replaced, "a session of the same id does not replace it");
    it.check(it.faults.is_empty(), "and so the rest was not looked at");
    if it.faults.is_empty() {
        take(&mut it, &ids);
        evict(&mut it, &mut ids, &mut random);
        remove(&mut it, &ids);
    }
    it.faults
}

fn take<C: Cache>(it: &mut Patient<C>, ids: &[Id]) {
    if lacks::<C>(Need::Take).is_some() {
        return;
    }
    let id = ids[LIVE - 1];
    let wanted = Some(if C::BLIND { 0 } else { id.0[0] });
    let (cache, local, key) = (&it.cache, &mut it.local, C::Key::of(id));
    let (first, second) = (cache.take(local, &key), cache.take(local, &key));
    it.check(first == wanted, "a take does not return the session");
    it.check(second.is_none(), "a second take returns something");
    let gone = it.has_not(id);
    it.check(gone, "what was taken is still found");
    let counted = it.count(ids);
    it.check(counted == (LIVE - 1, LIVE - 1), "a take leaves the count");
}

fn evict<C: Cache>(it: &mut Patient<C>, ids: &mut Vec<Id>, random: &mut Random) {
    for _ in 0..4 * CAPACITY {
        let id = random.id();
        ids.push(id);
        it.add(id, id.0[0]);
    }
    let (len, found) = it.count(ids);
    it.check(len == found, "it counts others than are found");
    if lacks::<C>(Need::Evict).is_some() {
        it.check(len >= 4 * CAPACITY, "a map loses something");
        return;
    }
    it.check(len <= CAPACITY, "it holds more than its capacity");
    it.check(len >= CAPACITY * 9 / 10, "it holds less than its capacity");
    let exact = CAPACITY - usize::from(C::ONE_LESS);
    let is_exact = C::NAME != "refrain" && C::NAME != "openssl" || len == exact;
    it.check(is_exact, "it does not hold as many as it says");
    if C::SHRINKS {
        it.cache.shrink(SHRUNK);
        let id = random.id();
        ids.push(id);
        it.add(id, id.0[0]);
        let (len, _) = it.count(ids);
        it.check(len <= SHRUNK, "a cut of its capacity does nothing");
    }
}

fn remove<C: Cache>(it: &mut Patient<C>, ids: &[Id]) {
    if C::CLEARS {
        it.cache.clear(&mut it.local);
        let counted = it.count(ids);
        it.check(counted == (0, 0), "what is cleared is still there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::{NAMES, visit};

    #[test]
    fn every_rival_is_sane() {
        let mut sanity = Sanity::default();
        for name in NAMES {
            assert!(visit(name, &mut sanity));
        }
        assert_eq!(sanity.faults, [""; 0]);
        assert!(!visit("nobody", &mut sanity));
    }
}
