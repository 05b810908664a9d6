//! Two ends of one connection on one thread: no sockets, no waiting, the same course every time.

pub(crate) mod identity;
pub(crate) mod link;
pub(crate) mod pipe;
