//! One connection to memcached, in the meta protocol.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;

use crate::store::StoreError;
use crate::store::pool::{Failure, Link};
use crate::store::wire::{Place, Wire, broken, quoted};

/// The longest line of an answer: a key, and flags.
const LINE: usize = 2048;
/// The largest item of any memcached, 1 GiB by `-I`, is far more than a record; this is what is read at the most.
const ITEM: usize = 32 << 20;
/// So many requests are sent before the answers are read. memcached stops reading while it can't answer.
const TOGETHER: usize = 512;
/// And in TLS so many bytes, unless one request is longer: memcached (1.6.18) does not notice requests that it has already
/// decrypted, but not yet read, as it may with more than one record of TLS.
const TOGETHER_IN_TLS: usize = 8 << 10;

pub(super) struct Address {
    pub(super) place: Place,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// A command, up to where its flags begin to differ. Keys are already text.
pub(super) enum Request<'a> {
    /// The value, and its version.
    Get { key: &'a str },
    /// Stores, in any case or only where there is nothing.
    Set {
        key: &'a str,
        value: &'a [u8],
        seconds: u32,
        only_new: bool,
    },
    /// Removes, in any case or only this version.
    Delete { key: &'a str, version: Option<u64> },
    /// Adds one to a number, which begins as one.
    Increment { key: &'a str },
}

/// What memcached says to that.
#[derive(Debug)]
pub(super) enum Answer {
    /// Done.
    Done,
    /// Here it is.
    Value { value: Vec<u8>, version: u64 },
    /// There is nothing, or it is another version, or there is something already.
    Not,
}

pub(super) struct Connection {
    wire: Wire,
    /// What has arrived, and how much of it has been read.
    buffer: Vec<u8>,
    read: usize,
    /// How many bytes of requests go together.
    together: usize,
    /// The number of the last request. Nobody else counts from there.
    serial: u64,
}

impl Connection {
    /// Sends requests, in order, and returns an answer for each.
    ///
    /// Each carries a number that memcached repeats, so that an answer which is left from elsewhere is never taken for one
    /// of these.
    pub(super) fn exchange(
        &mut self,
        requests: &[Request<'_>],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Failure> {
        self.wire.until(deadline);
        let mut answers = Vec::with_capacity(requests.len());
        let mut refused = None;
        let mut requests = requests.iter().peekable();
        while requests.peek().is_some() {
            let first = self.serial.wrapping_add(1);
            let mut bytes = Vec::new();
            let mut count = 0;
            while let Some(request) = requests.peek() {
                let end = bytes.len();
                request.write(self.serial.wrapping_add(1), &mut bytes);
                if count > 0 && (count == TOGETHER || bytes.len() > self.together) {
                    bytes.truncate(end);
                    break;
                }
                self.serial = self.serial.wrapping_add(1);
                count += 1;
                requests.next();
            }
            self.send(&bytes).map_err(Failure::Spoilt)?;
            for offset in 0..count as u64 {
                match self.answer(first.wrapping_add(offset)) {
                    Ok(answer) => answers.push(answer),
                    Err(Failure::Sound(error)) => {
                        refused.get_or_insert(error);
                    }
                    Err(spoilt) => return Err(spoilt),
                }
            }
        }
        match refused {
            Some(error) => Err(Failure::Sound(error)),
            None => Ok(answers),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.wire.write_all(bytes).map_err(broken)?;
        self.wire.flush().map_err(broken)
    }

    fn answer(&mut self, serial: u64) -> Result<Answer, Failure> {
        let line = self.line().map_err(Failure::Spoilt)?;
        let (code, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match code {
            // Without a number; those of the next answers tell whether it was for this request. The item that was refused
            // has been read by the server.
            "SERVER_ERROR" => return Err(Failure::Sound(StoreError::Refused(quoted(rest)))),
            "CLIENT_ERROR" | "ERROR" => {
                return Err(Failure::Spoilt(StoreError::Protocol(quoted(&line))));
            }
            _ => {}
        }
        let spoilt = |what: &str| Failure::Spoilt(StoreError::Protocol(what.to_owned()));
        let size = match code {
            "VA" => Some(
                rest.split(' ')
                    .next()
                    .and_then(|size| size.parse::<usize>().ok())
                    .filter(|&size| size <= ITEM)
                    .ok_or_else(|| spoilt("a value without a length"))?,
            ),
            _ => None,
        };
        let flag = |name: char| {
            let mut flags = rest.split(' ').skip(usize::from(size.is_some()));
            flags.find_map(|flag| flag.strip_prefix(name))
        };
        let number = flag('O').and_then(|number| u64::from_str_radix(number, 16).ok());
        if number != Some(serial) {
            return Err(spoilt("an answer to something else"));
        }
        match (code, size) {
            ("VA", Some(size)) => {
                let version = flag('c').and_then(|version| version.parse().ok());
                let value = self.bytes(size).map_err(Failure::Spoilt)?;
                Ok(Answer::Value {
                    value,
                    version: version.ok_or_else(|| spoilt("a value without a version"))?,
                })
            }
            ("HD", None) => Ok(Answer::Done),
            ("EN" | "NF" | "NS" | "EX", None) => Ok(Answer::Not),
            _ => Err(spoilt("not the protocol of memcached")),
        }
    }

    fn line(&mut self) -> Result<String, StoreError> {
        let mut searched = self.read;
        loop {
            if let Some(end) = self.buffer[searched..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let line = &self.buffer[self.read..searched + end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = std::str::from_utf8(line)
                    .map_err(|_| StoreError::Protocol("not text".to_owned()))?
                    .to_owned();
                self.read = searched + end + 1;
                return Ok(line);
            }
            if self.buffer.len() - self.read > LINE {
                return Err(StoreError::Protocol("a line without an end".to_owned()));
            }
            searched = self.buffer.len();
            searched -= self.more()?;
        }
    }

    /// So many bytes, and the end of their line.
    fn bytes(&mut self, size: usize) -> Result<Vec<u8>, StoreError> {
        while self.buffer.len() - self.read < size + 2 {
            self.more()?;
        }
        let end = self.read + size;
        if self.buffer[end..end + 2] != *b"\r\n" {
            return Err(StoreError::Protocol("a value of another length".to_owned()));
        }
        let value = self.buffer[self.read..end].to_vec();
        self.read = end + 2;
        Ok(value)
    }

    /// Reads what there is. Returns how many bytes were dropped in front, by which all places are less.
    fn more(&mut self) -> Result<usize, StoreError> {
        let dropped = self.read;
        self.buffer.drain(..dropped);
        self.read = 0;
        let mut some = [0; 4096];
        match self.wire.read(&mut some).map_err(broken)? {
            0 => Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
            read => {
                self.buffer.extend_from_slice(&some[..read]);
                Ok(dropped)
            }
        }
    }
}

impl Request<'_> {
    fn write(&self, serial: u64, into: &mut Vec<u8>) {
        match *self {
            Self::Get { key } => {
                into.extend_from_slice(format!("mg {key} v c O{serial:x}\r\n").as_bytes());
            }
            Self::Set {
                key,
                value,
                seconds,
                only_new,
            } => {
                let mode = if only_new { "E" } else { "S" };
                let head = format!(
                    "ms {key} {} M{mode} T{seconds} O{serial:x}\r\n",
                    value.len()
                );
                into.extend_from_slice(head.as_bytes());
                into.extend_from_slice(value);
                into.extend_from_slice(b"\r\n");
            }
            Self::Delete { key, version } => {
                let version = version.map_or_else(String::new, |version| format!("C{version} "));
                into.extend_from_slice(format!("md {key} {version}O{serial:x}\r\n").as_bytes());
            }
            Self::Increment { key } => {
                into.extend_from_slice(format!("ma {key} N0 J1 D1 v c O{serial:x}\r\n").as_bytes());
            }
        }
    }
}

impl Link for Connection {
    type Address = Address;

    /// Connects, and sees that it is a memcached which knows the meta protocol and repeats numbers.
    fn connect(address: &Address, deadline: Instant) -> Result<Self, StoreError> {
        let mut serial = [0; 8];
        getrandom::fill(&mut serial)
            .map_err(|error| StoreError::Unavailable(format!("no randomness: {error}")))?;
        let mut connection = Self {
            wire: Wire::connect(&address.place, address.tls.as_ref(), deadline)?,
            buffer: Vec::new(),
            read: 0,
            together: match address.tls {
                Some(_) => TOGETHER_IN_TLS,
                None => usize::MAX,
            },
            serial: u64::from_ne_bytes(serial),
        };
        connection.ping(deadline)?;
        Ok(connection)
    }

    fn ping(&mut self, deadline: Instant) -> Result<(), Failure> {
        // No record has this name: theirs are longer.
        self.exchange(&[Request::Get { key: "?" }], deadline)
            .map(drop)
    }
}
