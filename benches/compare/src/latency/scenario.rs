//! What goes on while look-ups and adds are timed.

use std::time::Duration;

use crate::cache::{Cache, Need, lacks};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Nothing else.
    Quiet,
    /// All but the sessions that are asked for expire at once.
    Expiry,
    /// Everything is removed.
    Flush,
    /// The capacity is cut.
    Cut,
    /// Whoever hears of removals sleeps each time.
    Listener,
    /// Both threads add in half of all cases, as fast as they come.
    Churn,
}

pub(crate) const ALL: [Scenario; 6] = [
    Scenario::Quiet,
    Scenario::Expiry,
    Scenario::Flush,
    Scenario::Cut,
    Scenario::Listener,
    Scenario::Churn,
];

/// To what the capacity is cut.
pub(crate) const CUT: usize = 20_000;
/// How long the listener sleeps.
pub(crate) const NAP: Duration = Duration::from_millis(1);

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Expiry => "expiry",
            Self::Flush => "flush",
            Self::Cut => "cut",
            Self::Listener => "listener",
            Self::Churn => "churn",
        }
    }

    /// In words, with so many sessions.
    pub(crate) fn what(self, sessions: usize) -> String {
        match self {
            Self::Quiet => format!("nothing else happens, {sessions} sessions, adds evict"),
            Self::Expiry => format!("{sessions} sessions expire at once, 20000 live on"),
            Self::Flush => {
                format!("{sessions} sessions are removed (refrain and openssl: flushed)")
            }
            Self::Cut => format!("the capacity is cut from {sessions} to {CUT}"),
            Self::Listener => {
                format!("the listener sleeps {NAP:?} each time, {sessions} sessions, adds evict")
            }
            Self::Churn => format!("50 % adds on two threads, {sessions} sessions, adds evict"),
        }
    }

    /// Why a rival can't take part, if it can't.
    pub(crate) fn lacks<C: Cache>(self) -> Option<&'static str> {
        let helped = || match lacks::<C>(Need::Evict) {
            Some(_) => lacks::<C>(Need::Take),
            None => None,
        };
        lacks::<C>(Need::Share)
            .or_else(|| match self {
                Self::Cut => lacks::<C>(Need::Evict),
                Self::Listener => lacks::<C>(Need::Listen),
                Self::Expiry => (!C::CLOCKED).then_some("no clock that can be set"),
                Self::Flush => (!C::CLEARS).then_some("no way to remove everything"),
                Self::Quiet | Self::Churn => None,
            })
            .or_else(|| (self == Self::Cut && !C::SHRINKS).then_some("its capacity is for good"))
            .or_else(helped)
    }
}
