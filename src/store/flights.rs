//! Reads under way: who looks for what another is already reading waits for that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, lock};

use super::name::Name;

/// One read. The inner option is its answer.
struct Flight<T> {
    answer: Mutex<Option<Option<T>>>,
    landed: Condvar,
}

/// How a look-up got its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// By a read of its own.
    Own(Option<T>),
    /// By another's, or not before the deadline.
    Shared(Option<T>),
}

pub(crate) struct Flights<T>(Mutex<HashMap<Name, Arc<Flight<T>>>>);

impl<T: Clone> Flights<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Reads, unless somebody is at it; then waits for that one's answer.
    pub(crate) fn share(
        &self,
        name: Name,
        deadline: Instant,
        read: impl FnOnce() -> Option<T>,
    ) -> Answer<T> {
        let (flight, leads) = {
            let mut flights = lock(&self.0);
            match flights.get(&name) {
                Some(flight) => (Arc::clone(flight), false),
                None => {
                    let flight = Arc::new(Flight {
                        answer: Mutex::new(None),
                        landed: Condvar::new(),
                    });
                    flights.insert(name, Arc::clone(&flight));
                    (flight, true)
                }
            }
        };
        if !leads {
            return Answer::Shared(flight.wait(deadline));
        }
        let landing = Landing {
            flights: self,
            name,
            flight: &flight,
        };
        let answer = read();
        *lock(&flight.answer) = Some(answer.clone());
        drop(landing);
        Answer::Own(answer)
    }
}

/// Ends a flight, even if the read panics.
struct Landing<'a, T> {
    flights: &'a Flights<T>,
    name: Name,
    flight: &'a Flight<T>,
}

impl<T> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        lock(&self.flights.0).remove(&self.name);
        lock(&self.flight.answer).get_or_insert(None);
        self.flight.landed.notify_all();
    }
}

impl<T: Clone> Flight<T> {
    fn wait(&self, deadline: Instant) -> Option<T> {
        let mut answer = lock(&self.answer);
        loop {
            if let Some(answer) = &*answer {
                return answer.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            answer = self
                .landed
                .wait_timeout(answer, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;
    use crate::id::{ContextId, SessionId};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn name(n: u8) -> Name {
        Name {
            context: ContextId::new(&[1]).unwrap(),
            id: SessionId::new(&[n]).unwrap(),
        }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn one_reads_and_all_have_the_answer() {
        let flights = Flights::new();
        let ((begun, has_begun), (go, may_go)) = (channel(), channel::<()>());
        let flights = &flights;
        std::thread::scope(|scope| {
            let leader = scope.spawn(move || {
                flights.share(name(1), later(), || {
                    begun.send(()).unwrap();
                    may_go.recv().unwrap();
                    Some(7)
                })
            });
            has_begun.recv().unwrap();
            let never = || -> Option<i32> { panic!("somebody is at it") };
            let followers =
                [(); 3].map(|()| scope.spawn(move || flights.share(name(1), later(), never)));
            // Another id has nothing to wait for, and who is in a hurry does not.
            let other = flights.share(name(2), later(), || Some(8));
            assert_eq!(other, Answer::Own(Some(8)));
            let hurried = flights.share(name(1), Instant::now(), never);
            assert_eq!(hurried, Answer::Shared(None));
            // The map's, the leader's and the followers'.
            while Arc::strong_count(&lock(&flights.0)[&name(1)]) < 5 {
                std::thread::yield_now();
            }
            go.send(()).unwrap();
            assert_eq!(leader.join().unwrap(), Answer::Own(Some(7)));
            for follower in followers {
                assert_eq!(follower.join().unwrap(), Answer::Shared(Some(7)));
            }
        });
        assert!(lock(&flights.0).is_empty());
    }

    #[test]
    fn a_read_that_panics_is_an_answer_too() {
        let flights = Flights::<i32>::new();
        let read = || flights.share(name(1), later(), || std::panic::resume_unwind(Box::new(0)));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).is_err());
        assert!(lock(&flights.0).is_empty());
    }
}
