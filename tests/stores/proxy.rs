//! A proxy that stands between a store and its server, and does to the answers what a bad network does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is passed on.
    Pass,
    /// It is passed on after so many milliseconds.
    Late(u64),
    /// It is lost.
    Lost,
    /// The connection is cut in its place.
    Cut,
    /// It is passed on byte by byte, one each millisecond.
    Trickle,
    /// Something else comes in its place.
    Garbage(&'static [u8]),
    /// It comes twice.
    Twice,
    /// The answer before comes once more, and this one never.
    Before,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Whether the questions of a connection are held back, for each there is or was.
    held: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
    mode: Arc<Mutex<Mode>>,
    over: Arc<AtomicBool>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.release();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            held: Arc::default(),
            mode: Arc::new(Mutex::new(Mode::Pass)),
            over: Arc::default(),
        };
        let (mode, over) = (proxy.mode.clone(), proxy.over.clone());
        let all_held = proxy.held.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server)))
                else {
                    continue;
                };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let held = Arc::new(AtomicBool::new(false));
                all_held.lock().unwrap().push(held.clone());
                thread::spawn(move || questions(from, to, &held));
                let mode = mode.clone();
                thread::spawn(move || answers(server, client, &mode));
            }
        });
        proxy
    }

    /// Holds back what comes on the connections that there are, even when they are given up. Later ones are not concerned.
    pub(crate) fn hold(&self) {
        self.hold_back(true);
    }

    /// Lets it through.
    pub(crate) fn release(&self) {
        self.hold_back(false);
    }

    fn hold_back(&self, held: bool) {
        for connection in &*self.held.lock().unwrap() {
            connection.store(held, Ordering::Relaxed);
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn questions(mut from: TcpStream, mut to: TcpStream, held: &AtomicBool) {
    let mut some = [0; 65536];
    while let Ok(read @ 1..) = from.read(&mut some) {
        while held.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        if to.write_all(&some[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn answers(mut from: TcpStream, mut to: TcpStream, mode: &Mutex<Mode>) {
    let mut before = Vec::new();
    let mut some = [0; 65536];
    while let Ok(read @ 1..) = from.read(&mut some) {
        let answer = &some[..read];
        let mode = *mode.lock().unwrap();
        let sent = match mode {
            Mode::Pass => to.write_all(answer),
            Mode::Late(millis) => {
                thread::sleep(Duration::from_millis(millis));
                to.write_all(answer)
            }
            Mode::Lost => Ok(()),
            Mode::Cut => break,
            Mode::Trickle => answer.iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(1));
                to.write_all(&[*byte])
            }),
            Mode::Garbage(garbage) => to.write_all(garbage),
            Mode::Twice => to.write_all(&[answer, answer].concat()),
            Mode::Before => to.write_all(&before),
        };
        if sent.is_err() {
            break;
        }
        before = answer.to_vec();
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
