//! The grace period: what was unlinked is handed back only when nobody can still be looking at it.
//!
//! A [`Domain`] promises one thing. A closure given to [`Domain::defer`] runs after every [`Guard`] that existed at
//! that moment has been dropped, and everything that those guards' owners did happens before it.
//!
//! The closures are tiny: they set a flag (see `engine::maintain`). They must be, because one of the back ends runs them on
//! whichever thread happens to pin next, and that may be an accept thread.
//!
//! Three back ends.
//!
//! - On Linux, [`places`]: to pin is a plain store, and who waits for readers pays for it with a system call.
//! - Where the kernel has no `membarrier`, crossbeam-epoch, with a collector of this library's own, so that no other crate's
//!   garbage runs on our pins and no other crate's long pin holds our garbage. To pin is one locked instruction.
//! - The models get a small one that runs a closure as early as the promise allows, which is what finds a pin that ends
//!   too soon. Miri gets it too, by the cfg `refrain_modelled`, where it watches provenance and leaks: crossbeam-epoch keeps
//!   its pointers as numbers.
//!
//! A few models hold all three to the promise; for these alone crossbeam-epoch is built for loom, under `crossbeam_loom`.

#[cfg_attr(
    any(refrain_loom, refrain_shuttle, refrain_modelled),
    path = "reclaim/modelled.rs"
)]
mod domain;
#[cfg(any(
    not(any(refrain_loom, refrain_shuttle, refrain_modelled)),
    all(refrain_loom, crossbeam_loom)
))]
pub(crate) mod epoch;
#[cfg(not(refrain_modelled))]
pub(crate) mod places;

#[cfg(any(refrain_loom, refrain_shuttle))]
pub(crate) use domain::order_more;
pub(crate) use domain::{Domain, Guard};
