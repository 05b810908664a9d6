//! What can be wrong with a request to the library. What can be wrong with a client's request is a miss and a counter.

use std::fmt;

/// Why something could not be built or changed.
///
/// Every variant says what was asked for and what would have been allowed. None of them carries secret bytes. An error
/// is always the caller's configuration or the machine's limits, never the network: see [`NotCached`](crate::NotCached)
/// for the reasons for which a sound session was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A session id must have 1 to 32 bytes.
    IdLength {
        /// The length given.
        len: usize,
    },
    /// A context id must have 1 to 32 bytes.
    ContextLength {
        /// The length given.
        len: usize,
    },
    /// A server name may have up to 255 bytes.
    ServerNameLength {
        /// The length given.
        len: usize,
    },
    /// A session's payload is longer than a session can hold at all.
    PayloadLength {
        /// The length given.
        len: usize,
        /// The longest possible.
        max: usize,
    },
    /// The capacity is out of range, or zero ("as far as the maximum") without a maximum.
    Capacity {
        /// The number of entries asked for.
        asked: usize,
        /// The largest allowed here.
        max: usize,
    },
    /// The byte budget is out of range.
    ByteBudget {
        /// The number of bytes asked for.
        asked: usize,
        /// The smallest allowed.
        min: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The number of shards is out of range.
    Shards {
        /// The number asked for.
        asked: usize,
        /// The largest allowed; the smallest is 1.
        max: usize,
    },
    /// The wheel's tick is out of range.
    Tick {
        /// The tick asked for.
        asked: std::time::Duration,
        /// The shortest allowed.
        min: std::time::Duration,
        /// The longest allowed.
        max: std::time::Duration,
    },
    /// The limit on contexts is out of range.
    ContextLimit {
        /// The number asked for.
        asked: usize,
        /// The largest allowed; the smallest is 1.
        max: usize,
    },
    /// Every place for a context is taken by one that somebody still holds.
    TooManyContexts {
        /// The number of places.
        max: usize,
    },
    /// This process has given out all four billion context numbers. They are never used twice, so that an old session
    /// can never be found under a new context.
    ContextNumbersExhausted,
    /// The context belongs to another cache.
    ForeignContext,
    /// The generation belongs to another context than the session.
    ForeignGeneration,
    /// A key for tagged ids must not be all zeros: that is what a key looks like that nobody has set.
    ZeroTagKey,
    /// A key of the shared tier looks like one that nobody has drawn at random, or two of them are the same.
    WeakStoreKey,
    /// A setting of the shared tier is out of range.
    External {
        /// Which one, and what it may be.
        what: &'static str,
    },
    /// The system gave no random bytes.
    NoRandomness,
    /// The allocator had no memory for the session or the table.
    OutOfMemory {
        /// The number of bytes asked for.
        bytes: usize,
    },
    /// The allocator handed out an address above 2^48, where the table keeps its fingerprints.
    AddressSpace,
    /// This process was forked while another thread was at work on the cache's contexts, and the child does not have that
    /// thread. A cache that the child builds by itself works.
    Forked,
    /// A background thread could not be started.
    Thread {
        /// What the operating system said.
        kind: std::io::ErrorKind,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdLength { len } => write!(f, "a session id has 1 to 32 bytes, not {len}"),
            Self::ContextLength { len } => write!(f, "a context id has 1 to 32 bytes, not {len}"),
            Self::ServerNameLength { len } => {
                write!(f, "a server name has up to 255 bytes, not {len}")
            }
            Self::PayloadLength { len, max } => {
                write!(f, "a session's payload has up to {max} bytes, not {len}")
            }
            Self::Capacity { asked: 0, .. } => f.write_str(
                "a capacity of 0 means as many as max_capacity allows, so max_capacity must be set",
            ),
            Self::Capacity { asked, max } => {
                write!(
                    f,
                    "the capacity may be up to {max} entries here, not {asked}"
                )
            }
            Self::ByteBudget { asked, min, max } => {
                write!(f, "the byte budget may be {min} to {max}, not {asked}")
            }
            Self::Shards { asked, max } => {
                write!(f, "the number of shards may be 1 to {max}, not {asked}")
            }
            Self::Tick { asked, min, max } => {
                write!(f, "the tick may be {min:?} to {max:?}, not {asked:?}")
            }
            Self::ContextLimit { asked, max } => {
                write!(f, "the limit on contexts may be 1 to {max}, not {asked}")
            }
            Self::TooManyContexts { max } => {
                write!(
                    f,
                    "all {max} contexts are in use; raise max_contexts or drop some"
                )
            }
            Self::ContextNumbersExhausted => {
                f.write_str("this process has used up all context numbers")
            }
            Self::ForeignContext => f.write_str("the context belongs to another cache"),
            Self::ForeignGeneration => {
                f.write_str("the generation belongs to another context than the session")
            }
            Self::ZeroTagKey => f.write_str("the key for tagged ids is all zeros"),
            Self::WeakStoreKey => {
                f.write_str("a key of the shared tier was not drawn at random, or is there twice")
            }
            Self::External { what } => write!(f, "the shared tier: {what}"),
            Self::NoRandomness => f.write_str("the system gave no random bytes"),
            Self::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
            Self::AddressSpace => {
                f.write_str("the allocator returned an address above 2^48, which is not supported")
            }
            Self::Forked => f.write_str(
                "the process was forked while another thread was at work on the cache's contexts",
            ),
            Self::Thread { kind } => write!(f, "a background thread could not be started: {kind}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_was_asked_for_and_what_is_allowed() {
        let tick = Error::Tick {
            asked: std::time::Duration::ZERO,
            min: std::time::Duration::from_millis(1),
            max: std::time::Duration::from_secs(3600),
        };
        let cases = [
            (Error::IdLength { len: 77 }, &["1 to 32", "77"][..]),
            (Error::ContextLength { len: 77 }, &["1 to 32", "77"]),
            (Error::ServerNameLength { len: 777 }, &["255", "777"]),
            (Error::PayloadLength { len: 77, max: 66 }, &["66", "77"]),
            (Error::Capacity { asked: 0, max: 66 }, &["max_capacity"]),
            (Error::Capacity { asked: 77, max: 66 }, &["66", "77"]),
            (
                Error::ByteBudget {
                    asked: 77,
                    min: 5,
                    max: 66,
                },
                &["5 to 66", "77"],
            ),
            (Error::Shards { asked: 77, max: 66 }, &["1 to 66", "77"]),
            (tick, &["1ms to 3600s", "0ns"]),
            (
                Error::ContextLimit { asked: 77, max: 66 },
                &["1 to 66", "77"],
            ),
            (Error::TooManyContexts { max: 66 }, &["66"]),
            (Error::OutOfMemory { bytes: 77 }, &["77"]),
        ];
        for (error, words) in cases {
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
