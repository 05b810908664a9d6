//! The third witness of the interop matrix: a relay between a client and a server that writes down what went over the
//! wire, in clear, in each handshake. So the matrix knows that a session was really offered, and which.
//!
//! ```text
//! wire LOG NAME=SERVER[+MILLISECONDS]...
//! ```
//!
//! It listens on loopback for each SERVER, an address such as 127.0.0.1:8443, prints the ports on one line, in that
//! order, and serves until its standard input ends. A ClientHello that offers a session is held for the MILLISECONDS:
//! the session expires on its way to the server, and no client decides by itself that it is too old to be offered.
//!
//! Each handshake adds one line to LOG, before the client can know how it ended:
//!
//! ```text
//! NAME VERSION SERVER-NAME OFFERED ANSWER
//! ```
//!
//! VERSION is 1.2 or 1.3, as the server chose it. OFFERED is the session id or, of a client that speaks TLS 1.3, the
//! first pre-shared key's identity, in hexadecimal. ANSWER is `resumed`, `full`, or `refused` if no ServerHello came.
//! What is not there is `-`. This needs Rust's standard library only.

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[path = "../../examples/accept_loop/reader.rs"]
mod reader;

use reader::Reader;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const SERVER_NAME: u16 = 0;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS13: [u8; 2] = [3, 4];
/// The SHA-256 of "HelloRetryRequest" (RFC 8446, 4.1.3): the `random` of a ServerHello that is none yet.
const RETRY: [u8; 4] = [0xCF, 0x21, 0xAD, 0x74];

/// A server behind the relay.
struct Server {
    name: String,
    address: SocketAddr,
    /// How long a hello that offers a session is on its way.
    hold: Duration,
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let log = arguments.next().ok_or_else(|| wrong("no LOG"))?;
    let log = Arc::new(Mutex::new(File::create(log)?));
    let mut ports = Vec::new();
    for argument in arguments {
        let server = Arc::new(Server::parse(&argument).ok_or_else(|| wrong(&argument))?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        ports.push(listener.local_addr()?.port().to_string());
        let log = Arc::clone(&log);
        thread::spawn(move || accept(&listener, &server, &log));
    }
    println!("{}", ports.join(" "));
    // Whoever holds the other end has gone when it ends.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn wrong(argument: &str) -> io::Error {
    let what = format!("usage: wire LOG NAME=SERVER[+MILLISECONDS]..., not {argument:?}");
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl Server {
    fn parse(argument: &str) -> Option<Self> {
        let (name, server) = argument.split_once('=')?;
        let (address, hold) = server.split_once('+').unwrap_or((server, "0"));
        Some(Self {
            name: name.to_owned(),
            address: address.parse().ok()?,
            hold: Duration::from_millis(hold.parse().ok()?),
        })
    }
}

fn accept(listener: &TcpListener, server: &Arc<Server>, log: &Arc<Mutex<File>>) {
    for client in listener.incoming() {
        let (server, log) = (Arc::clone(server), Arc::clone(log));
        thread::spawn(move || {
            // A connection that breaks is its client's to complain about.
            let _ = relay(client?, &server, |line| {
                let mut log = log.lock().expect("nobody panics while writing a line");
                writeln!(log, "{} {line}", server.name).expect("the log can be written");
            });
            io::Result::Ok(())
        });
    }
}

/// Carries one connection, and calls `note` with what its handshake was.
fn relay(mut client: TcpStream, server: &Server, note: impl FnOnce(String)) -> io::Result<()> {
    let first = read_record(&mut client)?;
    let offer = Offer::of(&first);
    if !offer.session.is_empty() {
        thread::sleep(server.hold);
    }
    let mut server = TcpStream::connect(server.address)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    server.write_all(&first)?;
    let up = {
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || carry(&mut from, &mut to))
    };
    let answered = loop {
        let answer = match read_record(&mut server) {
            Ok(answer) => answer,
            Err(error) => break Err(error),
        };
        match hello(&answer, SERVER_HELLO) {
            // Its ServerHello comes later, and so does another ClientHello, with the same offer.
            Some(hello) if hello.random.starts_with(&RETRY) => client.write_all(&answer)?,
            _ => break Ok(answer),
        }
    };
    let empty = Vec::new();
    note(offer.line(answered.as_ref().unwrap_or(&empty)));
    client.write_all(&answered?)?;
    carry(&mut server, &mut client);
    let _ = up.join();
    Ok(())
}

/// Copies until the end of the stream, and passes the end on.
fn carry(from: &mut TcpStream, to: &mut TcpStream) {
    // An error is an end, too.
    let _ = io::copy(from, to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Reads one whole record. Both hellos fit into their first.
fn read_record(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record)?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..])?;
    Ok(record)
}

/// What a ClientHello says of resumption.
struct Offer {
    name: Option<String>,
    /// The id of the session that is offered, or nothing.
    session: Vec<u8>,
}

impl Offer {
    fn of(record: &[u8]) -> Self {
        let hello = hello(record, CLIENT_HELLO);
        let extension = |kind| {
            hello
                .as_ref()
                .and_then(|hello| hello.extensions.extension(kind))
        };
        let name = extension(SERVER_NAME).and_then(|body| {
            let mut list = Reader(Reader(body).vector16()?);
            list.take(1)?;
            Some(String::from_utf8_lossy(list.vector16()?).into_owned())
        });
        let tls13 = extension(SUPPORTED_VERSIONS)
            .and_then(|body| Reader(body).vector8())
            .is_some_and(|versions| versions.chunks(2).any(|version| version == TLS13));
        let session = if tls13 {
            // The session id is noise then, for the sake of middleboxes.
            extension(PRE_SHARED_KEY).and_then(|body| Reader(Reader(body).vector16()?).vector16())
        } else {
            hello.map(|hello| hello.session_id)
        };
        Self {
            name,
            session: session.unwrap_or_default().to_vec(),
        }
    }

    /// The line of the log, given the server's answer.
    fn line(&self, answer: &[u8]) -> String {
        let (version, answer) = match hello(answer, SERVER_HELLO) {
            None => ("-", "refused"),
            Some(hello) if hello.extensions.extension(SUPPORTED_VERSIONS) == Some(&TLS13) => (
                "1.3",
                answer_of(hello.extensions.extension(PRE_SHARED_KEY).is_some()),
            ),
            Some(hello) => {
                let same = !self.session.is_empty() && hello.session_id == self.session;
                ("1.2", answer_of(same))
            }
        };
        let mut session = String::new();
        for byte in &self.session {
            write!(session, "{byte:02x}").expect("a string takes everything");
        }
        let name = self.name.as_deref().unwrap_or("-");
        let session = if session.is_empty() { "-" } else { &session };
        format!("{version} {name} {session} {answer}")
    }
}

fn answer_of(resumed: bool) -> &'static str {
    if resumed { "resumed" } else { "full" }
}

/// The parts of a hello of either side that matter here.
struct Hello<'a> {
    random: &'a [u8],
    session_id: &'a [u8],
    extensions: Reader<'a>,
}

/// Reads the hello in a record; `None` if there is none.
fn hello(record: &[u8], kind: u8) -> Option<Hello<'_>> {
    let mut record = Reader(record);
    if record.u8()? != HANDSHAKE {
        return None;
    }
    record.take(2)?;
    let mut message = Reader(record.vector16()?);
    if message.u8()? != kind {
        return None;
    }
    let mut body = Reader(message.vector24()?);
    body.take(2)?;
    let random = body.take(32)?;
    let session_id = body.vector8()?;
    if kind == CLIENT_HELLO {
        body.vector16()?;
        body.vector8()?;
    } else {
        body.take(2 + 1)?;
    }
    let extensions = Reader(body.vector16().unwrap_or_default());
    Some(Hello {
        random,
        session_id,
        extensions,
    })
}
