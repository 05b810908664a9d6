//! What is done to every rival.

use crate::cache::Need;

/// The ids that are looked up, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Uniform,
    Zipf,
    Absent,
    Hot,
}

/// How they are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Borrowed: get0.
    Lend,
    /// Owned, and given up again: get1.
    Own,
    /// Whatever is cheapest.
    See,
}

/// What a thread does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Looks up, and changes nothing.
    Look(Line, Access),
    /// Looks up what it lately added, or adds in so many of a hundred cases.
    Mix(u32),
    /// A TLS 1.3 handshake that resumes: takes one session, adds two, of which one will never be asked for.
    Tickets,
    /// A TLS 1.2 handshake of a client that Zipf's law chooses: looks up, and adds if there was nothing.
    Returns,
}

impl Action {
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Look(..))
    }

    /// What a rival must be able to do.
    pub(crate) fn need(self) -> Option<Need> {
        match self {
            Self::Look(_, Access::Lend) => Some(Need::Lend),
            Self::Look(_, Access::Own) => Some(Need::Own),
            Self::Tickets => Some(Need::Take),
            Self::Look(_, Access::See) | Self::Mix(_) | Self::Returns => None,
        }
    }
}

/// One workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// How many sessions there are; the capacity, where something is added.
    pub(crate) live: usize,
    pub(crate) action: Action,
    /// Whether `--quick` has it.
    pub(crate) quick: bool,
}

const SMALL: usize = 20_000;
const LARGE: usize = 1_000_000;
const HUGE: usize = 8_000_000;

const fn look(
    name: &'static str,
    what: &'static str,
    live: usize,
    line: Line,
    access: Access,
    quick: bool,
) -> Workload {
    Workload {
        name,
        what,
        unit: "look-ups",
        live,
        action: Action::Look(line, access),
        quick,
    }
}

const fn change(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    action: Action,
) -> Workload {
    Workload {
        name,
        what,
        unit,
        live: SMALL,
        action,
        quick: true,
    }
}

/// All of them, in the order in which they are shown.
pub(crate) const ALL: &[Workload] = &[
    look(
        "hits-20k-uniform",
        "all hits, borrowed, 20,000 ids, uniform",
        SMALL,
        Line::Uniform,
        Access::Lend,
        false,
    ),
    look(
        "hits-20k-uniform-owned",
        "all hits, owned, 20,000 ids, uniform",
        SMALL,
        Line::Uniform,
        Access::Own,
        false,
    ),
    look(
        "hits-20k-zipf",
        "all hits, borrowed, 20,000 ids, Zipf 0.99",
        SMALL,
        Line::Zipf,
        Access::Lend,
        true,
    ),
    look(
        "hits-20k-zipf-owned",
        "all hits, owned, 20,000 ids, Zipf 0.99",
        SMALL,
        Line::Zipf,
        Access::Own,
        true,
    ),
    look(
        "misses-20k",
        "all misses, beside 20,000 sessions",
        SMALL,
        Line::Absent,
        Access::See,
        true,
    ),
    look(
        "hot",
        "one session on every thread, borrowed",
        SMALL,
        Line::Hot,
        Access::Lend,
        true,
    ),
    look(
        "hot-owned",
        "one session on every thread, owned",
        SMALL,
        Line::Hot,
        Access::Own,
        true,
    ),
    look(
        "hits-1m-uniform",
        "all hits, borrowed, 1,000,000 ids, uniform",
        LARGE,
        Line::Uniform,
        Access::Lend,
        false,
    ),
    look(
        "hits-1m-uniform-owned",
        "all hits, owned, 1,000,000 ids, uniform",
        LARGE,
        Line::Uniform,
        Access::Own,
        false,
    ),
    look(
        "hits-1m-zipf",
        "all hits, borrowed, 1,000,000 ids, Zipf 0.99",
        LARGE,
        Line::Zipf,
        Access::Lend,
        false,
    ),
    look(
        "hits-1m-zipf-owned",
        "all hits, owned, 1,000,000 ids, Zipf 0.99",
        LARGE,
        Line::Zipf,
        Access::Own,
        false,
    ),
    look(
        "hits-8m-uniform",
        "all hits, borrowed, 8,000,000 ids, uniform",
        HUGE,
        Line::Uniform,
        Access::Lend,
        false,
    ),
    look(
        "misses-1m",
        "all misses, beside 1,000,000 sessions",
        LARGE,
        Line::Absent,
        Access::See,
        false,
    ),
    change(
        "mix-90-10",
        "90 % look-ups of recent sessions, 10 % adds, at a capacity of 20,000",
        "operations",
        Action::Mix(10),
    ),
    change(
        "mix-50-50",
        "50 % look-ups of recent sessions, 50 % adds, at a capacity of 20,000",
        "operations",
        Action::Mix(50),
    ),
    change(
        "adds",
        "adds at a capacity of 20,000, each with an eviction",
        "adds",
        Action::Mix(100),
    ),
    change(
        "tls13",
        "TLS 1.3: one take and two adds, at a capacity of 20,000",
        "handshakes",
        Action::Tickets,
    ),
    change(
        "tls12",
        "TLS 1.2: 40,000 clients return by Zipf 0.99, who is not found is added, at a capacity of 20,000",
        "handshakes",
        Action::Returns,
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_differ_and_quick_has_one_of_each_kind() {
        let names: HashSet<_> = ALL.iter().map(|workload| workload.name).collect();
        assert_eq!(names.len(), ALL.len());
        let quick = |is: fn(Action) -> bool| ALL.iter().any(|w| w.quick && is(w.action));
        assert!(quick(|a| matches!(a, Action::Look(_, Access::Lend))));
        assert!(quick(|a| matches!(a, Action::Look(_, Access::Own))));
        assert!(quick(|a| matches!(a, Action::Look(Line::Absent, _))));
        assert!(quick(|a| matches!(a, Action::Mix(_))));
        assert!(quick(|a| a == Action::Tickets));
        assert!(quick(|a| a == Action::Returns));
    }
}
