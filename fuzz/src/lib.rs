//! What is fuzzed. Each target is a function of bytes, which panics if something is wrong, so that libFuzzer can drive it
//! as well as any other program.
//!
//! | target | bytes mean | what must hold |
//! |---|---|---|
//! | `operations` | calls of a cache, the clock's jumps included | every answer, count and callback is the reference model's |
//! | `connection` | calls of several connections, and what the callbacks answer | every state is the model's |
//! | `rustls_hello`, `libssl_hello` | ClientHellos | nothing is lost but what they name; honest clients resume |
//! | `rustls_payload`, `libssl_payload` | what an external store hands out | resumed only what is whole, due and right |
//! | `rustls_store` | calls of rustls's storage, with any keys and values | every answer is a map's |
//! | `libssl_der` | sessions and server names, as the adapter itself reads them | what libssl reads, too, it reads the same |
//! | `ids` | ids | known is what has the right length, and the tag of this key |
//! | `tier_hello` | ClientHellos, before any handshake | what an honest client offers is found |
//! | `tier_record` | what a shared tier's store hands out | nothing that it makes up resumes |
//! | `wheel` | deadlines, time, and turns of the wheel that stop anywhere | nothing early, nothing late, nothing lost |
//!
//! The models and the servers are those of the tests.

#[cfg(not(refrain_internal))]
compile_error!(
    "two targets look inside: build with RUSTFLAGS=\"--cfg refrain_internal\", as scripts/fuzz and plain cargo in fuzz/ do"
);

mod connection;
#[cfg(feature = "openssl")]
mod der;
mod hello;
mod ids;
mod operations;
mod payload;
mod store;
mod tier;
mod wheel;

#[path = "../../tests/common/mod.rs"]
mod common;

/// The reference model of `tests/model`.
#[path = "../../tests/model"]
mod model {
    #[allow(dead_code, reason = "the strategy of proptest's")]
    pub(crate) mod ops;
    pub(crate) mod world;
}
// Where the model's files look for it.
use model::ops;

/// The servers and clients of `tests/hostile`.
#[path = "../../tests/hostile"]
#[allow(dead_code, reason = "what only the tests need")]
mod hostile {
    pub(crate) use crate::common;

    pub(crate) mod answer;
    pub(crate) mod hello;
    #[cfg(feature = "openssl")]
    #[path = "../openssl_adapter/memory.rs"]
    mod memory;
    #[cfg(feature = "openssl")]
    mod over_openssl;
    mod over_rustls;
    #[path = "../../examples/accept_loop/reader.rs"]
    mod reader;
    pub(crate) mod site;
    pub(crate) mod stack;
}

/// A target, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// The targets that this build has.
pub const TARGETS: &[Target] = &[
    ("operations", operations::run),
    ("connection", connection::run),
    ("rustls_hello", hello::over_rustls),
    ("rustls_payload", payload::over_rustls),
    ("rustls_store", store::run),
    ("ids", ids::run),
    ("wheel", wheel::run),
    ("tier_hello", tier::hello),
    ("tier_record", tier::record),
    #[cfg(feature = "openssl")]
    ("libssl_hello", hello::over_libssl),
    #[cfg(feature = "openssl")]
    ("libssl_payload", payload::over_libssl),
    #[cfg(feature = "openssl")]
    ("libssl_der", der::run),
];

/// Runs one target on one input.
///
/// # Panics
///
/// If there is no such target, and if something is wrong with what it tests.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of this build").1(data);
}

/// Whether to print what the bytes of an input mean.
static TRACED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// From now on, prints what the bytes of an input mean: the calls that are made.
pub fn set_traced() {
    TRACED.store(true, std::sync::atomic::Ordering::Relaxed);
}

fn trace(call: &dyn std::fmt::Debug) {
    if TRACED.load(std::sync::atomic::Ordering::Relaxed) {
        println!("{call:?}");
    }
}
