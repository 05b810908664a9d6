//! The rivals, each in a file of its own, and the one list of them.

mod dashmap;
mod lru;
mod map;
mod mini_moka;
mod moka;
mod mutexed;
#[cfg(feature = "openssl")]
mod openssl;
mod papaya;
mod private;
mod quick_cache;
mod refrain;
mod rustls;
mod scc;

#[cfg(feature = "openssl")]
pub(crate) use self::openssl::version as libssl_version;
pub(crate) use self::refrain::Refrain;
use crate::cache::Cache;

/// Something to do with each rival.
pub(crate) trait Visitor {
    fn visit<C: Cache>(&mut self);
}

macro_rules! rivals {
    ($($(#[$cfg:meta])? $rival:ty,)*) => {
        /// Their names, Refrain's first.
        pub(crate) const NAMES: &[&str] = &[$($(#[$cfg])? <$rival as Cache>::NAME,)*];

        /// Visits one by its name. False if there is none of that name.
        pub(crate) fn visit(name: &str, visitor: &mut impl Visitor) -> bool {
            $(
                $(#[$cfg])?
                if name == <$rival as Cache>::NAME {
                    visitor.visit::<$rival>();
                    return true;
                }
            )*
            false
        }
    };
}

rivals! {
    Refrain,
    papaya::Papaya,
    scc::Index,
    scc::Map,
    dashmap::Dashmap,
    quick_cache::QuickCache,
    moka::Moka,
    mini_moka::MiniMoka,
    lru::Sixteen,
    mutexed::Mutexed,
    rustls::Rustls,
    #[cfg(feature = "openssl")]
    openssl::OpenSsl,
    private::Private,
}
