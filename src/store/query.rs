//! What is asked of the store, and what is got from it.

use std::time::Instant;

use crate::context::{Context, Generation};
use crate::id::{ContextId, SessionId};
use crate::session::Session;

use super::name::{Name, Wall};
use super::record::Opened;

/// A session on its way to the store, with its times by the wall clock.
pub(crate) struct Pending {
    pub(super) session: Session,
    pub(super) created: Wall,
    pub(super) expires: Wall,
    pub(super) not_after: Wall,
    /// The context of the host that the session's tag names.
    pub(super) host: Option<ContextId>,
}

/// A session that is this caller's alone.
pub(crate) enum Prize {
    /// The store has handed it out.
    Opened(Opened),
    /// It had not been sent yet.
    Own(Pending),
}

impl Prize {
    pub(crate) fn payload(&self) -> &[u8] {
        match self {
            Self::Opened(opened) => opened.payload(),
            Self::Own(pending) => pending.session.payload(),
        }
    }
}

/// Who asks, and under which generation of the context what is found will be built.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) context: &'a Context,
    pub(crate) id: SessionId,
    /// Taken before anything else.
    pub(crate) generation: Generation,
    pub(crate) began: Instant,
    /// The last change of the context's counts so far.
    pub(super) changes: u64,
}

impl Query<'_> {
    pub(super) fn name(&self) -> Name {
        Name {
            context: *self.context.id(),
            id: self.id,
        }
    }
}
