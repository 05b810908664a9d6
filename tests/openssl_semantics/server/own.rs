//! A server with the cache of its own `SSL_CTX`.

use std::ffi::c_long;
use std::sync::Arc;

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::ssl::{SslContext, SslOptions, SslSessionRef};

use super::{Plan, Server};
use crate::books::Books;
use crate::ffi;
use crate::log::Log;
use crate::store::{Subject, libssl};

pub(crate) struct Own {
    ctx: SslContext,
    log: Arc<Log>,
}

impl Server for Own {
    const SUBJECT: Subject = Subject::Libssl;

    fn start(plan: Plan) -> Self {
        let log = Arc::new(Log::default());
        let Plan { mut ctx, .. } = plan;
        ctx.set_session_id_context(b"semantics").unwrap();
        ctx.set_session_cache_size(plan.size as i32);
        if plan.stateful {
            ctx.set_options(SslOptions::NO_TICKET);
        }
        if !plan.anti_replay {
            ctx.set_options(SslOptions::from_bits_retain(ffi::SSL_OP_NO_ANTI_REPLAY));
        }
        libssl::attach(&mut ctx, &log);
        if plan.told {
            libssl::listen(&mut ctx);
        }
        // SAFETY: the function is what libssl expects.
        unsafe {
            if plan.external {
                openssl_sys::SSL_CTX_sess_set_get_cb(ctx.as_ptr(), Some(libssl::on_get));
            }
            openssl_sys::SSL_CTX_set_session_cache_mode(ctx.as_ptr(), c_long::from(plan.mode));
        }
        let own = Self {
            ctx: ctx.build(),
            log,
        };
        if let Some(seconds) = plan.timeout {
            assert_eq!(own.set_timeout(seconds), 7200);
        }
        own
    }

    fn sibling(&self, plan: Plan) -> Self {
        Self::start(plan)
    }

    fn adopt(&self, session: &SslSessionRef) -> bool {
        self.add(&libssl::duplicate(session))
    }

    fn ctx(&self) -> &SslContext {
        &self.ctx
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn books(&self) -> Books {
        self.log.books() + libssl::counters(&self.ctx)
    }

    fn has(&self, session: &SslSessionRef) -> bool {
        libssl::holds(&self.ctx, session)
    }

    fn add(&self, session: &SslSessionRef) -> bool {
        // SAFETY: both are alive; the cache takes a reference of its own.
        unsafe { openssl_sys::SSL_CTX_add_session(self.ctx.as_ptr(), session.as_ptr()) == 1 }
    }

    fn remove(&self, session: &SslSessionRef) -> bool {
        // SAFETY: both are alive.
        unsafe { openssl_sys::SSL_CTX_remove_session(self.ctx.as_ptr(), session.as_ptr()) == 1 }
    }

    fn expire(&self, session: &SslSessionRef) {
        // SAFETY: the session is alive.
        unsafe {
            let timeout = openssl_sys::SSL_SESSION_get_timeout(session.as_ptr()) as c_long;
            let past = libssl::now() - timeout - 10;
            assert_eq!(ffi::SSL_SESSION_set_time(session.as_ptr(), past), past);
        }
    }

    fn prolong(&self, session: &SslSessionRef) {
        // SAFETY: the session is alive.
        let set = unsafe { ffi::SSL_SESSION_set_timeout(session.as_ptr(), c_long::MAX) };
        assert_eq!(set, 1);
    }

    fn set_mode(&self, mode: u32) {
        // SAFETY: the context is alive.
        unsafe {
            openssl_sys::SSL_CTX_set_session_cache_mode(self.ctx.as_ptr(), c_long::from(mode));
        }
    }

    fn set_timeout(&self, seconds: u64) -> u64 {
        // SAFETY: the context is alive.
        unsafe { ffi::SSL_CTX_set_timeout(self.ctx.as_ptr(), seconds as c_long) as u64 }
    }
}
