//! The examples of the crate: real TLS servers with their clients, each run a process of its own that prints JSON.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// An example.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Example {
    pub(crate) name: &'static str,
    /// The server's TLS library.
    pub(crate) library: &'static str,
    /// Refrain, the library's own, and none.
    pub(crate) caches: [&'static str; 3],
    /// Those that can be flushed.
    pub(crate) flushed: &'static [&'static str],
}

/// All that can be built here.
pub(crate) const ALL: &[Example] = &[
    Example {
        name: "accept_loop",
        library: "rustls",
        caches: ["refrain", "rustls", "none"],
        flushed: &["refrain"],
    },
    #[cfg(feature = "openssl")]
    Example {
        name: "openssl_accept_loop",
        library: "openssl",
        caches: ["refrain", "openssl", "none"],
        flushed: &["refrain", "openssl"],
    },
];

/// What one run of an example is told to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) tls: &'static str,
    pub(crate) threads: usize,
    pub(crate) connections: u64,
    pub(crate) flush: Option<usize>,
}

/// Has cargo build them, and says where they are, in the order of [`ALL`].
pub(crate) fn build() -> Result<Vec<PathBuf>, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .args(["build", "--release", "--message-format=json"]);
    // What `cargo run` says of this package would make build scripts of dependencies run anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    for example in ALL {
        command.args(["--example", example.name]);
    }
    if cfg!(feature = "openssl") {
        command.args(["--features", "openssl"]);
    }
    let told = |error: &dyn std::fmt::Display| format!("cargo build of the examples: {error}");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| told(&error))?;
    if !output.status.success() {
        return Err(told(&output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let find = |example: &Example| {
        let made = messages
            .iter()
            .find(|message| message["target"]["name"] == example.name);
        let path = made.and_then(|message| message["executable"].as_str());
        let missing = || told(&format_args!("{} is missing", example.name));
        path.map(PathBuf::from).ok_or_else(missing)
    };
    ALL.iter().map(find).collect()
}

/// One run. What it found, or what broke.
pub(crate) fn run(program: &PathBuf, cache: &str, load: Load) -> Result<Value, String> {
    let mut command = Command::new(program);
    command
        .args([
            "--json",
            "--no-replays",
            "--cache",
            cache,
            "--tls",
            load.tls,
        ])
        .args(["--threads", &load.threads.to_string()])
        .args(["--connections", &load.connections.to_string()]);
    if let Some(sessions) = load.flush {
        command.args(["--flush", &sessions.to_string()]);
    }
    let told = |error: &dyn std::fmt::Display| format!("{command:?}: {error}");
    let output = Command::new(program)
        .args(command.get_args())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| told(&error))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().last().unwrap_or("it said nothing");
        return Err(told(&format_args!("{}: {last}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| told(&error))
}
