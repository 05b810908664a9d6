//! The load: one worker's steps, each an operation on the cache or a few.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use refrain::{Added, Context, Session, SessionCache};

use crate::latency::Latencies;
use crate::payload::{Kind, Label, Random};
use crate::reference::{CACHED, CONTEXTS, REFUSED, Reference, Sought};

/// Handles that a worker keeps, of sessions that may leave meanwhile.
pub(crate) const KEPT: usize = 16;

/// What the workers have in common.
pub(crate) struct Load {
    pub(crate) cache: SessionCache,
    pub(crate) contexts: [Context; CONTEXTS],
    pub(crate) reference: Arc<Reference>,
    /// Tickets that clients have: a context, and a serial and one. Whoever looks here leaves them, so they are replayed.
    pub(crate) shelf: Box<[AtomicU64]>,
    /// The cache's timeout.
    pub(crate) timeout: Duration,
    /// For each worker, the steps that it has ended.
    pub(crate) steps: Box<[AtomicU64]>,
    /// For each worker, the operations that it has tried.
    pub(crate) operations: Box<[AtomicU64]>,
}

/// One thread of the load.
pub(crate) struct Worker<'a> {
    pub(crate) load: &'a Load,
    place: usize,
    pub(crate) random: Random,
    pub(crate) kept: Vec<Session>,
    bytes: Vec<u8>,
    pub(crate) operations: u64,
    pub(crate) lookups: Latencies,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(load: &'a Load, place: usize) -> Self {
        let round = u64::from(load.reference.round());
        Self {
            load,
            place,
            random: Random::new(load.reference.seed ^ round << 32 ^ (place as u64) << 16),
            kept: Vec::new(),
            bytes: Vec::new(),
            operations: 0,
            lookups: Latencies::default(),
        }
    }

    /// Works until the round is over. Returns how long look-ups took.
    pub(crate) fn work(mut self) -> Latencies {
        let before = self.load.operations[self.place].load(Ordering::Relaxed);
        while !self.load.reference.is_over() {
            self.step();
            self.load.operations[self.place].store(before + self.operations, Ordering::Relaxed);
            self.load.steps[self.place].fetch_add(1, Ordering::AcqRel);
        }
        // Handles that have outlived their sessions still show their bytes.
        for session in &self.kept {
            self.load.reference.read(session);
        }
        self.lookups
    }

    fn step(&mut self) {
        match self.random.below(100_000) {
            0..15_000 => self.visit_again(),
            15_000..30_000 => self.visit_once(),
            30_000..50_000 => self.look_for_client(),
            50_000..65_000 => self.look_for_ticket(),
            65_000..77_000 => self.add_ticket(),
            77_000..87_000 => self.take_ticket(),
            87_000..91_000 => self.add_client(),
            91_000..94_000 => self.look_astray(),
            94_000..96_000 => self.remove_ticket(),
            96_000..99_000 => self.use_kept(),
            99_000..99_500 => self.remove_unadded(),
            99_500..99_800 => self.visit_external(),
            99_800..99_820 => self.flood(),
            99_820..99_840 => self.flood_astray(),
            99_840..99_860 => self.maintain(),
            99_860..99_870 => self.sweep(),
            _ => self.look_for_client(),
        }
    }

    /// Times a look-up.
    pub(crate) fn timed<R>(&mut self, look: impl FnOnce() -> R) -> R {
        self.operations += 1;
        let begun = Instant::now();
        let result = look();
        self.lookups.record(begun.elapsed());
        result
    }

    /// A client's number.
    pub(crate) fn any_client(&mut self) -> u64 {
        self.random.below(self.load.reference.clients())
    }

    /// Whether only this worker stores the client's sessions, so that their serials follow each other.
    pub(crate) fn owns(&self, client: u64) -> bool {
        client % self.load.steps.len() as u64 == self.place as u64
    }

    /// A ticket that was on the shelf.
    pub(crate) fn any_ticket(&mut self) -> Option<Sought> {
        let place = self.random.below(self.load.shelf.len() as u64) as usize;
        let ticket = self.load.shelf[place].load(Ordering::Acquire);
        let serial = (ticket as u32).checked_sub(1)?;
        let reference = &self.load.reference;
        let context = (ticket >> 32) as usize;
        Some(reference.seek(Kind::Ticket, reference.ticket(serial), context))
    }

    /// A client has got this ticket.
    pub(crate) fn shelve(&mut self, label: &Label) {
        let place = self.random.below(self.load.shelf.len() as u64) as usize;
        let ticket = (label.context as u64) << 32 | u64::from(label.serial + 1);
        self.load.shelf[place].store(ticket, Ordering::Release);
    }

    /// Writes the bytes of a new session and says what stands in them. Behind the reading of its generation.
    pub(crate) fn label(
        &mut self,
        kind: Kind,
        client: u64,
        context: usize,
        life: Duration,
    ) -> Option<(Label, &[u8])> {
        let load = self.load;
        let serial = load.reference.next_serial(kind)?;
        let number = match kind {
            Kind::Client => client,
            _ => load.reference.ticket(serial),
        };
        let label = Label {
            kind,
            context,
            epoch: load.reference.epoch(context),
            number,
            round: load.reference.round(),
            serial,
            born: load.reference.now().as_millis(),
            life: (refrain::Time::ZERO + life).as_millis(),
        };
        label.write(self.random.length(), &mut self.bytes);
        Some((label, &self.bytes))
    }

    /// A new session, one of eight with a short timeout of its own.
    fn build(&mut self, kind: Kind, client: u64, context: usize) -> Option<(Label, Session)> {
        let load = self.load;
        let own = self
            .random
            .one_in(8)
            .then(|| Duration::from_millis(1 + self.random.below(100)).min(load.timeout));
        let generation = load.contexts[context].generation();
        let (label, bytes) = self.label(kind, client, context, own.unwrap_or(load.timeout))?;
        let id = load.reference.id(kind, label.number);
        let mut builder = Session::builder(&load.contexts[context], id).generation(generation);
        if let Some(own) = own {
            builder = builder.timeout(own);
        }
        match builder.build(bytes) {
            Ok(session) => Some((label, session)),
            Err(error) => {
                let reference = &load.reference;
                reference
                    .faults
                    .note("a session could not be built", || error.to_string());
                None
            }
        }
    }

    /// Adds a session, and notes what the cache says. True if it is there.
    pub(crate) fn add(&mut self, label: &Label, session: Session) -> bool {
        self.operations += 1;
        let reference = &self.load.reference;
        let witness = self.random.one_in(64).then(|| session.clone());
        let added = self.load.cache.add(session);
        let now = reference.tell_time(&self.load.cache).as_millis();
        match added {
            Added::Inserted | Added::Replaced => {
                reference.mark(label.serial, CACHED);
                reference.stored(label);
                if label.kind == Kind::Ticket && added == Added::Replaced {
                    reference
                        .faults
                        .note("a session of an id of its own has replaced another", || {
                            format!("{label:?}")
                        });
                }
            }
            Added::NotCached(_) => {
                reference.told.refused.add(1);
                reference.mark(label.serial, REFUSED);
            }
            // Somebody has removed it while it was being added.
            Added::Removed => {}
            Added::AlreadyPresent => reference
                .faults
                .note("a new session was there already", || format!("{label:?}")),
        }
        if let Some(session) = witness.filter(|_| added.is_cached()) {
            let deadline = session.deadline().as_millis();
            // An add's time may be a millisecond behind.
            if deadline + 1 < label.born + label.life || deadline > now.saturating_add(label.life) {
                reference.faults.note(
                    "a deadline is not the timeout's distance from the add",
                    || format!("{deadline}, at most {now} + {}: {label:?}", label.life),
                );
            }
            if self.kept.len() < KEPT {
                self.kept.push(session);
            }
        }
        added.is_cached()
    }

    pub(crate) fn new_ticket(&mut self) -> Option<(Label, Session)> {
        let context = self.random.below(CONTEXTS as u64) as usize;
        self.build(Kind::Ticket, 0, context)
    }

    fn add_ticket(&mut self) {
        if let Some((label, session)) = self.new_ticket() {
            if self.add(&label, session) {
                self.shelve(&label);
            }
        }
    }

    fn add_client(&mut self) {
        let client = self.any_client();
        let own = client - client % self.load.steps.len() as u64 + self.place as u64;
        if own >= self.load.reference.clients() {
            return;
        }
        if let Some((label, session)) = self.build(Kind::Client, own, own as usize % CONTEXTS) {
            self.add(&label, session);
        }
    }

    /// By one of three ways.
    fn look(&mut self, sought: &Sought) {
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        let context = &contexts[sought.context];
        let id = reference.id(sought.kind, sought.number);
        let found = match self.random.below(4) {
            0 => {
                let found = self.timed(|| cache.get(context, &id));
                let read = found.map(|session| reference.found(sought, &session));
                read.is_some()
            }
            1 => self.timed(|| cache.contains(context, &id)),
            _ => {
                let read = |session: &Session| reference.found(sought, session);
                self.timed(|| cache.with(context, &id, read)).is_some()
            }
        };
        if !found {
            reference.missed(sought);
        }
    }

    fn look_for_client(&mut self) {
        let client = self.any_client();
        let context = client as usize % CONTEXTS;
        let sought = self.load.reference.seek(Kind::Client, client, context);
        self.look(&sought);
    }

    fn look_for_ticket(&mut self) {
        if let Some(sought) = self.any_ticket() {
            self.look(&sought);
        }
    }

    fn take_ticket(&mut self) {
        let Some(sought) = self.any_ticket() else {
            return;
        };
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        let id = reference.id(sought.kind, sought.number);
        let context = &contexts[sought.context];
        match self.timed(|| cache.take(context, &id)) {
            Some(session) => {
                if let Some(label) = reference.found(&sought, &session) {
                    reference.took(&label);
                }
            }
            None => reference.missed(&sought),
        }
    }

    fn remove_ticket(&mut self) {
        let Some(sought) = self.any_ticket() else {
            return;
        };
        self.operations += 1;
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        let id = reference.id(sought.kind, sought.number);
        if cache.remove(&contexts[sought.context], &id) {
            reference.removed_id(&sought);
        } else {
            reference.missed(&sought);
        }
    }

    /// Ids that nobody has, and sessions' ids in contexts that are not theirs: nothing may be found.
    pub(crate) fn look_astray(&mut self) {
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        let context = self.random.below(CONTEXTS as u64) as usize;
        let id = match self.any_ticket().filter(|_| self.random.one_in(2)) {
            Some(ticket) if ticket.context != context => reference.id(ticket.kind, ticket.number),
            _ => reference.id(Kind::Stranger, self.random.next()),
        };
        if self.timed(|| cache.contains(&contexts[context], &id)) {
            reference
                .faults
                .note("something was found where nothing was stored", || {
                    format!("context {context}")
                });
        }
    }
}
