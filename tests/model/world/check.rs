//! What the cache and the model must agree on.

use refrain::RemovalCause;

use super::{Life, World};
use crate::common::assert_settled;

impl World {
    /// Each object that has left was told of once, with its cause, and no other was.
    pub(super) fn compare_events(&self) {
        let mut told = vec![None; self.objects.len()];
        for (tag, cause) in self.log.all() {
            let before = told[tag as usize].replace(cause);
            assert_eq!(before, None, "object {tag} was told of twice");
        }
        for (at, object) in self.objects.iter().enumerate() {
            let expected = match object.life {
                Life::Gone(cause) => cause,
                // By which of its causes is the cache's to decide.
                Life::MadeRoom => {
                    assert!(
                        told[at].is_some_and(made_room),
                        "object {at}: {:?}",
                        told[at]
                    );
                    continue;
                }
                Life::New | Life::Live => None,
            };
            // What has expired and is of a dead generation as well may leave for either reason.
            let is_stale = !self.generations.contains(&object.key.0);
            if is_stale && expected.is_some_and(made_room) {
                assert!(
                    told[at].is_some_and(made_room),
                    "object {at}: {:?}",
                    told[at]
                );
            } else {
                assert_eq!(told[at], expected, "object {at}");
            }
        }
    }

    /// Compares what can be seen at any time; in a small cache, learns what was evicted.
    pub(super) fn agree(&mut self) {
        for at in 0..self.objects.len() {
            let object = &mut self.objects[at];
            let lives = matches!(object.life, Life::Live | Life::New);
            if !self.roomy && object.life == Life::Live && !object.handle.is_resumable() {
                object.life = Life::MadeRoom;
                self.index.remove(&object.key);
                continue;
            }
            assert_eq!(object.handle.is_resumable(), lives, "object {at}");
            if object.life == Life::Live {
                assert_eq!(object.handle.deadline().as_millis(), object.deadline);
            }
        }
        let stats = self.cache.stats();
        assert_eq!(self.cache.len(), self.index.len());
        assert!(stats.is_balanced(), "{stats:#?}");
        let memory = |at: &usize| self.objects[*at].handle.memory() as u64;
        let bytes = self.index.values().map(memory).sum::<u64>();
        assert_eq!(stats.bytes, bytes);
        assert!(bytes <= self.cache.byte_budget() as u64);
    }

    pub(crate) fn finish(mut self) {
        self.maintain();
        self.agree();
        let stats = self.cache.stats();
        assert_settled(&stats);
        self.compare_events();
        if self.roomy {
            let mut expected = self.expected;
            (expected.entries, expected.bytes) = (stats.entries, stats.bytes);
            expected.callbacks = stats.callbacks;
            // See `compare_events`.
            let either = stats.expired + stats.invalidated;
            assert_eq!(expected.expired + expected.invalidated, either);
            (expected.expired, expected.invalidated) = (stats.expired, stats.invalidated);
            assert_eq!(stats, expected);
        }
        let live: Vec<_> = self.index.values().copied().collect();
        let World {
            cache,
            objects,
            log,
            ..
        } = self;
        log.drain();
        drop(cache);
        let mut dropped: Vec<_> = log.all();
        dropped.sort_by_key(|(tag, _)| *tag);
        let mut expected: Vec<_> = (live.iter())
            .map(|at| (*at as u64, RemovalCause::Dropped))
            .collect();
        expected.sort_by_key(|(tag, _)| *tag);
        assert_eq!(dropped, expected);
        for object in objects {
            assert_eq!(object.handle.references(), 1);
        }
    }
}

/// Whether maintenance, or an add in need of room, may have removed it for this cause.
fn made_room(cause: RemovalCause) -> bool {
    matches!(
        cause,
        RemovalCause::Evicted | RemovalCause::Expired | RemovalCause::Invalidated
    )
}
