//! The stated minimum Rust version is one that every dependency of the default features and of `rustls` states, too.

#![allow(missing_docs, reason = "a test")]

use std::collections::{HashMap, HashSet};
use std::process::Command;

use serde_json::Value;

/// A version as numbers: "1.85" as [1, 85, 0].
fn version(text: &str) -> [u64; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[test]
fn dependencies_need_no_newer_rust() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-default-features"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .unwrap();
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages: HashMap<&str, &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package))
        .collect();
    let nodes: HashMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let (root, own) = packages
        .iter()
        .find(|(_, package)| package["name"] == "refrain")
        .unwrap();
    let stated = version(own["rust_version"].as_str().unwrap());
    // The graph also holds what only tests, the models and other targets use: follow ordinary edges of unix machines.
    let is_ordinary = |edge: &Value| {
        edge["dep_kinds"].as_array().unwrap().iter().any(|kind| {
            let target = kind["target"].as_str().unwrap_or("");
            kind["kind"].is_null() && !target.contains("refrain_") && !target.contains("windows")
        })
    };
    let mut seen = HashSet::new();
    let mut todo = vec![*root];
    while let Some(id) = todo.pop() {
        let name = packages[id]["name"].as_str().unwrap();
        if !seen.insert(id) {
            continue;
        }
        if let Some(needs) = packages[id]["rust_version"].as_str() {
            assert!(version(needs) <= stated, "{name} needs Rust {needs}");
        }
        for edge in nodes[id]["deps"].as_array().unwrap() {
            if is_ordinary(edge) {
                todo.push(edge["pkg"].as_str().unwrap());
            }
        }
    }
    assert!(seen.len() > 5, "only {seen:?} were looked at");
}
