//! Which libssl this process is linked with: some of what OpenSSL does has changed over the years.

/// Major, minor and patch number. 1.1.1 is 1, 1, 1, whatever its letter.
pub(crate) type Version = (u32, u32, u32);

/// The version that runs, which is not necessarily that of the headers.
pub(crate) fn version() -> Version {
    let number = openssl::version::number() as u32;
    let (major, minor) = (number >> 28, number >> 20 & 0xff);
    // 1.x has "fix" where 3.0 and later have zero, and the other way round.
    let patch = number >> if major < 3 { 12 } else { 4 } & 0xff;
    (major, minor, patch)
}

/// `SSL_CTX_add_session` keeps one entry less than the size since then.
pub(crate) const KEEPS_ONE_LESS: Version = (3, 0, 6);

/// `SSL_new_session_ticket` is there.
pub(crate) const HAS_TICKETS_ON_REQUEST: Version = (3, 0, 0);

/// The list is in the order of expiry, and a flush starts at its earliest end.
pub(crate) const SORTS_BY_EXPIRY: Version = (3, 0, 0);

/// No remove callback is called under the lock of the `SSL_CTX`, and one flush calls them latest first.
pub(crate) const CALLS_UNLOCKED: Version = (4, 0, 0);

/// Time is counted in nanoseconds: zero seconds are over at once, and negative numbers wrap.
pub(crate) const COUNTS_NANOSECONDS: Version = (3, 2, 0);

/// A TLS 1.3 server that can't use the client's session, because its cipher has another hash, issues tickets. What 3.1 to
/// 3.6 do depends on their patch.
pub(crate) const ISSUES_BEHIND_ANOTHER_HASH: Version = (4, 0, 0);

/// Adding a session again leaves it where it is in the list.
pub(crate) fn re_adding_moves() -> bool {
    let (major, minor, patch) = version();
    match (major, minor) {
        (1, _) => false,
        (3, 5) => patch < 7,
        (3, 6) => patch < 3,
        (3, _) => true,
        _ => false,
    }
}

#[test]
fn the_version_is_one_that_these_scripts_know() {
    let v = version();
    assert!(((1, 1, 1)..(5, 0, 0)).contains(&v), "{v:?}");
    let text = openssl::version::version();
    let (major, minor, patch) = v;
    assert!(
        text.contains(&format!("{major}.{minor}.{patch}")),
        "{v:?} is not {text}"
    );
    // The script that chose the libssl looks for this line.
    println!("libssl: {text}");
}
