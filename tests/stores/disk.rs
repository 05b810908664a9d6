//! A file: what survives what, and what becomes of a file that can't be used.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use refrain::store::{Disk, DiskError, ExternalStore, Opened, Write};
use tempfile::TempDir;

use crate::contract::contract;
use crate::servers::{get, key, later, millis, put, wait};

const TTL: Duration = Duration::from_secs(600);

fn open(path: &Path) -> (Disk, Opened) {
    Disk::open(path).unwrap()
}

fn remove(store: &Disk, number: u32) {
    let key = key(number);
    store
        .write(&[Write::Remove { key: &key }], later())
        .unwrap();
}

#[test]
fn keeps_the_contract() {
    let directory = TempDir::new().unwrap();
    let (store, opened) = open(&directory.path().join("sessions"));
    assert_eq!(opened, Opened::New);
    contract(&store, millis(200));
}

#[test]
fn an_orderly_end_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let (store, _) = open(&path);
    for number in 0..100 {
        put(&store, &key(number), &number.to_be_bytes());
    }
    assert!(store.take(&key(0), later()).unwrap().is_some());
    remove(&store, 1);
    assert!(store.claim(&key(500), TTL, later()).unwrap());
    assert_eq!(store.increment(&key(600), later()).unwrap(), 1);
    drop(store);
    let (store, opened) = open(&path);
    assert_eq!(opened, Opened::Kept { records: 99 });
    assert_eq!(store.opened(), opened);
    assert_eq!(get(&store, &key(0)), None);
    assert_eq!(get(&store, &key(1)), None);
    for number in 2..100 {
        assert_eq!(get(&store, &key(number)).unwrap(), number.to_be_bytes());
    }
    assert!(!store.claim(&key(500), TTL, later()).unwrap());
    assert_eq!(store.counter(&key(600), later()).unwrap(), 1);
}

#[test]
fn one_at_a_time() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let (store, _) = open(&path);
    put(&store, &key(1), b"one");
    let second = Disk::open(&path);
    assert!(matches!(second, Err(DiskError::InUse)), "{second:?}");
    assert_eq!(get(&store, &key(1)).unwrap(), b"one");
    drop(store);
    assert_eq!(open(&path).1, Opened::Kept { records: 1 });
}

/// The environment variable by which this program, run once more, knows that it is to be the one that dies.
const VICTIM: &str = "REFRAIN_DISK_VICTIM";

/// Not a test: what the other process does.
#[test]
#[ignore = "the other process of the tests below"]
fn victim() {
    let path = std::env::var_os(VICTIM).expect("a path in the environment");
    let (store, _) = open(Path::new(&path));
    for number in 0..100 {
        put(&store, &key(number), b"first");
    }
    // Written through, all of it.
    std::thread::sleep(millis(1100));
    put(&store, &key(100), b"first");
    for number in 0..40 {
        match number % 4 {
            0 => drop(store.take(&key(number), later()).unwrap().unwrap()),
            1 => remove(&store, number),
            2 => put(&store, &key(number), b"second"),
            _ => assert!(store.claim(&key(1000 + number), TTL, later()).unwrap()),
        }
    }
    store.increment(&key(2000), later()).unwrap();
    // And after it was written through once more.
    for number in 40..80 {
        match number % 4 {
            0 => drop(store.take(&key(number), later()).unwrap().unwrap()),
            1 => remove(&store, number),
            2 => put(&store, &key(number), b"second"),
            _ => assert!(store.claim(&key(1000 + number), TTL, later()).unwrap()),
        }
    }
    // No destructor runs.
    std::process::abort();
}

/// Not a test: a process that writes, asks as the worker does while there is nothing to write, and dies.
#[test]
#[ignore = "the other process of the tests below"]
fn quiet_victim() {
    let path = std::env::var_os(VICTIM).expect("a path in the environment");
    let (store, _) = open(Path::new(&path));
    put(&store, &key(1), b"last");
    std::thread::sleep(millis(1100));
    store.counter(&key(2000), later()).unwrap();
    std::process::abort();
}

fn crash(path: &Path, victim: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", victim, "--ignored", "--nocapture"])
        .env(VICTIM, path)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
}

/// Only where the run of the machine has a name can the journal be believed.
fn boot_is_known() -> bool {
    Path::new("/proc/sys/kernel/random/boot_id").exists()
}

#[test]
fn a_dead_process_hands_nothing_out_twice() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    crash(&path, "disk::victim");
    let (store, opened) = open(&path);
    if !boot_is_known() {
        assert!(matches!(opened, Opened::Emptied { .. }), "{opened:?}");
        return;
    }
    assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
    for number in 0..80 {
        let record = get(&store, &key(number));
        match number % 4 {
            0 | 1 => assert_eq!(record, None, "{number}"),
            // Written through or lost, but never the one before.
            2 => assert_ne!(record.as_deref(), Some(&b"first"[..]), "{number}"),
            _ => {
                assert_eq!(record.unwrap(), b"first", "{number}");
                let again = store.claim(&key(1000 + number), TTL, later());
                assert!(!again.unwrap(), "{number}");
            }
        }
    }
    for number in 80..=100 {
        assert_eq!(get(&store, &key(number)).unwrap(), b"first", "{number}");
    }
    assert_eq!(store.counter(&key(2000), later()).unwrap(), 1);
    drop(store);
    assert!(matches!(open(&path).1, Opened::Kept { .. }));
}

/// Nothing more is written after the last session, for as long as nobody comes.
#[test]
fn the_last_sessions_of_a_quiet_process_outlive_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    crash(&path, "disk::quiet_victim");
    let (store, opened) = open(&path);
    if !boot_is_known() {
        assert!(matches!(opened, Opened::Emptied { .. }), "{opened:?}");
        return;
    }
    assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
    assert_eq!(get(&store, &key(1)).unwrap(), b"last");
}

/// The same file, as another run of the machine finds it: the end of the journal may be missing, so nothing is believed.
#[test]
fn after_a_dead_machine_it_is_empty() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    crash(&path, "disk::victim");
    // What names the run of the machine stands in the file. Another name of the same length would be torn by the checksums,
    // so it is written by redb itself.
    {
        let state: redb::TableDefinition<'_, &str, &str> = redb::TableDefinition::new("refrain");
        let database = redb::Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        write
            .open_table(state)
            .unwrap()
            .insert("open", "another run")
            .unwrap();
        write.commit().unwrap();
    }
    let (store, opened) = open(&path);
    assert!(
        matches!(opened, Opened::Emptied { aside: None, .. }),
        "{opened:?}"
    );
    for number in 0..=100 {
        assert_eq!(get(&store, &key(number)), None);
    }
    put(&store, &key(1), b"one");
    drop(store);
    assert_eq!(open(&path).1, Opened::Kept { records: 1 });
}

#[test]
fn a_foreign_file_is_set_aside() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let aside = directory.path().join("sessions.bad");
    for foreign in [
        &b"x"[..],
        b"-----BEGIN PRIVATE KEY-----\n",
        &[0; 1000],
        &[0xff; 1 << 20],
    ] {
        fs::write(&path, foreign).unwrap();
        let (store, opened) = open(&path);
        match opened {
            Opened::Emptied { aside: there, .. } => assert_eq!(there.unwrap(), aside),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read(&aside).unwrap(), foreign);
        put(&store, &key(1), b"one");
        assert_eq!(get(&store, &key(1)).unwrap(), b"one");
        drop(store);
        assert_eq!(open(&path).1, Opened::Kept { records: 1 });
    }
    // A database of somebody else's.
    fs::remove_file(&path).unwrap();
    {
        let theirs: redb::TableDefinition<'_, u32, u32> = redb::TableDefinition::new("theirs");
        let database = redb::Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(theirs).unwrap().insert(1, 2).unwrap();
        write.commit().unwrap();
    }
    let (_, opened) = open(&path);
    assert!(
        matches!(opened, Opened::Emptied { aside: Some(_), .. }),
        "{opened:?}"
    );
}

/// Cut off anywhere, or with any byte changed, a file is either as it was or set aside; what comes out of it is what went in.
#[test]
fn a_torn_file_never_stops_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let (store, _) = open(&path);
    for number in 0..200 {
        put(&store, &key(number), &[number as u8; 200]);
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % below
    };
    let (mut kept, mut emptied) = (0, 0);
    for round in 0..120 {
        let mut torn = whole.clone();
        match round % 3 {
            0 => torn.truncate(next(whole.len()).max(1)),
            1 => {
                let at = next(whole.len());
                torn[at] ^= 1 << next(8);
            }
            _ => {
                // A page that was never written.
                let at = next(whole.len() / 4096) * 4096;
                torn[at..at + 4096].fill(0);
            }
        }
        fs::write(&path, &torn).unwrap();
        let (store, opened) = open(&path);
        match opened {
            Opened::Kept { .. } | Opened::Recovered { .. } => {
                kept += 1;
                for number in 0..200 {
                    assert_eq!(get(&store, &key(number)).unwrap(), [number as u8; 200]);
                }
            }
            Opened::Emptied { .. } => {
                emptied += 1;
                assert_eq!(get(&store, &key(1)), None);
            }
            other => panic!("{other:?}"),
        }
        put(&store, &key(1), b"goes on");
    }
    assert!(kept > 0 && emptied > 0, "{kept} kept, {emptied} emptied");
}

#[test]
fn a_path_that_can_not_be_is_an_error() {
    let directory = TempDir::new().unwrap();
    for path in [directory.path(), &directory.path().join("no/such")] {
        let error = Disk::open(path).unwrap_err();
        assert!(matches!(error, DiskError::Io(_)), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let (_store, _) = open(&directory.path().join("sessions"));
    for name in ["sessions", "sessions.taken"] {
        let file = fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

/// What has expired makes room, a few with each write.
#[test]
fn the_expired_are_removed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let (store, _) = open(&path);
    let keys: Vec<_> = (0..1000).map(key).collect();
    let batch: Vec<_> = keys
        .iter()
        .map(|key| Write::Put {
            key,
            record: b"brief",
            ttl: millis(1),
        })
        .collect();
    store.write(&batch, later()).unwrap();
    put(&store, &key(5000), b"long");
    std::thread::sleep(millis(20));
    for _ in 0..4 {
        store.probe(later()).unwrap();
    }
    drop(store);
    assert_eq!(open(&path).1, Opened::Kept { records: 1 });
}

/// Not a test: what the other process does until it is killed. It writes down each record that it takes.
#[test]
#[ignore = "the other process of the test below"]
fn endless() {
    let path = std::env::var_os(VICTIM).expect("a path in the environment");
    let path = Path::new(&path);
    let (store, _) = open(path);
    let mut log = fs::OpenOptions::new();
    let log = log
        .create(true)
        .append(true)
        .open(path.with_extension("log"));
    let log = log.unwrap();
    // No two runs write the same record.
    let run = u64::from(std::process::id()) << 32;
    let last = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    // Old ones and new ones; and names that are used again and again.
                    let last = last.load(Ordering::Relaxed);
                    let names = [last, last / 2, last / 3, last.saturating_sub(7)];
                    for number in names.map(|name| 1000 + name).into_iter().chain(0..20) {
                        if let Some(record) = store.take(&key(number), later()).unwrap() {
                            (&log).write_all(&record).unwrap();
                        }
                    }
                }
            });
        }
        for version in 0.. {
            let record = run + 2 * u64::from(version);
            put(&store, &key(1000 + version), &record.to_be_bytes());
            put(&store, &key(version % 30), &(record + 1).to_be_bytes());
            last.store(version, Ordering::Relaxed);
        }
    });
}

/// Killed at any moment, with takers and a writer at work: what was handed out does not come back.
#[test]
fn whenever_it_dies_nothing_comes_back() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let mut found = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::endless", "--ignored"])
            .env(VICTIM, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It writes through once a second.
        let log = path.with_extension("log");
        let before = fs::metadata(&log).map_or(0, |log| log.len());
        wait("a take", || {
            fs::metadata(&log).is_ok_and(|log| log.len() > before)
        });
        std::thread::sleep(millis(900 + 97 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, opened) = open(&path);
        if !boot_is_known() {
            return;
        }
        assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
        let taken: HashSet<Vec<u8>> = fs::read(path.with_extension("log"))
            .unwrap()
            .chunks_exact(8)
            .map(<[u8]>::to_vec)
            .collect();
        println!("round {round}: {} taken, {found} found so far", taken.len());
        for number in (0..30).chain(1000..5000) {
            if let Some(record) = get(&store, &key(number)) {
                found += 1;
                assert!(!taken.contains(&record), "round {round}: {record:?}");
            }
        }
    }
    assert!(found > 0, "nothing ever survived");
}

/// Not a test: what the other process does, whose files may not grow beyond a limit.
#[test]
#[ignore = "the other process of the test below"]
fn confined() {
    let path = std::env::var_os(VICTIM).expect("a path in the environment");
    let path = Path::new(&path);
    let (store, opened) = open(path);
    println!("opened: {opened:?}");
    put(&store, &key(1), b"small");
    let mut refused = false;
    for number in 0..100 {
        let key = key(number);
        let put = Write::Put {
            key: &key,
            record: &[7; 20_000],
            ttl: TTL,
        };
        // From time to time, as the worker does.
        if number % 10 == 0 {
            std::thread::sleep(millis(110));
        }
        if store.write(&[put], later()).is_err() {
            refused = true;
            break;
        }
    }
    println!("refused: {refused}");
    if refused {
        // Reads and takes go on or are refused; nothing panics.
        let _ = store.take(&key(1), later());
        let _ = store.get(&key(2), later());
        let _ = store.claim(&key(3), TTL, later());
        store.probe(later()).unwrap();
        println!("then: {:?}", store.opened());
    }
    put(&store, &key(1), b"goes on");
    assert_eq!(get(&store, &key(1)).unwrap(), b"goes on");
    assert!(store.take(&key(1), later()).unwrap().is_some());
    assert_eq!(store.take(&key(1), later()).unwrap(), None);
    println!("lived");
}

/// What it says when no file may grow beyond so many blocks of 512 bytes, as on a full disk.
#[cfg(unix)]
fn confine(path: &Path, blocks: u32) -> String {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "disk::confined", "--ignored", "--nocapture"])
        .env(VICTIM, path)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("lived"), "{said}");
    said
}

#[cfg(unix)]
#[test]
fn a_full_disk_never_stops_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    // No room for a file at all.
    let said = confine(&path, 8);
    assert!(said.contains("opened: InMemory"), "{said}");
    assert!(!path.exists(), "a file that will not be written");
    // Room for a beginning.
    let said = confine(&path, 512);
    assert!(said.contains("opened: New"), "{said}");
    assert!(said.contains("refused: true"), "{said}");
    // And without a limit, whatever was left is taken up or set aside.
    let (store, _) = open(&path);
    put(&store, &key(1), b"one");
    for number in 0..200 {
        put(&store, &key(number), &[7; 20_000]);
    }
    drop(store);
    // A file that is longer than it may be: whether it can be used or not, the server starts.
    confine(&path, 512);
    confine(&path, 8);
}
