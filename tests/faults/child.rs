//! A child of this process: how it is forked, how it tells what it found, and what must work in every one.
//!
//! It only tries things and tells by its exit code; an alarm ends one that hangs.

use std::sync::mpsc::channel;

use refrain::{Added, Context, ContextId, RemovalCause, SessionCache};

use crate::common::{id, millis, number, secs, session, sized};

/// What a child found out.
pub(crate) type Findings = Result<(), String>;

/// Told by a child that came of a fork at a bad moment: a thread that it does not have was at work inside the cache.
pub(crate) const UNLUCKY: &str = "unlucky";

/// Ends a child's work, with the line and what was wrong, unless the condition holds.
macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            return Err(format!("line {}: {}", line!(), stringify!($condition)));
        }
    };
    ($condition:expr, $more:expr) => {
        if !$condition {
            return Err(format!(
                "line {}: {}: {:?}",
                line!(),
                stringify!($condition),
                $more
            ));
        }
    };
}

pub(crate) use check;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Unlucky,
    Badly(i32),
}

/// Forks, and starts `work` in the child.
pub(crate) fn fork(work: impl FnOnce() -> Findings) -> libc::pid_t {
    // SAFETY: the child calls nothing but this crate's code, the allocator, which glibc, musl and Apple's libc keep whole
    // across a fork, and `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid > 0 {
        return pid;
    }
    // SAFETY: as above. The default action of the alarm ends the process.
    unsafe { libc::alarm(40) };
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let code = match found {
        Ok(Ok(())) => 0,
        Ok(Err(what)) if what == UNLUCKY => 2,
        Ok(Err(what)) => {
            let text = format!("in the child: {what}\n");
            // SAFETY: the text is that long. Past std, whose lock another thread may have held.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            1
        }
        Err(_) => 3,
    };
    // SAFETY: ends the child without the destructors of the test.
    unsafe { libc::_exit(code) }
}

pub(crate) fn wait(pid: libc::pid_t) -> Ended {
    let mut status = 0;
    // SAFETY: a child of ours, waited for once.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid, "{}", std::io::Error::last_os_error());
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, 0) => Ended::Well,
        (true, 2) => Ended::Unlucky,
        _ => Ended::Badly(status),
    }
}

pub(crate) fn in_child(work: impl FnOnce() -> Findings) -> Ended {
    wait(fork(work))
}

/// Drops in the child what the parent keeps: the handle, of which the child has a copy that nobody else drops there.
pub(crate) fn drop_copy<T>(value: &T) {
    // SAFETY: only children call this, once for each value, and use the value no more: they end by `_exit`.
    drop(unsafe { std::ptr::read(value) });
}

/// A cache that the child builds by itself, with threads: everything must work.
pub(crate) fn try_new_cache() -> Findings {
    let (told, heard) = channel();
    let cache = SessionCache::builder()
        .capacity(100)
        .tick(millis(4))
        .on_remove(move |gone, cause| told.send((number(gone), cause)).unwrap())
        .build()
        .map_err(|error| error.to_string())?;
    let context = cache
        .context(ContextId::derive("new", &[]))
        .map_err(|e| e.to_string())?;
    for n in 0..1000 {
        check!(cache.add(session(&context, n)) == Added::Inserted, n);
    }
    check!(cache.len() == 100);
    // By the listener, the wiping by the maintainer.
    let mut evicted = Vec::new();
    for _ in 0..900 {
        let (n, cause) = heard.recv_timeout(secs(20)).map_err(|e| e.to_string())?;
        check!(cause == RemovalCause::Evicted);
        evicted.push(n);
    }
    evicted.sort_unstable();
    evicted.dedup();
    check!(evicted.len() == 900);
    check!(cache.contains(&context, &id(999)));
    check!(cache.take(&context, &id(999)).is_some());
    check!(heard.recv_timeout(secs(20)) == Ok((999, RemovalCause::Taken)));
    cache.settle();
    check!(cache.stats().backlog_bytes == 0, cache.stats());
    try_grace_period(&cache, &context)?;
    check!(cache.stats().is_balanced());
    let rest = cache.len();
    drop(cache);
    let events: Vec<_> = heard.iter().collect();
    let dropped = events.iter().filter(|e| e.1 == RemovalCause::Dropped);
    check!(dropped.count() == rest, events);
    Ok(())
}

/// What the forking thread borrows is not freed under it by another thread of the child's.
fn try_grace_period(cache: &SessionCache, context: &Context) -> Findings {
    check!(cache.add(sized(context, 7777, 3000)).is_cached());
    let whole = cache.with(context, &id(7777), |lent| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(cache.remove(context, &id(7777)));
                for n in 0..50 {
                    let _ = cache.add(sized(context, 10_000 + n, 3000));
                    cache.take(context, &id(10_000 + n));
                    cache.run_maintenance();
                }
            });
        });
        lent.payload() == [7777_u64 as u8; 3000]
    });
    check!(whole == Some(true));
    Ok(())
}
