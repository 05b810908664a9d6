//! What a connection and its cache are to be, by their documentation.

use std::collections::BTreeMap;

use refrain::{CacheMode, RemovalCause};

use super::{Answer, NAMES, Supply};

/// In milliseconds; the clock's ticks are as long.
pub(super) const TIMEOUT: u64 = 50;
pub(super) const NEVER: u64 = refrain::Time::MAX.as_millis();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    New,
    Live,
    /// With the cause that the remove callback hears; none if it hears nothing.
    Gone(Option<RemovalCause>),
}

/// A session; its index is its tag.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) id: u64,
    pub(super) generation: u32,
    pub(super) name: usize,
    pub(super) timeout: Option<u64>,
    pub(super) not_after: u64,
    /// Zero until it is added.
    pub(super) deadline: u64,
    pub(super) life: Life,
}

/// What became of the session that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    None,
    /// For single use, still to be had by others.
    Unclaimed,
    /// For single use, to be had by nobody else.
    Held,
    Reused {
        claimed: bool,
    },
    /// It was resumed, and the connection has another session by now.
    Past,
    /// A client's, before the answer.
    Open,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) is_server: bool,
    pub(super) context: usize,
    pub(super) generation: u32,
    pub(super) name: usize,
    pub(super) limit: u32,
    pub(super) left: u32,
    pub(super) session: Option<usize>,
    /// Whether a bad end removes it.
    pub(super) known: bool,
    pub(super) not_after: u64,
    pub(super) inherited: u64,
    pub(super) offer: Offer,
    pub(super) finished: bool,
    pub(super) closed: bool,
    pub(super) resumable: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) accepts: [u64; 3],
    pub(super) connects: [u64; 3],
    pub(super) denied: u64,
    pub(super) wrong_name: u64,
    pub(super) panics: u64,
    pub(super) external: u64,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) objects: Vec<Object>,
    pub(super) index: BTreeMap<(u32, u64), usize>,
    pub(super) generations: Vec<u32>,
    pub(super) next_generation: u32,
    pub(super) now: u64,
    pub(super) mode: CacheMode,
    pub(super) on_new: Option<Answer>,
    pub(super) on_get: Option<Supply>,
    pub(super) counts: Counts,
}

impl Model {
    pub(super) fn begin(&mut self, context: usize, is_server: bool) -> Line {
        self.count(is_server, 0);
        Line {
            is_server,
            context,
            generation: self.generations[context],
            name: 0,
            limit: refrain::EXTERNAL_LOOKUPS,
            left: refrain::EXTERNAL_LOOKUPS,
            session: None,
            known: false,
            not_after: NEVER,
            inherited: NEVER,
            offer: Offer::None,
            finished: false,
            closed: false,
            resumable: true,
        }
    }

    fn count(&mut self, is_server: bool, which: usize) {
        let counts = &mut self.counts;
        let side = if is_server {
            &mut counts.accepts
        } else {
            &mut counts.connects
        };
        side[which] += 1;
    }

    fn is_current(&self, at: usize) -> bool {
        self.generations.contains(&self.objects[at].generation)
    }

    fn due(&self, at: usize) -> u64 {
        let object = &self.objects[at];
        (self.now + object.timeout.unwrap_or(TIMEOUT)).min(object.not_after)
    }

    pub(super) fn serves(&self, is_server: bool) -> bool {
        self.mode.contains(if is_server {
            CacheMode::SERVER
        } else {
            CacheMode::CLIENT
        })
    }

    pub(super) fn end(&mut self, at: usize, cause: RemovalCause) {
        let object = &mut self.objects[at];
        if object.life == Life::Live {
            self.index.remove(&(object.generation, object.id));
        }
        object.life = Life::Gone(Some(cause));
    }

    pub(super) fn take_exact(&mut self, at: usize) -> bool {
        let object = &self.objects[at];
        let takes = object.life == Life::Live && self.now < object.deadline && self.is_current(at);
        if takes {
            self.end(at, RemovalCause::Taken);
        }
        takes
    }

    pub(super) fn remove_exact(&mut self, at: usize) -> bool {
        let removes = matches!(self.objects[at].life, Life::Live | Life::New);
        if removes {
            self.end(at, RemovalCause::Removed);
        }
        removes
    }

    /// Whether it is in the cache then.
    pub(super) fn add(&mut self, at: usize) -> bool {
        let due = self.due(at);
        match self.objects[at].life {
            Life::Live => return true,
            Life::Gone(_) => return false,
            Life::New => {}
        }
        if !self.is_current(at) || self.now >= due {
            return false;
        }
        let object = &mut self.objects[at];
        (object.life, object.deadline) = (Life::Live, due);
        if let Some(old) = self.index.insert((object.generation, object.id), at) {
            self.objects[old].life = Life::Gone(None);
        }
        true
    }

    /// The object that a look-up finds.
    pub(super) fn find(&self, context: usize, id: u64) -> Option<usize> {
        let at = *self.index.get(&(self.generations[context], id))?;
        (self.now < self.objects[at].deadline).then_some(at)
    }

    pub(super) fn drop_bad(&mut self, line: &mut Line) {
        let bad = line.finished && !line.closed && line.known;
        if let Some(at) = line.session.take().filter(|_| bad) {
            self.remove_exact(at);
        }
    }

    pub(super) fn offer(&mut self, line: &mut Line, at: usize) {
        self.drop_bad(line);
        line.inherited = self.objects[at].not_after;
        (line.session, line.known, line.offer) = (Some(at), true, Offer::Open);
    }

    pub(super) fn decline(line: &mut Line) {
        if matches!(line.offer, Offer::None | Offer::Past) {
            return;
        }
        (line.session, line.offer, line.inherited) = (None, Offer::None, NEVER);
    }

    pub(super) fn claim(&mut self, line: &mut Line) -> bool {
        let Some(at) = line.session else {
            return false;
        };
        let won = match line.offer {
            Offer::None | Offer::Past => return false,
            Offer::Held | Offer::Reused { claimed: true } => true,
            // A client's may be kept outside only.
            _ => {
                let outside = !line.is_server && self.objects[at].deadline == 0;
                self.take_exact(at) || (outside && self.remove_exact(at))
            }
        };
        if line.is_server && won {
            line.offer = Offer::Reused { claimed: true };
        } else if line.is_server {
            Self::decline(line);
        }
        won
    }

    pub(super) fn finish(&mut self, line: &mut Line) {
        if line.finished {
            return;
        }
        line.finished = true;
        match line.offer {
            Offer::Unclaimed | Offer::Held => Self::decline(line),
            Offer::Open => line.offer = Offer::Reused { claimed: false },
            Offer::None | Offer::Past | Offer::Reused { .. } => {}
        }
        self.count(line.is_server, 1);
    }

    pub(super) fn renegotiate(&mut self, line: &mut Line) {
        (line.finished, line.left, line.offer) = (false, line.limit, Offer::None);
        line.inherited = NEVER;
        self.count(line.is_server, 2);
    }

    pub(super) fn fail(&mut self, line: &mut Line) {
        line.closed = true;
        if let Some(at) = line
            .session
            .filter(|_| line.known && line.offer != Offer::Unclaimed)
        {
            self.remove_exact(at);
        }
    }

    pub(super) fn clear(&mut self, line: &mut Line) {
        let lives = |at: &usize| matches!(self.objects[*at].life, Life::New | Life::Live);
        let kept = line
            .session
            .filter(lives)
            .filter(|_| !line.is_server && line.closed);
        if !line.closed {
            self.drop_bad(line);
        }
        let limit = line.limit;
        *line = self.begin(line.context, line.is_server);
        (line.limit, line.left) = (limit, limit);
        if let Some(at) = kept {
            self.offer(line, at);
        }
    }

    /// Whether it is stored anywhere then.
    pub(super) fn establish(&mut self, line: &mut Line, at: usize) -> bool {
        self.finish(line);
        line.session = Some(at);
        if matches!(line.offer, Offer::Reused { .. }) {
            line.offer = Offer::Past;
        }
        line.known = line.resumable && self.store(line.is_server, at);
        line.known
    }

    fn store(&mut self, is_server: bool, at: usize) -> bool {
        if !self.serves(is_server) || self.now >= self.due(at) || !self.is_current(at) {
            return false;
        }
        let outside = self.mode.contains(CacheMode::NO_INTERNAL_STORE);
        let was_gone = matches!(self.objects[at].life, Life::Gone(_));
        let cached = !outside && self.add(at);
        if !outside && was_gone {
            return false;
        }
        match self.on_new {
            None => cached,
            Some(Answer::Keep) => true,
            Some(Answer::Refuse) => {
                // What was not put into the cache need not leave it.
                if self.objects[at].life == Life::Live {
                    self.end(at, RemovalCause::Refused);
                }
                false
            }
            Some(Answer::Panic) => {
                self.counts.panics += 1;
                cached
            }
        }
    }

    /// Whether a session may be used under this name.
    fn is_named(&mut self, at: usize, name: usize) -> bool {
        let same = self.objects[at].name == name;
        self.counts.wrong_name += u64::from(!same);
        same
    }

    /// A server's connection is to look something up: what was found before is given up, unless it is another handshake's.
    pub(super) fn look(line: &mut Line) {
        if line.is_server && line.finished {
            (line.offer, line.inherited) = (Offer::None, NEVER);
        } else if line.is_server {
            Self::decline(line);
        }
    }

    /// What a look-up of a connection finds.
    pub(super) fn resume(&mut self, line: &mut Line, id: u64, once: bool) -> Option<usize> {
        Self::look(line);
        if !line.is_server || !self.serves(true) {
            return None;
        }
        let (at, claimed) = self.look_up(line, id, once)?;
        line.inherited = self.objects[at].not_after;
        line.offer = match (once, claimed) {
            (false, _) => Offer::Reused { claimed: false },
            (true, true) => Offer::Held,
            (true, false) => Offer::Unclaimed,
        };
        (line.session, line.known) = (Some(at), true);
        Some(at)
    }

    fn look_up(&mut self, line: &mut Line, id: u64, once: bool) -> Option<(usize, bool)> {
        if !self.mode.contains(CacheMode::NO_INTERNAL_LOOKUP) {
            if let Some(at) = self.find(line.context, id) {
                return self.is_named(at, line.name).then_some((at, false));
            }
        }
        let supply = self.on_get?;
        if line.left == 0 {
            self.counts.denied += 1;
            return None;
        }
        line.left -= 1;
        let at = self.supplied(supply, line.context, id)?;
        let object = &self.objects[at];
        let in_time = match object.life {
            Life::New => object.timeout != Some(0),
            Life::Live => self.now < object.deadline,
            Life::Gone(_) => return None,
        };
        let (is_new, not_after) = (object.life == Life::New, object.not_after);
        let right = object.generation == self.generations[line.context] && object.id == id;
        self.counts.external += 1;
        if !right || !in_time || self.now >= not_after || !self.is_named(at, line.name) {
            return None;
        }
        if !once && !self.mode.contains(CacheMode::NO_INTERNAL_STORE) {
            self.add(at);
        }
        Some((at, once && is_new))
    }

    /// The object that the get callback hands out: the last one, if it has made one.
    fn supplied(&mut self, supply: Supply, context: usize, id: u64) -> Option<usize> {
        let (context, id, name, timeout) = match supply {
            Supply::Nothing => return None,
            Supply::Panic => {
                self.counts.panics += 1;
                return None;
            }
            Supply::Old(at) => {
                return (!self.objects.is_empty()).then(|| at % self.objects.len());
            }
            Supply::New(name, timeout) => (context, id, name, timeout),
            Supply::WrongId => (context, id + 1, 0, None),
            Supply::WrongContext => (1 - context, id, 0, None),
        };
        self.objects.push(Object {
            id,
            generation: self.generations[context],
            name,
            timeout,
            not_after: NEVER,
            deadline: 0,
            life: Life::New,
        });
        Some(self.objects.len() - 1)
    }

    /// The session that a connection would build.
    pub(super) fn build(&mut self, line: &Line, id: u64, timeout: Option<u64>) -> usize {
        assert!(line.name < NAMES.len());
        self.objects.push(Object {
            id,
            generation: line.generation,
            name: line.name,
            timeout,
            not_after: line.not_after.min(line.inherited),
            deadline: 0,
            life: Life::New,
        });
        self.objects.len() - 1
    }
}
