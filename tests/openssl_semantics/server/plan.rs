//! What a server and its clients are to be like.

use std::ffi::{c_int, c_long};
use std::sync::Arc;

use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslOptions, SslSession, SslSessionCacheMode,
    SslVersion,
};

use crate::ffi;
use crate::log::Log;
use crate::net::identity;
use crate::store::libssl;

/// A version of TLS, or of DTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tls1,
    Tls1_1,
    Tls1_2,
    Tls1_3,
    Dtls1,
    Dtls1_2,
}

impl Protocol {
    pub(crate) const TLS: [Self; 4] = [Self::Tls1, Self::Tls1_1, Self::Tls1_2, Self::Tls1_3];
    pub(crate) const DTLS: [Self; 2] = [Self::Dtls1, Self::Dtls1_2];

    pub(crate) fn is_datagram(self) -> bool {
        Self::DTLS.contains(&self)
    }

    pub(crate) fn version(self) -> SslVersion {
        match self {
            Self::Tls1 => SslVersion::TLS1,
            Self::Tls1_1 => SslVersion::TLS1_1,
            Self::Tls1_2 => SslVersion::TLS1_2,
            Self::Tls1_3 => SslVersion::TLS1_3,
            Self::Dtls1 => SslVersion::DTLS1,
            Self::Dtls1_2 => SslVersion::DTLS1_2,
        }
    }

    /// The version as it goes over the wire.
    pub(crate) fn number(self) -> c_int {
        match self {
            Self::Tls1 => openssl_sys::TLS1_VERSION,
            Self::Tls1_1 => openssl_sys::TLS1_1_VERSION,
            Self::Tls1_2 => openssl_sys::TLS1_2_VERSION,
            Self::Tls1_3 => openssl_sys::TLS1_3_VERSION,
            Self::Dtls1 => openssl_sys::DTLS1_VERSION,
            Self::Dtls1_2 => openssl_sys::DTLS1_2_VERSION,
        }
    }

    /// Narrows a context to the versions from one to the other, old ones included that a system's policy forbids.
    pub(crate) fn limit(ctx: &mut SslContextBuilder, from: Self, to: Self) {
        ctx.set_min_proto_version(Some(from.version())).unwrap();
        ctx.set_max_proto_version(Some(to.version())).unwrap();
        ctx.set_cipher_list("DEFAULT:@SECLEVEL=0").unwrap();
    }

    fn method(self) -> SslMethod {
        if self.is_datagram() {
            SslMethod::dtls()
        } else {
            SslMethod::tls()
        }
    }
}

/// A server to be: what both caches are told, and the `SSL_CTX` as far as it is the same for both.
pub(crate) struct Plan {
    pub(crate) ctx: SslContextBuilder,
    pub(crate) protocol: Protocol,
    /// TLS 1.2 ids and stateful TLS 1.3 tickets, instead of tickets that the client keeps everything in.
    pub(crate) stateful: bool,
    /// TLS 1.3 sessions work once: libssl's anti-replay. Refrain's always do.
    pub(crate) anti_replay: bool,
    /// The cache has a get callback.
    pub(crate) external: bool,
    /// The cache tells of what comes and goes.
    pub(crate) told: bool,
    pub(crate) mode: u32,
    pub(crate) size: usize,
    /// In seconds; else the default.
    pub(crate) timeout: Option<u64>,
}

impl Plan {
    /// A server of this version alone, with stateful sessions, the default size, and callbacks for new and removed ones.
    pub(crate) fn new(protocol: Protocol) -> Self {
        let mut ctx = SslContext::builder(protocol.method()).unwrap();
        identity::install(&mut ctx);
        Protocol::limit(&mut ctx, protocol, protocol);
        if protocol.is_datagram() {
            ctx.set_options(SslOptions::NO_QUERY_MTU);
        }
        Self {
            ctx,
            protocol,
            stateful: true,
            anti_replay: false,
            external: false,
            told: true,
            mode: SslSessionCacheMode::SERVER.bits() as u32,
            size: 20_480,
            timeout: None,
        }
    }
}

/// Lets every server with such a context read every such server's stateless tickets.
pub(crate) fn share_ticket_keys(ctx: &mut SslContextBuilder) {
    let mut keys = [0x5a; 80];
    let (len, keys) = (keys.len() as c_long, keys.as_mut_ptr().cast());
    // SAFETY: the control reads as many bytes as it has keys for, and they are there.
    let set = unsafe {
        openssl_sys::SSL_CTX_ctrl(
            ctx.as_ptr(),
            ffi::SSL_CTRL_SET_TLSEXT_TICKET_KEYS,
            len,
            keys,
        )
    };
    assert_eq!(set, 1);
}

/// A client that stores its sessions nowhere but in the hands of the test.
pub(crate) struct Client {
    ctx: SslContext,
    log: Arc<Log>,
}

impl Client {
    /// One that speaks what the server speaks.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self::new(plan.protocol, |_| {})
    }

    /// The `SSL_CTX` of a client of this version alone.
    pub(crate) fn builder(protocol: Protocol) -> SslContextBuilder {
        let mut ctx = SslContext::builder(protocol.method()).unwrap();
        Protocol::limit(&mut ctx, protocol, protocol);
        if protocol.is_datagram() {
            ctx.set_options(SslOptions::NO_QUERY_MTU);
        }
        ctx
    }

    pub(crate) fn new(protocol: Protocol, prepare: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let log = Arc::new(Log::default());
        let mut ctx = Self::builder(protocol);
        ctx.set_session_cache_mode(
            SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL_STORE,
        );
        libssl::attach(&mut ctx, &log);
        libssl::listen(&mut ctx);
        prepare(&mut ctx);
        log.keep();
        Self {
            ctx: ctx.build(),
            log,
        }
    }

    pub(crate) fn ctx(&self) -> &SslContext {
        &self.ctx
    }

    /// From now on its new callback answers 0.
    pub(crate) fn refuse_sessions(&self) {
        self.log.refuse(true);
    }

    /// The sessions that it was given since the last time.
    pub(crate) fn take_sessions(&self) -> Vec<SslSession> {
        self.log.take_kept()
    }

    /// How many sessions it was given, ever.
    pub(crate) fn sessions_seen(&self) -> i64 {
        self.log.books().new
    }
}
