//! Hostile clients against real TLS servers on a cache: hellos with a thousand pre-shared keys, forged ids, stolen ids, ids
//! of other contexts and versions, and garbage. What each may cost is counted as work: look-ups, calls of the get callback,
//! entries. And honest clients resume before, during and after.
//!
//! Every case runs on each TLS stack that has an adapter: rustls, and libssl with the feature `openssl`.

#![allow(missing_docs)]
#![cfg(feature = "rustls")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "openssl")]
#[path = "../openssl_adapter/memory.rs"]
mod memory;

/// Makes a test of each case for each stack.
macro_rules! on_each_stack {
    ($($case:ident),* $(,)?) => {
        mod with_rustls {
            $(#[test]
            fn $case() {
                super::$case(crate::stack::Stack::Rustls);
            })*
        }
        #[cfg(feature = "openssl")]
        mod with_openssl {
            $(#[test]
            fn $case() {
                super::$case(crate::stack::Stack::Openssl);
            })*
        }
    };
}

mod answer;
mod callbacks;
mod crowd;
mod forged;
mod garbage;
mod hello;
mod identities;
#[cfg(feature = "openssl")]
mod over_openssl;
mod over_rustls;
#[path = "../../examples/accept_loop/reader.rs"]
mod reader;
#[cfg(feature = "openssl")]
mod retried;
mod site;
mod stack;
mod stolen;
#[cfg(feature = "openssl")]
mod tagged;
