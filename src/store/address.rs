//! What can be wrong with the address of a store.

use std::fmt;

/// An address that can't be used, or settings that don't go with it.
///
/// It is told before anything is connected, and never contains a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(pub(crate) String);

impl AddressError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store's address can't be used: {}", self.0)
    }
}

impl std::error::Error for AddressError {}
