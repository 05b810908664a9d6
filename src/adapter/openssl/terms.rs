//! What a session must be for libssl to resume it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Sessions;
use super::der::Summary;
use crate::cache::SessionCache;
use crate::cache::handshake;
use crate::clock::Time;
use crate::context::Generation;
use crate::host::host_of;
use crate::session::Session;
use crate::stats::Event;

impl Sessions {
    /// A wall clock's moment by the cache's clock.
    pub(super) fn moment(&self, unix: i64) -> Time {
        let left = u64::try_from(unix.saturating_sub(unix_now())).unwrap_or(0);
        self.cache.now() + Duration::from_secs(left)
    }
}

/// What one look-up of a handshake asks of a session.
pub(super) struct Terms<'a> {
    pub(super) sessions: &'a Sessions,
    pub(super) generation: Generation,
    pub(super) name: Option<&'a str>,
    pub(super) id: &'a [u8],
    pub(super) version: i64,
    /// Of TLS 1.3, where libssl refuses a session of another hash only after it was taken.
    pub(super) suite: Option<u16>,
    /// In seconds since 1970.
    pub(super) now: i64,
}

impl Terms<'_> {
    pub(super) fn cache(&self) -> &SessionCache {
        &self.sessions.cache
    }

    /// When the authentication behind a session ends. One from elsewhere that does not say it began when it was made.
    pub(super) fn until(&self, session: &Session) -> i64 {
        let summary = Summary::read(session.payload()).unwrap_or_default();
        let lifetime = whole(self.sessions.lifetime);
        summary
            .until
            .unwrap_or_else(|| summary.time.unwrap_or(self.now).saturating_add(lifetime))
    }
}

impl handshake::Terms for Terms<'_> {
    fn want(&self, session: &Session) -> bool {
        let same = |summary: &Summary<'_>| {
            summary.version == self.version
                && summary.id == self.id
                && self.suite.is_none_or(|suite| summary.hashes_as(suite))
        };
        let Some(summary) = Summary::read(session.payload()).filter(same) else {
            return false;
        };
        // A session of a host whose context was invalidated.
        if host_of(session.tag()).is_some_and(|host| !self.cache().is_current(host)) {
            return false;
        }
        // A session from outside has its own idea of its age, which nobody has compared with anything yet.
        let external = session.deadline() == Time::ZERO;
        let expired = external && (summary.is_expired(self.now) || self.now >= self.until(session));
        if expired {
            self.cache().count(Event::Timeout);
        }
        !expired
    }

    /// With no more time than it has left by its own account.
    fn adopt(&self, session: Session) -> Option<Session> {
        let summary = Summary::read(session.payload())?;
        let context = &self.sessions.context;
        let until = self.sessions.moment(self.until(&session));
        let mut timeout = session.timeout().unwrap_or_else(|| self.cache().timeout());
        if let Some(left) = summary.left(self.now) {
            timeout = timeout.min(Duration::from_secs(u64::try_from(left).unwrap_or(0)));
        }
        Session::builder(context, session.session_id())
            .generation(self.generation)
            .server_name(session.server_name().unwrap_or(""))
            .tag(session.tag())
            .timeout(timeout)
            .not_after(until.min(session.not_after()))
            .build(session.payload())
            .ok()
    }
}

/// Whole seconds, rounded up.
pub(super) fn whole(duration: Duration) -> i64 {
    let rounded = duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0));
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// The wall clock, in seconds since 1970.
pub(super) fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;
    use crate::adapter::openssl::der::seal;
    use crate::cache::handshake::Terms as _;
    use crate::clock::ManualClock;
    use crate::config::Maintenance;
    use crate::host::tag_of;
    use crate::id::{ContextId, SessionId};

    /// The present of these tests, in seconds since 1970, and the authentication's lifetime.
    const NOW: i64 = 1_000_000;
    const LIFETIME: i64 = 500;

    /// DER of TLS 1.3 with this suite and id, made then, to live so long.
    fn der(suite: [u8; 2], id: u8, time: i32, timeout: i16) -> Vec<u8> {
        let fields = [
            &[2, 1, 1, 2, 2, 3, 4, 4, 2][..],
            &suite,
            &[4, 1, id, 4, 1, 9, 0xa1, 6, 2, 4],
            &time.to_be_bytes(),
            &[0xa2, 4, 2, 2],
            &timeout.to_be_bytes(),
        ]
        .concat();
        [&[0x30, fields.len() as u8][..], &fields].concat()
    }

    fn usual() -> Vec<u8> {
        der([0x13, 1], 7, NOW as i32 - 60, 100)
    }

    fn sessions() -> Sessions {
        let cache = SessionCache::builder()
            .clock(ManualClock::new())
            .maintenance(Maintenance::Manual)
            .build()
            .unwrap();
        Sessions::new(&cache, ContextId::new(b"terms").unwrap())
            .unwrap()
            .authentication_lifetime(Duration::from_secs(LIFETIME as u64))
    }

    fn terms(sessions: &Sessions) -> Terms<'_> {
        Terms {
            sessions,
            generation: sessions.context.generation(),
            name: None,
            id: &[7],
            version: 0x0304,
            suite: Some(0x1301),
            now: NOW,
        }
    }

    fn session(sessions: &Sessions, tag: u64, payload: &[u8]) -> Session {
        let id = SessionId::new(&[7]).unwrap();
        Session::builder(&sessions.context, id)
            .tag(tag)
            .build(payload)
            .unwrap()
    }

    #[test]
    fn a_session_of_another_version_id_or_hash_is_not_wanted() {
        let sessions = sessions();
        let terms = terms(&sessions);
        let session = session(&sessions, 0, &usual());
        assert!(terms.want(&session));
        let any_suite = Terms {
            suite: None,
            ..terms
        };
        assert!(any_suite.want(&session));
        for other in [
            Terms {
                version: 0x0303,
                ..any_suite
            },
            Terms {
                id: &[8],
                ..any_suite
            },
            Terms {
                id: &[7, 7],
                ..any_suite
            },
            Terms {
                suite: Some(0x1302),
                ..any_suite
            },
        ] {
            assert!(!other.want(&session));
        }
        let garbage = self::session(&sessions, 0, b"garbage");
        assert!(!any_suite.want(&garbage));
        assert_eq!(sessions.cache.stats().timeouts, 0);
    }

    #[test]
    fn a_session_from_outside_that_has_expired_is_not_wanted_and_counts() {
        let sessions = sessions();
        let terms = terms(&sessions);
        let want = |payload: &[u8]| terms.want(&session(&sessions, 0, payload));
        // By its own timeout.
        assert!(want(&der([0x13, 1], 7, NOW as i32 - 100, 100)));
        assert!(!want(&der([0x13, 1], 7, NOW as i32 - 101, 100)));
        // By the end of the authentication: its own, or a lifetime after it was made.
        assert!(want(&seal(usual(), NOW + 1)));
        assert!(!want(&seal(usual(), NOW)));
        assert!(want(&der([0x13, 1], 7, (NOW - LIFETIME) as i32 + 1, 9999)));
        assert!(!want(&der([0x13, 1], 7, (NOW - LIFETIME) as i32, 9999)));
        assert_eq!(sessions.cache.stats().timeouts, 3);
        // One of the cache's own has a deadline there.
        let own = session(&sessions, 0, &seal(usual(), NOW));
        assert!(sessions.cache.add(own.clone()).is_cached());
        assert!(terms.want(&own));
        assert_eq!(sessions.cache.stats().timeouts, 3);
    }

    #[test]
    fn a_session_of_a_host_that_was_invalidated_is_not_wanted() {
        let sessions = sessions();
        let terms = terms(&sessions);
        let host = sessions
            .cache
            .context(ContextId::new(b"host").unwrap())
            .unwrap();
        let session = session(&sessions, tag_of(host.number()), &usual());
        assert!(terms.want(&session));
        sessions.cache.invalidate_context(&host).unwrap();
        assert!(!terms.want(&session));
    }

    #[test]
    fn the_authentication_of_a_session_ends() {
        let sessions = sessions();
        let terms = terms(&sessions);
        let until = |payload: &[u8]| terms.until(&session(&sessions, 0, payload));
        assert_eq!(until(&seal(usual(), 77)), 77);
        assert_eq!(until(&usual()), NOW - 60 + LIFETIME);
        assert_eq!(until(b"garbage"), NOW + LIFETIME);
    }

    #[test]
    fn what_is_adopted_lives_no_longer_than_it_may() {
        let sessions = sessions();
        let now = unix_now();
        let terms = Terms {
            now,
            ..terms(&sessions)
        };
        let id = SessionId::new(&[7]).unwrap();
        let offer = || {
            Session::builder(&sessions.context, id)
                .tag(5)
                .server_name("a.example")
        };
        let made = |timeout| der([0x13, 1], 7, now as i32 - 60, timeout);
        // Its own 40 seconds that are left are less than the cache's two hours.
        let adopted = terms.adopt(offer().build(&made(100)).unwrap()).unwrap();
        assert_eq!(adopted.timeout(), Some(Duration::from_secs(40)));
        assert_eq!(
            (adopted.tag(), adopted.server_name()),
            (5, Some("a.example"))
        );
        assert_eq!(
            (adopted.session_id(), adopted.payload()),
            (id, &made(100)[..])
        );
        // What the store says counts if it is less.
        let short = offer().timeout(Duration::from_secs(30));
        let adopted = terms.adopt(short.build(&made(100)).unwrap()).unwrap();
        assert_eq!(adopted.timeout(), Some(Duration::from_secs(30)));
        // The authentication ends by the session's own account, or the store's; the clock stands at zero.
        let sealed = seal(made(100), now + 1000);
        let adopted = terms.adopt(offer().build(&sealed).unwrap()).unwrap();
        let ends = adopted.not_after().as_millis() as i64;
        let passed = unix_now() - now;
        assert!(
            ((1000 - passed) * 1000..=1_000_000).contains(&ends),
            "{ends}"
        );
        let early = offer().not_after(Time::from_millis(7));
        let adopted = terms.adopt(early.build(&sealed).unwrap()).unwrap();
        assert_eq!(adopted.not_after(), Time::from_millis(7));
        assert!(terms.adopt(offer().build(b"garbage").unwrap()).is_none());
    }

    #[test]
    fn seconds_are_rounded_up() {
        let nanos = Duration::from_nanos;
        assert_eq!(whole(Duration::ZERO), 0);
        assert_eq!((whole(nanos(1)), whole(nanos(999_999_999))), (1, 1));
        assert_eq!(
            (whole(Duration::from_secs(7)), whole(nanos(7_000_000_001))),
            (7, 8)
        );
        assert_eq!(whole(Duration::MAX), i64::MAX);
    }

    #[test]
    fn the_wall_clock_counts_from_1970() {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let before = seconds(SystemTime::now());
        let now = unix_now();
        assert!(before <= now && now <= seconds(SystemTime::now()));
    }
}
