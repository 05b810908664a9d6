//! One connection to a Redis server: it logs in, and has exchanges that can't be taken for one another.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use ::redis::{Cmd, ErrorKind, Parser, RedisError, ServerError, ServerErrorKind, Value, cmd};
use rustls::ClientConfig;

use crate::store::StoreError;
use crate::store::pool::{Failure, Link};
use crate::store::wire::{Place, Wire, broken, quoted};

/// Where a server is, and as whom to speak to it.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) login: Login,
    /// Whether the server must say that it is a master.
    pub(super) master: bool,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.place)
    }
}

/// A user and a database. Nobody, and the first one, by default.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

/// A connection that is logged in.
pub(super) struct Connection {
    wire: Wire,
    parser: Parser,
    /// The number of the last exchange. Nobody else counts from there.
    serial: u64,
}

impl Connection {
    /// Sends commands together and returns an answer for each. An error of the server's is an answer, too.
    ///
    /// Behind the commands goes a PING with a number, and only if its answer comes last, and with this number, are the
    /// others believed: so an answer that is left from elsewhere is never taken for one of these.
    pub(super) fn exchange(
        &mut self,
        commands: &[Cmd],
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        self.talk(commands, deadline).map_err(Failure::Spoilt)
    }

    fn talk(&mut self, commands: &[Cmd], deadline: Instant) -> Result<Vec<Value>, StoreError> {
        self.serial = self.serial.wrapping_add(1);
        let number = format!("{:016x}", self.serial);
        let mut bytes = Vec::new();
        for command in commands {
            command.write_packed_command(&mut bytes);
        }
        cmd("PING").arg(&number).write_packed_command(&mut bytes);
        self.wire.until(deadline);
        self.wire.write_all(&bytes).map_err(broken)?;
        self.wire.flush().map_err(broken)?;
        let mut answers = Vec::with_capacity(commands.len());
        for _ in commands {
            answers.push(self.answer()?);
        }
        match self.answer()? {
            Value::BulkString(last) if last == number.as_bytes() => Ok(answers),
            // Not logged in, or still loading: then the PING is refused as everything is.
            Value::ServerError(error) => Err(refusal(&error)),
            _ => Err(nonsense("an answer to something else")),
        }
    }

    fn answer(&mut self) -> Result<Value, StoreError> {
        let mut heard = Heard {
            wire: &mut self.wire,
            error: None,
        };
        let parsed = self.parser.parse_value(&mut heard);
        match (parsed, heard.error.take()) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(error)) => Err(broken(error)),
            (Err(error), None) => Err(garbled(&error)),
        }
    }
}

impl Link for Connection {
    type Address = Address;

    fn connect(address: &Address, deadline: Instant) -> Result<Self, StoreError> {
        let mut serial = [0; 8];
        getrandom::fill(&mut serial)
            .map_err(|error| StoreError::Unavailable(format!("no randomness: {error}")))?;
        let mut connection = Self {
            wire: Wire::connect(&address.place, address.tls.as_ref(), deadline)?,
            parser: Parser::new(),
            serial: u64::from_ne_bytes(serial),
        };
        let mut greeting = Vec::new();
        if let Some(password) = &address.login.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = &address.login.user {
                auth.arg(user);
            }
            auth.arg(password);
            greeting.push(auth);
        }
        if address.login.database != 0 {
            greeting.push(cmd("SELECT").arg(address.login.database).take());
        }
        for answer in connection.talk(&greeting, deadline)? {
            if let Value::ServerError(error) = answer {
                return Err(refusal(&error));
            }
        }
        if address.master {
            let role = connection.talk(&[cmd("ROLE")], deadline)?;
            match role.first() {
                Some(Value::Array(role)) if text(role.first()) == Some("master") => {}
                Some(Value::Array(_)) => {
                    return Err(StoreError::Unavailable("not a master".to_owned()));
                }
                Some(Value::ServerError(error)) => return Err(refusal(error)),
                _ => return Err(nonsense("no role")),
            }
        }
        Ok(connection)
    }

    fn ping(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.exchange(&[], deadline).map(drop)
    }
}

/// Keeps what went wrong while the parser read, which the parser tells in words of its own.
struct Heard<'a> {
    wire: &'a mut Wire,
    error: Option<std::io::Error>,
}

impl Read for Heard<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.wire.read(into) {
            Ok(0) if !into.is_empty() => {
                self.error = Some(std::io::ErrorKind::UnexpectedEof.into());
                Ok(0)
            }
            Ok(read) => Ok(read),
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// What the server meant when it refused.
pub(super) fn refusal(error: &ServerError) -> StoreError {
    use ServerErrorKind as Kind;
    let why = match error.details() {
        Some(details) => quoted(&format!("{} {details}", error.code())),
        None => quoted(error.code()),
    };
    match error.kind() {
        // It can't now, and may later.
        Some(
            Kind::BusyLoading
            | Kind::TryAgain
            | Kind::ClusterDown
            | Kind::MasterDown
            | Kind::Moved
            | Kind::Ask,
        ) => StoreError::Unavailable(why),
        _ => StoreError::Refused(why),
    }
}

/// An answer that no server gives to what was asked.
pub(super) fn nonsense(what: &str) -> StoreError {
    StoreError::Protocol(what.to_owned())
}

fn garbled(error: &RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::Io => StoreError::Unavailable("the connection was closed".to_owned()),
        _ => nonsense("not the protocol of Redis"),
    }
}

/// A string, however the server wraps it.
pub(super) fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::Okay => Some("OK"),
        _ => None,
    }
}
