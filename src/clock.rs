//! Time as an argument: a moment, the clock that tells it, and the coarse copy that the hot path reads.

mod pulse;

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicU64, Ordering};

use pulse::Pulse;

/// A moment on a cache's clock, in milliseconds.
///
/// The system's clock counts from the machine's start. It does not jump when somebody sets the wall clock, and on Linux,
/// Android and Apple's systems it includes the time that the machine slept; elsewhere it is the standard library's
/// monotonic clock, which may stop over a suspended night. All caches of a process share it; a
/// [`ManualClock`] starts at zero. Forty bits are kept: [`Time::MAX`] lies 34 years after the start, and as a deadline
/// means "never".
///
/// # Examples
///
/// ```
/// use refrain::Time;
/// use std::time::Duration;
///
/// let later = Time::ZERO + Duration::from_secs(2);
/// assert_eq!(later.as_millis(), 2000);
/// assert_eq!(Time::ZERO + Duration::MAX, Time::MAX);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The clock's start.
    pub const ZERO: Self = Self(0);
    /// The end of time; as a deadline, never.
    pub const MAX: Self = Self((1 << Self::BITS) - 1);
    /// How many bits a moment needs.
    pub(crate) const BITS: u32 = 40;

    /// The moment `millis` milliseconds after the clock's start; saturates at [`Time::MAX`].
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the clock's start.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// So many milliseconds later; saturates at [`Time::MAX`].
    pub(crate) const fn after(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// How much later than `earlier` this is; zero if it is not.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::MAX`]. Durations are rounded up to a whole millisecond.
    fn add(self, duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        self.after(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAX {
            return f.write_str("Time::MAX");
        }
        write!(f, "{}.{:03} s", self.0 / 1000, self.0 % 1000)
    }
}

/// A clock that moves when it is told to, for tests and simulations. Clones share the time.
///
/// A cache never lets time run backwards: set to an earlier moment, the clock stands still for the cache until it has
/// caught up, so that nothing expired comes back to life.
///
/// # Examples
///
/// ```
/// use refrain::{ManualClock, Time};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now(), Time::from_millis(1000));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at [`Time::ZERO`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The moment it shows.
    pub fn now(&self) -> Time {
        // ORDERING: Relaxed. The number is the whole message.
        Time::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// Moves it to `time`, forward or back.
    pub fn set(&self, time: Time) {
        // ORDERING: Relaxed, as in `now`.
        self.0.store(time.as_millis(), Ordering::Relaxed);
    }

    /// Moves it forward by `duration`; saturates at [`Time::MAX`].
    pub fn advance(&self, duration: Duration) {
        self.set(self.now() + duration);
    }
}

/// Where the time comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    System,
    Manual(ManualClock),
}

impl Source {
    fn read(&self) -> Time {
        match self {
            Self::System => system_now(),
            Self::Manual(clock) => clock.now(),
        }
    }
}

/// The coarse clock: one word that lookups read and that any thread may bring up to date.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    coarse: CachePadded<Coarse>,
}

#[derive(Debug)]
struct Coarse {
    now: AtomicU64,
    /// The processor's counter, if it counts the source's time.
    pulse: Option<Pulse>,
}

impl Clock {
    pub(crate) fn new(source: Source) -> Self {
        let pulse = matches!(source, Source::System).then(Pulse::new);
        let now = AtomicU64::new(0);
        let clock = Self {
            source,
            coarse: CachePadded::new(Coarse { now, pulse }),
        };
        clock.refresh();
        clock
    }

    /// The time as of the last refresh: one load of a shared line, no system call.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        // ORDERING: Relaxed. A stale time is only an earlier one, and the documented staleness covers it.
        Time(self.coarse.now.load(Ordering::Relaxed))
    }

    /// The time as of a refresh that is less than a millisecond old: as a rule one look at the processor's counter. A manual
    /// clock is read as it is.
    #[inline]
    pub(crate) fn recent(&self) -> Time {
        let pulse = self.coarse.pulse.as_ref();
        let Some((pulse, at)) = pulse.and_then(|pulse| Some((pulse, pulse.read()?))) else {
            return self.refresh();
        };
        if pulse.is_recent(at) {
            return self.now();
        }
        let now = self.refresh();
        pulse.note(at);
        now
    }

    /// Reads the source and moves the coarse time on; never back. Stops one millisecond short of [`Time::MAX`], so
    /// that what never expires never does.
    pub(crate) fn refresh(&self) -> Time {
        let read = self.source.read().0.min(Time::MAX.0 - 1);
        // ORDERING: Relaxed, both: the number is the whole message, and `fetch_max` keeps it monotonic.
        let known = self.coarse.now.load(Ordering::Relaxed);
        if read <= known {
            return Time(known);
        }
        // ORDERING: Relaxed, as above.
        Time(self.coarse.now.fetch_max(read, Ordering::Relaxed).max(read))
    }
}

/// Milliseconds since the machine started, asleep or awake.
#[cfg(all(
    unix,
    any(target_os = "linux", target_os = "android", target_vendor = "apple")
))]
fn system_now() -> Time {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    // On Apple's systems the monotonic clock counts sleep.
    #[cfg(target_vendor = "apple")]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the call to write to, and both clocks always exist where this is compiled.
    let failed = unsafe { libc::clock_gettime(CLOCK, &raw mut time) } != 0;
    if failed {
        return Time::ZERO;
    }
    #[allow(
        clippy::unnecessary_cast,
        reason = "the fields are narrower on 32-bit systems"
    )]
    Time::from_millis(time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
}

#[cfg(not(all(
    unix,
    any(target_os = "linux", target_os = "android", target_vendor = "apple")
)))]
use monotonic_now as system_now;

/// Milliseconds since the first call in this process, by the standard library's monotonic clock.
#[cfg(not(all(
    unix,
    any(target_os = "linux", target_os = "android", target_vendor = "apple")
)))]
fn monotonic_now() -> Time {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    Time::ZERO + START.elapsed()
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_and_rounds_up() {
        assert_eq!(Time::ZERO + Duration::from_nanos(1), Time::from_millis(1));
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::from_millis(u64::MAX), Time::MAX);
        assert_eq!(Time::ZERO.saturating_since(Time::MAX), Duration::ZERO);
        let (early, late) = (Time::from_millis(3), Time::from_millis(10));
        assert_eq!(late.saturating_since(early), Duration::from_millis(7));
        assert_eq!(Time::MAX.as_millis(), 0xff_ffff_ffff);
        let last = Time::from_millis(Time::MAX.as_millis() - 1);
        assert!(last < Time::MAX);
    }

    #[test]
    fn debug_shows_seconds() {
        assert_eq!(format!("{:?}", Time::from_millis(61_007)), "61.007 s");
        assert_eq!(format!("{:?}", Time::MAX), "Time::MAX");
    }

    #[test]
    fn a_manual_clock_is_moved() {
        let clock = ManualClock::new();
        let clone = clock.clone();
        clock.set(Time::from_millis(500));
        clock.advance(Duration::from_millis(30));
        assert_eq!(clone.now(), Time::from_millis(530));
        clock.set(Time::from_millis(100));
        assert_eq!(clone.now(), Time::from_millis(100));
        clock.advance(Duration::MAX);
        assert_eq!(clone.now(), Time::MAX);
    }

    #[test]
    fn coarse_time_never_runs_back_nor_reaches_the_end() {
        let manual = ManualClock::new();
        let clock = Clock::new(Source::Manual(manual.clone()));
        manual.set(Time::from_millis(500));
        assert_eq!(clock.now(), Time::ZERO);
        assert_eq!(clock.refresh(), Time::from_millis(500));
        assert_eq!(clock.now(), Time::from_millis(500));
        manual.set(Time::from_millis(100));
        assert_eq!(clock.refresh(), Time::from_millis(500));
        assert_eq!(clock.now(), Time::from_millis(500));
        assert_eq!(
            Clock::new(Source::Manual(manual.clone())).now(),
            Time::from_millis(100)
        );
        manual.set(Time::MAX);
        assert!(clock.refresh() < Time::MAX);
    }

    /// Read by another way of counting.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn the_system_clock_counts_from_the_machines_start() {
        let read = || {
            let mut time = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            // SAFETY: a valid place for the call to write to.
            let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
            assert_eq!(failed, 0);
            Time::ZERO
                + Duration::new(time.tv_sec as u64, 0)
                + Duration::from_nanos(time.tv_nsec as u64)
        };
        let clock = Clock::new(Source::System);
        for _ in 0..100 {
            let before = read().as_millis();
            let now = clock.refresh().as_millis();
            // The other way rounds up.
            assert!(before <= now + 1 && now <= read().as_millis());
        }
    }

    /// What is cut off to whole milliseconds is one behind at the most.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn recent_time_is_less_than_a_millisecond_old() {
        let clock = Clock::new(Source::System);
        for pause in [0, 0, 1, 50, 200, 1200, 0, 3000] {
            for _ in 0..10 {
                std::thread::sleep(Duration::from_micros(pause));
                let before = system_now().as_millis();
                let recent = clock.recent().as_millis();
                assert!(before <= recent + 1 && recent <= system_now().as_millis());
                assert!(recent <= clock.refresh().as_millis());
            }
        }
    }

    #[test]
    fn recent_time_of_a_manual_clock_is_its_time() {
        let manual = ManualClock::new();
        let clock = Clock::new(Source::Manual(manual.clone()));
        for millis in [1, 2, 700] {
            manual.set(Time::from_millis(millis));
            assert_eq!(clock.recent(), Time::from_millis(millis));
        }
    }

    #[test]
    fn the_system_clock_moves() {
        let clock = Clock::new(Source::System);
        let before = clock.refresh();
        std::thread::sleep(Duration::from_millis(5));
        let after = clock.refresh();
        assert!(
            after > before,
            "{after:?} comes 5 ms or more after {before:?}"
        );
    }
}
