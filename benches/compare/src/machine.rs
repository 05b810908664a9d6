//! What the figures were taken on, and of which versions.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use serde_json::{Value, json};

const LOCK: &str = include_str!("../../../Cargo.lock");

/// Assumed where the system doesn't tell.
const SOME_MEMORY: usize = 4 << 30;

/// Half of the memory that is free, in bytes.
pub(crate) fn spare_memory() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<usize>().ok());
    kib.map_or(SOME_MEMORY, |kib| kib * 1024 / 2)
}

/// The versions of what this package depends on, by the lock file that it was built with.
pub(crate) fn versions() -> Vec<(String, String)> {
    let versions = dependencies(LOCK);
    #[cfg(feature = "openssl")]
    let versions = [
        versions,
        vec![("libssl".to_owned(), crate::rivals::libssl_version())],
    ]
    .concat();
    versions
}

fn dependencies(lock: &str) -> Vec<(String, String)> {
    let packages: Vec<&str> = lock.split("[[package]]").collect();
    let field = |package: &str, name: &str| {
        let prefix = format!("{name} = \"");
        package
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .and_then(|rest| rest.strip_suffix('"'))
            .map(str::to_owned)
    };
    let named = |name: &str| {
        packages
            .iter()
            .find(move |package| field(package, "name").as_deref() == Some(name))
    };
    let Some(own) = named(env!("CARGO_PKG_NAME")) else {
        return Vec::new();
    };
    own.lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .filter_map(|entry| {
            // With its version only where there are several of the name.
            let mut words = entry.split(' ');
            let name = words.next()?;
            let version = match words.next() {
                Some(version) => version.to_owned(),
                None => field(named(name)?, "version")?,
            };
            Some((name.to_owned(), version))
        })
        .collect()
}

/// The processor, the system, the compiler.
pub(crate) fn description() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(':').nth(1))
        .map_or("unknown", str::trim);
    let system = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let compiler = Command::new("rustc")
        .arg("-V")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default();
    let versions: serde_json::Map<String, Value> = versions()
        .into_iter()
        .map(|(name, version)| (name, Value::from(version)))
        .collect();
    json!({
        "processor": processor,
        "cores": available_parallelism().map_or(0, usize::from),
        "system": format!("{} {}", std::env::consts::OS, system.trim()),
        "architecture": std::env::consts::ARCH,
        "compiler": compiler.trim(),
        "allocator": crate::heap::ALLOCATOR,
        "versions": versions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dependency_has_its_version() {
        let versions = dependencies(LOCK);
        for name in ["refrain", "dashmap", "papaya", "scc", "moka", "hashbrown"] {
            let found: Vec<_> = versions.iter().filter(|(known, _)| known == name).collect();
            assert_eq!(found.len(), 1, "{name} in {versions:?}");
            assert!(found[0].1.starts_with(|c: char| c.is_ascii_digit()));
        }
        let lock = "[[package]]\nname = \"compare\"\ndependencies = [\n \"a 2.0.0\",\n \"b\",\n]\n\
                    [[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
                    [[package]]\nname = \"b\"\nversion = \"3.0.0\"\n";
        let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(dependencies(lock), [pair("a", "2.0.0"), pair("b", "3.0.0")]);
    }
}
