//! The program from outside: what it prints, writes, and exits with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(arguments)
        .output()
        .unwrap()
}

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn help_and_nonsense_exit_as_they_say() {
    let help = compare(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for word in ["Exit codes", "hits-20k-zipf", "papaya"] {
        assert!(text.contains(word), "{word}");
    }
    let nonsense = compare(&["--rival", "nobody"]);
    assert_eq!(nonsense.status.code(), Some(2));
    assert!(nonsense.stdout.is_empty() && !nonsense.stderr.is_empty());
}

#[test]
fn throughput_leaves_tables_figures_and_plots() {
    let out = folder("throughput");
    let run = compare(&[
        "--workload",
        "hits-20k-zipf,tls13",
        "--rival",
        "dashmap,mini-moka",
        "--threads",
        "1,2",
        "--payload",
        "64",
        "--seconds",
        "0.01",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(text, fs::read_to_string(out.join("throughput.md")).unwrap());
    let json = json(&out.join("throughput.json"));
    let tables = json["throughput"]["tables"].as_array().unwrap();
    let names: Vec<_> = tables.iter().map(|table| &table["workload"]).collect();
    assert_eq!(names, ["hits-20k-zipf", "hits-20k-zipf-owned", "tls13"]);
    for table in tables {
        let name = table["workload"].as_str().unwrap();
        let plot = out.join(format!("throughput-{name}-64.svg"));
        assert!(fs::read_to_string(plot).unwrap().contains("refrain"));
        for rival in table["rivals"].as_array().unwrap() {
            for figures in rival["figures"].as_array().unwrap() {
                let lacks = rival["rival"] == "mini-moka" && name != "hits-20k-zipf-owned";
                assert_eq!(figures["none"].is_string(), lacks, "{rival}");
                assert_eq!(figures["per_second"].as_f64().is_some(), !lacks, "{rival}");
                if rival["rival"] == "refrain" {
                    assert_eq!(figures["times_refrain"], 1.0);
                }
            }
        }
    }
    assert!(json["machine"]["versions"]["dashmap"].is_string());
}

#[test]
fn a_session_takes_what_it_should() {
    let each = |rival| {
        let found = compare(&["child", "filled", rival, "200000", "256", "1"]);
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        assert_eq!(found["held"], 200_000);
        found["heap"].as_f64().unwrap()
    };
    // A header of 64 bytes, about 17 of index, 6 of age, 6 of timers; in regions, of which one may have been begun.
    let refrain = each("refrain");
    assert!((70.0..120.0).contains(&refrain), "{refrain}");
    // An id, a pointer of two words and a count of two, in a table with room.
    let map = each("mutexed-map");
    assert!((64.0..160.0).contains(&map), "{map}");
}

#[test]
fn an_hour_of_single_use_sessions_leaves_nothing() {
    let hour = compare(&["child", "churn", "8", "256", "1"]);
    let hour: Value = serde_json::from_slice(&hour.stdout).unwrap();
    assert_eq!(hour["faults"].as_array().unwrap().len(), 0, "{hour}");
    // All but the last half a minute's.
    assert_eq!(hour["added"], 2 * 8 * 3600);
    assert_eq!(hour["taken"], 8 * (3600 - 30));
    assert_eq!(hour["evicted"], 0);
    let live: Vec<u64> = hour["sights"].as_array().unwrap()[1..11]
        .iter()
        .map(|sight| sight["live"].as_u64().unwrap())
        .collect();
    assert!(
        live.iter().all(|live| (2500..2800).contains(live)),
        "{live:?}"
    );
}

#[test]
fn latency_tells_each_scenario_beside_its_control() {
    let out = folder("latency");
    let run = compare(&[
        "latency",
        "--quick",
        "--rival",
        "quick_cache",
        "--seconds",
        "0.05",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let json = json(&out.join("latency.json"));
    let scenes = json["latency"].as_array().unwrap();
    let names: Vec<_> = scenes.iter().map(|scene| &scene["scenario"]).collect();
    let all = ["quiet", "expiry", "flush", "cut", "listener", "churn"];
    assert_eq!(names, all);
    for scene in scenes {
        let refrain = &scene["rivals"][0];
        assert_eq!(refrain["rival"], "refrain");
        for what in ["lookups", "adds", "control"] {
            assert!(refrain[what]["samples"].as_u64().unwrap() > 0, "{scene}");
            let of = |part: &str| refrain[what][part].as_u64().unwrap();
            assert!(of("p50_ns") <= of("p99.9_ns") && of("p99.9_ns") <= of("max_ns"));
        }
        let happens = ["expiry", "flush", "cut"].map(Value::from);
        let told = refrain["event_ns"].is_u64();
        assert_eq!(told, happens.contains(&scene["scenario"]), "{scene}");
        // What nobody evicts, flushes or cuts is found.
        if scene["scenario"] == "expiry" {
            assert_eq!(refrain["found"], refrain["lookups"]["samples"]);
        }
        let name = scene["scenario"].as_str().unwrap();
        assert!(out.join(format!("latency-{name}.svg")).exists());
    }
}

#[test]
fn handshakes_of_the_examples_are_told_with_and_without_a_flush() {
    let out = folder("handshakes");
    let run = compare(&[
        "handshakes",
        "--quick",
        "--seconds",
        "0.05",
        "--threads",
        "2",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let json = json(&out.join("handshakes.json"));
    let scenes = json["handshakes"].as_array().unwrap();
    let examples = if cfg!(feature = "openssl") { 2 } else { 1 };
    assert_eq!(scenes.len(), examples * 2 * 2);
    for scene in scenes {
        let flush = scene["flush"].as_u64();
        for cache in scene["caches"].as_array().unwrap() {
            assert!(cache["per_second"].as_f64().unwrap() > 0.0);
            let runs = cache["runs"].as_array().unwrap();
            assert_eq!(runs.len(), 3);
            for run in runs {
                assert_eq!(run["handshakes"], scene["connections"]);
                assert_eq!(run["resumed"] == 0, cache["cache"] == "none", "{run}");
                assert_eq!(run["flush"]["sessions"].as_u64(), flush);
            }
            if cache["cache"] == "refrain" {
                assert_eq!(cache["times_refrain"], 1.0);
            }
        }
        let library = match scene["example"].as_str().unwrap() {
            "accept_loop" => "rustls",
            _ => "openssl",
        };
        let (tls, flushed) = (
            scene["tls"].as_str().unwrap(),
            flush.map_or("", |_| "-flush"),
        );
        let plot = out.join(format!("handshakes-{library}-{tls}-2{flushed}.svg"));
        assert!(fs::read_to_string(plot).unwrap().contains("refrain"));
    }
}

/// The checks are in the program, which panics if an operation does not do what it is counted as.
#[test]
fn every_operation_that_is_counted_does_what_it_says() {
    let counting = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_instructions"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let list = String::from_utf8(counting(&["--list"]).stdout).unwrap();
    let operations: Vec<_> = list.lines().collect();
    for known in ["refrain with", "refrain expire", "papaya take"] {
        assert!(operations.contains(&known), "{list}");
    }
    // It hands out clones and lends nothing.
    assert!(!operations.contains(&"quick_cache with"), "{list}");
    for operation in operations {
        let (subject, name) = operation.split_once(' ').unwrap();
        let run = counting(&[subject, name, "1"]);
        assert!(run.status.success(), "{operation}: {run:?}");
        let counted = String::from_utf8(run.stdout).unwrap();
        let batch = if matches!(name, "expire" | "flush") {
            20_000
        } else {
            2_000
        };
        assert_eq!(counted.trim(), batch.to_string(), "{operation}");
    }
    for nonsense in [
        &["refrain", "nothing-such", "1"][..],
        &["refrain", "with", "x"],
        &[],
    ] {
        assert_eq!(counting(nonsense).status.code(), Some(2));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_it_has() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let out = folder("interrupted");
    let mut run = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(["--workload", "hits-20k-zipf", "--rival", "papaya"])
        .args(["--threads", "1", "--seconds", "20", "--out"])
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let begun = lines.any(|line| line.unwrap().contains("1 thread"));
    assert!(begun, "it ended by itself");
    // SAFETY: a signal to a child that was not waited for yet.
    assert_eq!(
        unsafe { libc::kill(run.id() as libc::pid_t, libc::SIGINT) },
        0
    );
    for _ in lines {}
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let json = json(&out.join("throughput.json"));
    assert_eq!(json["throughput"]["interrupted"], true);
}
