//! What a session must be for libssl to resume it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Sessions;
use super::der::Summary;
use crate::cache::SessionCache;
use crate::cache::handshake;
use crate::clock::Time;
use crate::context::Generation;
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

/// What tells a host's number from a tag of the application's.
const HOST: u64 = 0x5ef2_a1d0 << 32;

/// The tag of a session of this host's context.
pub(super) fn tag_of(host: u32) -> u64 {
    HOST | u64::from(host)
}

/// The host's context that a tag names.
fn host_of(tag: u64) -> Option<u32> {
    (tag & !u64::from(u32::MAX) == HOST).then_some(tag as u32)
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_applications_tag_is_no_hosts() {
        for host in [1, 7, u32::MAX] {
            assert_eq!(host_of(tag_of(host)), Some(host));
        }
        for tag in [0, 1, 7, 1 << 40, u64::MAX, u64::from(u32::MAX)] {
            assert_eq!(host_of(tag), None, "{tag}");
        }
    }
}
