//! A pair of ends in memory. What is written in one call is read by itself, as a datagram is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

#[derive(Debug, Default)]
struct Wire {
    messages: VecDeque<Vec<u8>>,
    full: bool,
}

#[derive(Debug)]
pub(crate) struct End {
    incoming: Rc<RefCell<Wire>>,
    outgoing: Rc<RefCell<Wire>>,
}

pub(crate) fn pair() -> (End, End) {
    let (a, b) = (Rc::<RefCell<Wire>>::default(), Rc::default());
    let one = End {
        incoming: Rc::clone(&a),
        outgoing: Rc::clone(&b),
    };
    let other = End {
        incoming: b,
        outgoing: a,
    };
    (one, other)
}

impl End {
    /// Nothing more can be written by this end until it is told otherwise.
    pub(crate) fn block_writes(&self, blocked: bool) {
        self.outgoing.borrow_mut().full = blocked;
    }

    /// What the other end would read as written here: for what no `SSL` would write.
    pub(crate) fn inject(&self, bytes: &[u8]) {
        self.outgoing
            .borrow_mut()
            .messages
            .push_back(bytes.to_vec());
    }

    /// An end in the place of the other one, with nothing under way.
    pub(crate) fn fresh_peer(&self) -> Self {
        for wire in [&self.incoming, &self.outgoing] {
            wire.borrow_mut().messages.clear();
        }
        Self {
            incoming: Rc::clone(&self.outgoing),
            outgoing: Rc::clone(&self.incoming),
        }
    }

    /// Whether there is something to read.
    pub(crate) fn has_input(&self) -> bool {
        !self.incoming.borrow().messages.is_empty()
    }
}

impl Read for End {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.incoming.borrow_mut();
        let Some(first) = wire.messages.front_mut() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let len = buf.len().min(first.len());
        buf[..len].copy_from_slice(&first[..len]);
        first.drain(..len);
        if first.is_empty() {
            wire.messages.pop_front();
        }
        Ok(len)
    }
}

impl Write for End {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut wire = self.outgoing.borrow_mut();
        if wire.full {
            return Err(ErrorKind::WouldBlock.into());
        }
        if !buf.is_empty() {
            wire.messages.push_back(buf.to_vec());
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
