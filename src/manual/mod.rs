//! The manual: chapters that are no interface.

#[doc = include_str!("consistency.md")]
pub mod consistency {}
#[doc = include_str!("design.md")]
pub mod design {}
#[cfg(feature = "external")]
#[doc = include_str!("external.md")]
pub mod external {}
#[doc = include_str!("from-openssl.md")]
pub mod from_openssl {}
#[doc = include_str!("operations.md")]
pub mod operations {}
#[doc = include_str!("orderings.md")]
pub mod orderings {}
#[doc = include_str!("security.md")]
pub mod security {}
