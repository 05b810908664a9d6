//! Whole connections, by [`Connection`]: TLS 1.2 clients that return, TLS 1.3 clients whose tickets work once.

use refrain::Connection;

use crate::callbacks::KNOWN_OUTSIDE;
use crate::mix::{Load, Worker};
use crate::payload::{Kind, Label};
use crate::reference::CONTEXTS;

/// One connection of so many breaks.
const BREAKS: u64 = 256;

impl Worker<'_> {
    /// A TLS 1.2 client is back: it resumes, or gets a full handshake and a session.
    pub(crate) fn visit_again(&mut self) {
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        let client = self.any_client();
        let context = client as usize % CONTEXTS;
        let mut connection = cache.accept(&contexts[context]);
        let sought = reference.seek(Kind::Client, client, context);
        let id = reference.id(Kind::Client, client);
        let found = self.timed(|| {
            let session = connection.resume(id)?;
            Some(reference.found(&sought, session))
        });
        if found.is_some() {
            connection.finish();
        } else if self.owns(client) {
            self.establish(&mut connection, Kind::Client, client, context);
        }
        self.end(connection);
    }

    /// A TLS 1.3 client comes with a ticket, which works if nobody was faster, and gets another.
    pub(crate) fn visit_once(&mut self) {
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        let Some(sought) = self.any_ticket() else {
            return;
        };
        let mut connection = cache.accept(&contexts[sought.context]);
        let id = reference.id(sought.kind, sought.number);
        let found = self.timed(|| {
            let session = connection.resume_once(id)?;
            Some(reference.found(&sought, session))
        });
        match found {
            None => reference.missed(&sought),
            // Its binder is wrong: somebody knows the id and nothing else.
            Some(_) if self.random.one_in(16) => connection.decline(),
            Some(label) => {
                self.operations += 1;
                if connection.claim() {
                    if let Some(label) = label {
                        reference.took(&label);
                    }
                }
            }
        }
        connection.finish();
        if let Some(label) = self.establish(&mut connection, Kind::Ticket, 0, sought.context) {
            self.shelve(&label);
        }
        self.end(connection);
    }

    /// A client comes with the ticket of another server, which the external store may have.
    pub(crate) fn visit_external(&mut self) {
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        let number = self.random.below(2 * KNOWN_OUTSIDE);
        let context = number as usize % CONTEXTS;
        let mut connection = cache.accept(&contexts[context]);
        let sought = reference.seek(Kind::External, number, context);
        let id = reference.id(Kind::External, number);
        let found = self.timed(|| {
            let session = connection.resume_once(id)?;
            Some(reference.found(&sought, session))
        });
        let wrong = |what| reference.faults.note(what, || format!("{sought:?}"));
        if found.is_some() && (number % 2 == 1 || number >= KNOWN_OUTSIDE) {
            wrong("a session of the get callback was not refused");
        }
        if found.is_some() && !connection.claim() {
            wrong("a session of the get callback, for single use, was not the connection's");
        }
        self.end(connection);
    }

    /// The connection gets a session. Its label, if it is stored somewhere.
    ///
    /// A new callback may have said that it has the session, whether or not the cache kept it: so nothing is noted as
    /// being in the cache.
    fn establish(
        &mut self,
        connection: &mut Connection,
        kind: Kind,
        client: u64,
        context: usize,
    ) -> Option<Label> {
        let Load {
            reference, timeout, ..
        } = self.load;
        self.operations += 1;
        let (label, bytes) = self.label(kind, client, context, *timeout)?;
        let id = reference.id(kind, label.number);
        match connection.session_builder(id).build(bytes) {
            Ok(session) => connection.establish(session).then_some(label),
            Err(error) => {
                let what = "a session could not be built";
                reference.faults.note(what, || error.to_string());
                None
            }
        }
    }

    /// Closes the connection, or breaks it in one of two ways.
    fn end(&mut self, mut connection: Connection) {
        self.operations += 1;
        if !self.random.one_in(BREAKS) {
            connection.close();
            return;
        }
        self.load.reference.told.broken.add(1);
        if self.random.one_in(2) {
            connection.fail();
        }
    }
}
