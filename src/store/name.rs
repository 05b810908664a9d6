//! Whose session it is: what a look-up knows of it, and what its record is bound to.

use crate::id::{ContextId, SessionId};

/// A moment of the wall clock, in milliseconds since 1970; `u64::MAX` for never.
pub(crate) type Wall = u64;

/// Which invalidations a record has lived through: that of everything, and that of its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) all: u64,
    pub(crate) own: u64,
}

/// How sessions of a name are got out of the store. Part of the name, so that nobody burns a session that is looked at by
/// asking for it as one that is taken at sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Looked at, and claimed later if at all.
    Looked = 0,
    /// Taken by id alone.
    Taken = 1,
}

/// Whose session it is: what a look-up knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) context: ContextId,
    pub(crate) id: SessionId,
}

impl Name {
    /// Everything that tells it from others, without ambiguity.
    pub(crate) fn write(&self, class: Class, epoch: Epoch, out: &mut Vec<u8>) {
        let (context, id) = (self.context.as_bytes(), self.id.as_bytes());
        out.push(class as u8);
        out.extend_from_slice(&epoch.all.to_le_bytes());
        out.extend_from_slice(&epoch.own.to_le_bytes());
        out.push(context.len() as u8);
        out.extend_from_slice(context);
        out.push(id.len() as u8);
        out.extend_from_slice(id);
    }
}
