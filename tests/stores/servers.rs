//! Servers: started, killed, started again, and gone when the test ends, however it ends.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use refrain::store::{ExternalStore, Key, Memcached, Redis, StoreError, Write as Step};
use tempfile::TempDir;

/// A server in a process of its own, with a directory of its own.
pub(crate) struct Server {
    program: &'static str,
    arguments: Vec<String>,
    pub(crate) port: u16,
    pub(crate) directory: TempDir,
    child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    fn new(program: &'static str, port: u16, directory: TempDir, arguments: Vec<String>) -> Self {
        let mut server = Self {
            program,
            arguments,
            port,
            directory,
            child: None,
        };
        server.start();
        server
    }

    /// Starts it, on the same port as before, and waits until it listens.
    pub(crate) fn start(&mut self) {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let child = Command::new(self.program)
            .args(&self.arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        wait(self.program, || {
            if let Ok(Some(status)) = self.child.as_mut().unwrap().try_wait() {
                let log = fs::read_to_string(self.directory.path().join("log"));
                panic!("{} ended: {status}: {log:?}", self.program);
            }
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Kills it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What redis-cli prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Whether all of these programs are installed. If not, says so, past any capture.
pub(crate) fn installed(programs: &[&str]) -> bool {
    for program in programs {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
        });
        if !found {
            not_run(&format!("{program} is not installed"));
            return false;
        }
    }
    true
}

pub(crate) fn not_run(why: &str) {
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    // Not by `eprintln`, whose output is captured.
    let line = format!("NOT RUN: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Waits until it holds, for half a minute.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on, nor on the one that a node of a cluster has besides.
pub(crate) fn free_port() -> u16 {
    loop {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// A redis-server with these lines in its configuration, besides what all have. `None` if it is not installed.
pub(crate) fn redis(lines: &str) -> Option<Server> {
    let port = free_port();
    redis_on(port, &format!("port {port}\n{lines}"))
}

/// The same, with lines that say where it listens.
pub(crate) fn redis_on(port: u16, lines: &str) -> Option<Server> {
    if !installed(&["redis-server", "redis-cli"]) {
        return None;
    }
    let directory = TempDir::new().unwrap();
    let common = "bind 127.0.0.1\nsave \"\"\nappendonly no\ndaemonize no\n";
    let configuration = format!("{common}dir \"{}\"\n{lines}\n", directory.path().display());
    fs::write(directory.path().join("redis.conf"), configuration).unwrap();
    let arguments = vec!["redis.conf".to_owned()];
    Some(Server::new("redis-server", port, directory, arguments))
}

/// A sentinel with these lines. `None` if it is not installed.
pub(crate) fn sentinel(lines: &str) -> Option<Server> {
    if !installed(&["redis-sentinel", "redis-cli"]) {
        return None;
    }
    let port = free_port();
    let directory = TempDir::new().unwrap();
    let configuration = format!("bind 127.0.0.1\nport {port}\n{lines}\n");
    fs::write(directory.path().join("sentinel.conf"), configuration).unwrap();
    let arguments = vec!["sentinel.conf".to_owned()];
    Some(Server::new("redis-sentinel", port, directory, arguments))
}

/// A memcached with these arguments besides. `None` if it is not installed.
pub(crate) fn memcached(arguments: &[&str]) -> Option<Server> {
    if !installed(&["memcached"]) {
        return None;
    }
    let port = free_port();
    let mut all: Vec<String> = ["-l", "127.0.0.1", "-U", "0", "-p"]
        .map(str::to_owned)
        .to_vec();
    all.push(port.to_string());
    // It does not run as root unless it is told to. Elsewhere the option is ignored.
    all.extend(["-u".to_owned(), "root".to_owned()]);
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    let directory = TempDir::new().unwrap();
    Some(Server::new("memcached", port, directory, all))
}

/// The stores that are one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    Memcached,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Redis, Self::Memcached];

    pub(crate) fn server(self) -> Option<Server> {
        match self {
            Self::Redis => redis(""),
            Self::Memcached => memcached(&[]),
        }
    }

    /// A store at that port, not connected yet.
    pub(crate) fn store(self, port: u16, connections: usize) -> Box<dyn ExternalStore> {
        match self {
            Self::Redis => Box::new(
                Redis::at(&format!("redis://127.0.0.1:{port}"))
                    .unwrap()
                    .connections(connections)
                    .build()
                    .unwrap(),
            ),
            Self::Memcached => Box::new(
                Memcached::at(&format!("127.0.0.1:{port}"))
                    .unwrap()
                    .connections(connections)
                    .build()
                    .unwrap(),
            ),
        }
    }

    /// The same, connected.
    pub(crate) fn connected(self, port: u16, connections: usize) -> Box<dyn ExternalStore> {
        let store = self.store(port, connections);
        store.probe(later()).unwrap();
        store
    }
}

/// A deadline that matters to nobody.
pub(crate) fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A deadline as a handshake has it.
pub(crate) fn soon() -> Instant {
    Instant::now() + millis(20)
}

/// The key of number `n`.
pub(crate) fn key(n: u32) -> Key {
    let mut bytes = [0xa7; 48];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    Key::new(&bytes).unwrap()
}

pub(crate) fn put(store: &dyn ExternalStore, key: &Key, record: &[u8]) {
    let ttl = Duration::from_secs(60);
    let put = Step::Put { key, record, ttl };
    store.write(&[put], later()).unwrap();
}

pub(crate) fn get(store: &dyn ExternalStore, key: &Key) -> Option<Vec<u8>> {
    store.get(key, later()).unwrap()
}

pub(crate) fn unavailable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_))
}

pub(crate) fn timed_out(error: &StoreError) -> bool {
    matches!(error, StoreError::TimedOut)
}

pub(crate) fn refused(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(_))
}

/// Does it with a deadline of 20 ms. It must fail in the right way, and be back by then: in one of a few runs, since this
/// process or the server may be stopped at any moment, or the machine be busy.
pub(crate) fn fails_in_time<T: std::fmt::Debug>(
    right: impl Fn(&StoreError) -> bool,
    act: impl FnMut(Instant) -> Result<T, StoreError>,
) -> StoreError {
    fails_in_time_after(|| {}, right, act)
}

/// The same, each time after that.
pub(crate) fn fails_in_time_after<T: std::fmt::Debug>(
    mut before: impl FnMut(),
    right: impl Fn(&StoreError) -> bool,
    mut act: impl FnMut(Instant) -> Result<T, StoreError>,
) -> StoreError {
    let mut seen = Vec::new();
    for _ in 0..10 {
        before();
        let begin = Instant::now();
        let error = act(begin + millis(20)).unwrap_err();
        let time = begin.elapsed();
        if right(&error) && time < millis(23) {
            return error;
        }
        // Only that the time was over too soon may be the machine's fault.
        assert!(right(&error) || timed_out(&error), "{error:?}");
        seen.push((time, error));
    }
    panic!("never within the deadline: {seen:?}");
}
