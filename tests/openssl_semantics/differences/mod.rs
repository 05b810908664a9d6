//! Where Refrain means to differ from OpenSSL. Each difference has a name, which is the first cell of its row in the
//! manual's chapter for those who come from OpenSSL. A script whose numbers it changes takes them by that name, and a
//! test of its own asserts what both do.

mod deadlines;
mod eviction;
mod external;
mod identity;
mod modes;
mod names;
mod removal;
mod sharing;
mod sizes;
mod tls13;

/// A row of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference(&'static str);

macro_rules! differences {
    ($($name:ident = $row:literal,)*) => {
        $(pub(crate) const $name: Difference = Difference($row);)*
        /// All of them.
        const ALL: &[Difference] = &[$($name,)*];
    };
}

differences! {
    ENTRIES_AT_SIZE_N = "entries at size N",
    SIZE_0 = "size 0",
    SIZE_CUT = "size cut below the count",
    EVICTION_ORDER = "eviction order",
    SAME_OBJECT = "same object added again",
    OTHER_OBJECT = "other object, same id",
    REMOVE_OF_ABSENT = "remove of an absent session",
    REMOVE_BY_TWIN = "remove by another object",
    RE_ADDING = "re-adding a removed session",
    ZERO_LENGTH_ID = "zero-length id",
    KEY = "key",
    SERVER_NAME = "server name",
    TIMEOUTS = "timeout 0, negative, huge",
    DEADLINE = "the deadline itself",
    EXPIRED_ADDED = "expired session added",
    UPDATE_TIME = "UPDATE_TIME",
    AUTO_CLEAR = "auto-clear",
    MODE_OFF = "mode OFF",
    REMOVE_THREAD = "remove callback's thread",
    FLUSH_ORDER = "order of remove callbacks in one flush",
    NEW_RETURNS_0 = "new callback returns 0",
    EXPIRED_EXTERNAL = "expired session from the external cache",
    SINGLE_USE = "single use in TLS 1.3",
    STATELESS_TOLD = "stateless TLS 1.3 tickets",
    SHARED_OBJECTS = "shared session objects",
    HITS = "hits",
    EXPIRED_TLS13 = "expired TLS 1.3 session",
    EXTERNAL_ANTI_REPLAY = "anti-replay with an external cache",
}

impl Difference {
    /// The row of the manual's table, without its first cell. A test that begins with this quotes it.
    #[track_caller]
    fn quote(self) -> &'static str {
        let head = format!("| **{}** |", self.0);
        rows()
            .find_map(|row| row.strip_prefix(&head))
            .unwrap_or_else(|| panic!("the manual has no row that begins with {head}"))
    }
}

/// The rows of the table of differences.
fn rows() -> impl Iterator<Item = &'static str> {
    include_str!("../../../src/manual/from-openssl.md")
        .lines()
        .filter(|line| line.starts_with("| **"))
}

#[test]
fn each_row_of_the_manual_is_a_difference_with_a_test() {
    for difference in ALL {
        assert!(!difference.quote().is_empty());
    }
    for row in rows() {
        assert!(
            ALL.iter()
                .any(|difference| row.starts_with(&format!("| **{}** |", difference.0))),
            "no test asserts both sides of {row}"
        );
    }
}
