//! Two whole caches that know each other. Under shuttle only: for loom these are too many threads.
#![cfg(refrain_shuttle)]

use std::sync::{Arc, Mutex};

use loom_tests::sync::{AtomicBool, Gone, learn_of};
use loom_tests::two_caches;
use refrain::internal::{Setup, Whole};
use refrain::{Added, RemovalCause, SessionCache};

/// Two caches, each with the other's last handle in its remove callback: their listeners do not wait for each other.
///
/// Threads: remove from both, drop both handles; two maintainers; two listeners. Protects: `Owner::drop` (no thread of a
/// cache's own waits for one of another cache), `mark_own_thread`.
#[test]
fn two_caches_that_drop_each_other() {
    two_caches(
        "two_caches_that_drop_each_other",
        &["both in callbacks", "one elsewhere"],
        |run| {
            let slots: [Arc<Mutex<Option<SessionCache>>>; 2] = Default::default();
            let over = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
            let orphans = Arc::new(Mutex::new(0));
            let make = |i: usize| {
                let (other, gone) = (Arc::clone(&slots[1 - i]), Gone::new(&over[i]));
                let orphans = Arc::clone(&orphans);
                Whole::new(Setup::woken(), move |session| {
                    let _gone = &gone;
                    if session.id() == [2] && Whole::is_own_thread() {
                        *orphans.lock().unwrap() += 1;
                    }
                    let handle = other.lock().unwrap().take();
                    drop(handle);
                })
            };
            let caches = [make(0), make(1)];
            for ((cache, whole), slot) in caches.iter().zip(&slots) {
                for n in [1, 2] {
                    assert_eq!(cache.add(whole.session(n, n * 10)), Added::Inserted);
                }
                *slot.lock().unwrap() = Some(cache.clone());
            }
            for (cache, whole) in &caches {
                assert!(whole.remove(cache, 1));
            }
            let wholes = caches.map(|(cache, whole)| {
                drop(cache);
                whole
            });
            over.iter().for_each(|over| learn_of(over));
            run.reached(if *orphans.lock().unwrap() == 2 {
                "both in callbacks"
            } else {
                "one elsewhere"
            });
            for whole in wholes {
                let removed = (1, 10, RemovalCause::Removed);
                let dropped = (2, 20, RemovalCause::Dropped);
                assert_eq!(whole.check_end(), [removed, dropped]);
            }
        },
    );
}
