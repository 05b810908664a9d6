//! What is counted on both sides: the calls of the three callbacks, and OpenSSL's twelve counters.

use std::fmt;
use std::ops::{Add, Sub};

use refrain::SessCounters;

macro_rules! books {
    ($($field:ident: $what:literal,)*) => {
        /// Calls and counters, or how much they have changed. Every step of a script asserts all of them, so a count that
        /// a step does not name must not have moved.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) struct Books {
            $(#[doc = $what] pub(crate) $field: i64,)*
        }

        impl Books {
            /// Nothing.
            pub(crate) const NONE: Self = Self { $($field: 0,)* };
        }

        impl fmt::Debug for Books {
            /// Only what is not zero.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$((stringify!($field), self.$field),)*];
                f.debug_map().entries(all.into_iter().filter(|(_, n)| *n != 0)).finish()
            }
        }

        impl Sub for Books {
            type Output = Self;

            fn sub(self, other: Self) -> Self {
                Self { $($field: self.$field - other.$field,)* }
            }
        }

        impl Add for Books {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($field: self.$field + other.$field,)* }
            }
        }
    };
}

books! {
    new: "Calls of the new callback.",
    remove: "Calls of the remove callback.",
    get: "Calls of the get callback.",
    number: "Sessions in the cache.",
    connect: "Client handshakes begun.",
    connect_good: "Client handshakes completed.",
    connect_renegotiate: "Client renegotiations.",
    accept: "Server handshakes begun.",
    accept_good: "Server handshakes completed.",
    accept_renegotiate: "Server renegotiations.",
    hits: "Sessions resumed.",
    cb_hits: "Sessions that the get callback supplied.",
    misses: "Sessions that were not in the cache.",
    timeouts: "Sessions that were too old.",
    cache_full: "Sessions that made room.",
}

impl Books {
    /// A server's handshake that was completed.
    pub(crate) const ACCEPTED: Self = Self {
        accept: 1,
        accept_good: 1,
        ..Self::NONE
    };

    /// A client's handshake that was completed.
    pub(crate) const CONNECTED: Self = Self {
        connect: 1,
        connect_good: 1,
        ..Self::NONE
    };
}

/// What has changed: the counts that are named, and no other.
#[macro_export]
macro_rules! counts {
    ($($field:ident $(: $value:expr)?),*) => {
        $crate::books::Books { $($field $(: $value)?,)* ..$crate::books::Books::NONE }
    };
}

impl From<SessCounters> for Books {
    /// The twelve counters, and no calls.
    fn from(counters: SessCounters) -> Self {
        Self {
            number: counters.number as i64,
            connect: counters.connect as i64,
            connect_good: counters.connect_good as i64,
            connect_renegotiate: counters.connect_renegotiate as i64,
            accept: counters.accept as i64,
            accept_good: counters.accept_good as i64,
            accept_renegotiate: counters.accept_renegotiate as i64,
            hits: counters.hits as i64,
            cb_hits: counters.cb_hits as i64,
            misses: counters.misses as i64,
            timeouts: counters.timeouts as i64,
            cache_full: counters.cache_full as i64,
            ..Self::NONE
        }
    }
}
