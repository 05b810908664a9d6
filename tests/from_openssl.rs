//! Every function that OpenSSL's manual describes for its session cache is found here by its name, and stands in the
//! chapter that compares the two.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const MANUAL: &str = include_str!("../src/manual/from-openssl.md");

/// What OpenSSL's manual describes.
const FUNCTIONS: &[&str] = &[
    "SSL_CTX_sess_set_new_cb",
    "SSL_CTX_sess_set_remove_cb",
    "SSL_CTX_sess_set_get_cb",
    "SSL_CTX_sess_get_new_cb",
    "SSL_CTX_sess_get_remove_cb",
    "SSL_CTX_sess_get_get_cb",
    "SSL_CTX_add_session",
    "SSL_add_session",
    "SSL_CTX_remove_session",
    "SSL_remove_session",
    "SSL_get_session",
    "SSL_get0_session",
    "SSL_get1_session",
    "SSL_set_session",
    "SSL_SESSION_new",
    "SSL_SESSION_up_ref",
    "SSL_SESSION_free",
    "SSL_SESSION_get_id",
    "SSL_SESSION_get_time",
    "SSL_SESSION_set_time",
    "SSL_SESSION_get_time_ex",
    "SSL_SESSION_set_time_ex",
    "SSL_SESSION_get_timeout",
    "SSL_SESSION_set_timeout",
    "SSL_SESSION_is_resumable",
    "SSL_SESSION_get0_hostname",
    "SSL_CTX_flush_sessions",
    "SSL_CTX_flush_sessions_ex",
    "SSL_CTX_set_session_cache_mode",
    "SSL_CTX_get_session_cache_mode",
    "SSL_CTX_set_timeout",
    "SSL_CTX_get_timeout",
    "SSL_CTX_sess_set_cache_size",
    "SSL_CTX_sess_get_cache_size",
    "SSL_CTX_sess_number",
    "SSL_CTX_sess_connect",
    "SSL_CTX_sess_connect_good",
    "SSL_CTX_sess_connect_renegotiate",
    "SSL_CTX_sess_accept",
    "SSL_CTX_sess_accept_good",
    "SSL_CTX_sess_accept_renegotiate",
    "SSL_CTX_sess_hits",
    "SSL_CTX_sess_cb_hits",
    "SSL_CTX_sess_misses",
    "SSL_CTX_sess_timeouts",
    "SSL_CTX_sess_cache_full",
    "SSL_CTX_set_session_id_context",
    "SSL_set_session_id_context",
    "SSL_CTX_set_generate_session_id",
    "SSL_set_generate_session_id",
    "SSL_has_matching_session_id",
    "SSL_CTX_set_not_resumable_session_callback",
    "SSL_set_not_resumable_session_callback",
    "SSL_session_reused",
    "SSL_CTX_new",
    "SSL_CTX_free",
    "SSL_new",
    "SSL_accept",
    "SSL_connect",
    "SSL_renegotiate",
    "SSL_new_session_ticket",
    "SSL_shutdown",
    "SSL_clear",
    "SSL_free",
    "i2d_SSL_SESSION",
    "d2i_SSL_SESSION",
];

/// The modes, which are constants.
const MODES: &[&str] = &[
    "SSL_SESS_CACHE_OFF",
    "SSL_SESS_CACHE_CLIENT",
    "SSL_SESS_CACHE_SERVER",
    "SSL_SESS_CACHE_BOTH",
    "SSL_SESS_CACHE_NO_AUTO_CLEAR",
    "SSL_SESS_CACHE_NO_INTERNAL_LOOKUP",
    "SSL_SESS_CACHE_NO_INTERNAL_STORE",
    "SSL_SESS_CACHE_NO_INTERNAL",
    "SSL_SESS_CACHE_UPDATE_TIME",
];

/// The names in `doc(alias)` of every source file.
fn aliases(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            aliases(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let names = source.split("doc(alias = \"").skip(1);
            found.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
}

/// The functions in the first column of the manual's table.
fn rows() -> BTreeSet<&'static str> {
    let (_, table) = MANUAL.split_once("## Functions").unwrap();
    let (table, _) = table.split_once("## Differences").unwrap();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| {
            line[1..]
                .split('|')
                .next()
                .unwrap()
                .split('`')
                .skip(1)
                .step_by(2)
        })
        .collect()
}

#[test]
fn every_function_is_found_by_its_name_and_stands_in_the_manual() {
    let mut aliased = BTreeSet::new();
    aliases(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut aliased,
    );
    let rows = rows();
    let named: BTreeSet<_> = FUNCTIONS.iter().copied().collect();
    for name in FUNCTIONS.iter().chain(MODES) {
        assert!(aliased.contains(*name), "{name} is nobody's alias");
    }
    assert_eq!(rows, named, "the manual's rows are these functions");
}

#[test]
fn every_alias_is_explained() {
    let mut aliased = BTreeSet::new();
    aliases(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut aliased,
    );
    for name in aliased {
        let known = FUNCTIONS.contains(&&*name) || MODES.contains(&&*name);
        assert!(known, "{name} is not in the list, and so not in the manual");
    }
}
