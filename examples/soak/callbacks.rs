//! The callbacks that the governor swaps, and the gate that holds the listener up.

use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use refrain::{Context, OnGet, OnNew, OnRemove, Session, SessionCache};

use crate::payload::{Kind, Label};
use crate::reference::{CONTEXTS, Reference};

/// The cache and its contexts, for callbacks that use them.
pub(crate) type Home = OnceLock<(SessionCache, [Context; CONTEXTS])>;

/// Sessions that the external store has, about: those with even numbers below this.
pub(crate) const KNOWN_OUTSIDE: u64 = 16;

/// What every callback has.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) reference: Arc<Reference>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) home: Arc<Home>,
}

/// A gate that remove callbacks pass.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    /// Opens or closes it.
    pub(crate) fn set(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        while *closed {
            closed = self
                .moved
                .wait(closed)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Remove callbacks of four kinds: quick, panicking, slow, and using the cache. Each reports first.
pub(crate) fn on_remove(shared: &Shared, kind: u64) -> OnRemove {
    let (reference, gate) = (Arc::clone(&shared.reference), Arc::clone(&shared.gate));
    let home = Arc::downgrade(&shared.home);
    Arc::new(move |gone, cause| {
        gate.pass();
        let Some(label) = reference.reported(gone, cause) else {
            return;
        };
        match kind % 4 {
            1 if label.serial % 64 == 0 => resume_unwind(Box::new("the soak's")),
            2 if label.serial % 1024 == 0 => thread::sleep(Duration::from_millis(1)),
            3 if label.kind == Kind::Ticket => {
                let home = home.upgrade();
                if let Some((cache, contexts)) = home.as_deref().and_then(OnceLock::get) {
                    if cache.contains(&contexts[label.context], &gone.session_id()) {
                        let found = "a session was found in its own remove callback";
                        reference.faults.note(found, || format!("{label:?}"));
                    }
                }
            }
            _ => {}
        }
    })
}

/// New callbacks: one that wants nearly all sessions, and panics now and then.
pub(crate) fn on_new(shared: &Shared) -> OnNew {
    let reference = Arc::clone(&shared.reference);
    Arc::new(move |session| {
        let serial = reference.read(session).map_or(0, |label| label.serial);
        if serial % 4096 == 1 {
            resume_unwind(Box::new("the soak's"));
        }
        serial % 64 != 2
    })
}

/// Get callbacks: an external store that has every [`Kind::External`] session with an even number, for single use.
///
/// For odd numbers it hands out the session of another id, which the cache must refuse.
pub(crate) fn on_get(shared: &Shared) -> OnGet {
    let reference = Arc::clone(&shared.reference);
    Arc::new(move |lookup| {
        let is_mine = |number: &u64| reference.id(Kind::External, *number) == *lookup.id;
        let number = (0..KNOWN_OUTSIDE)
            .find(is_mine)
            .filter(|_| lookup.single_use)?;
        let context = number as usize % CONTEXTS;
        let builder = Session::builder(lookup.context, reference.id(Kind::External, number & !1));
        let label = Label {
            kind: Kind::External,
            context,
            epoch: reference.epoch(context),
            number: number & !1,
            round: reference.round(),
            serial: 0,
            born: reference.now().as_millis(),
            life: 0,
        };
        let mut payload = Vec::new();
        label.write(200, &mut payload);
        builder.build(&payload).ok()
    })
}
