//! The cache with its connections, and the model beside them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use refrain::{
    CacheMode, Connection, Context, Lookup, Maintenance, ManualClock, OnGet, OnNew, RemovalCause,
    Session, SessionCache, Time,
};

use super::model::{Counts, Life, Line, Model, NEVER, Offer, TIMEOUT};
use super::{Answer, CONNECTIONS, NAMES, Op, Supply};
use crate::common::{Log, assert_settled, context, id};

/// Handles of all sessions, in the order of their tags.
type Handles = Arc<Mutex<Vec<Session>>>;

pub(super) struct Shop {
    cache: SessionCache,
    contexts: Arc<[Context; 2]>,
    clock: ManualClock,
    log: Log,
    handles: Handles,
    lines: Vec<(Connection, Line)>,
    model: Model,
}

impl Shop {
    pub(super) fn new() -> Self {
        let (clock, log) = (ManualClock::new(), Log::default());
        let cache = SessionCache::builder()
            .capacity(1000)
            .shards(1)
            .tick(Duration::from_millis(1))
            .timeout(Duration::from_millis(TIMEOUT))
            .backlog(1 << 30)
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .on_remove(log.tag_listener())
            .build()
            .unwrap();
        let contexts = [context(&cache, "a"), context(&cache, "b")];
        let mut model = Model {
            objects: Vec::new(),
            index: BTreeMap::new(),
            generations: vec![0, 1],
            next_generation: 2,
            now: 0,
            mode: CacheMode::SERVER,
            on_new: None,
            on_get: None,
            counts: Counts::default(),
        };
        let lines = (0..CONNECTIONS)
            .map(|_| (cache.accept(&contexts[0]), model.begin(0, true)))
            .collect();
        Self {
            cache,
            contexts: Arc::new(contexts),
            clock,
            log,
            handles: Handles::default(),
            lines,
            model,
        }
    }

    /// A session that was built at some time.
    fn old(&self, at: usize) -> Option<(usize, Session)> {
        let handles = self.handles.lock().unwrap();
        let at = at.checked_rem(handles.len())?;
        Some((at, handles[at].clone()))
    }

    pub(super) fn apply(&mut self, place: usize, op: Op) {
        match op {
            Op::Mode(bits) => {
                self.model.mode = CacheMode::from_bits(bits);
                self.cache.set_mode(self.model.mode);
            }
            Op::OnNew(answer) => {
                self.model.on_new = answer;
                self.cache.set_on_new(answer.map(on_new));
            }
            Op::OnGet(supply) => {
                self.model.on_get = supply;
                self.cache
                    .set_on_get(supply.map(|supply| self.on_get(supply)));
            }
            Op::Add(at) => {
                if let Some((at, session)) = self.old(at) {
                    assert_eq!(self.cache.add(session).is_cached(), self.model.add(at));
                }
            }
            Op::Take(c, n) => {
                let taken = self.cache.take(&self.contexts[c], &id(n));
                let at = self.model.find(c, n);
                assert_eq!(taken.map(|session| session.tag() as usize), at);
                at.into_iter()
                    .for_each(|at| self.model.end(at, RemovalCause::Taken));
            }
            Op::Remove(at) => {
                if let Some((at, session)) = self.old(at) {
                    let removed = self.cache.remove_exact(&session);
                    assert_eq!(removed, self.model.remove_exact(at));
                }
            }
            Op::Invalidate(c) => {
                self.cache.invalidate_context(&self.contexts[c]).unwrap();
                self.model.generations[c] = self.model.next_generation;
                self.model.next_generation += 1;
            }
            Op::Advance(millis) => {
                self.clock.advance(Duration::from_millis(millis));
                self.model.now = self.cache.now().as_millis();
            }
            Op::Maintain => self.maintain(),
            Op::Begin(c, is_server) => {
                let fresh = match is_server {
                    true => self.cache.accept(&self.contexts[c]),
                    false => self.cache.connect(&self.contexts[c]),
                };
                let line = self.model.begin(c, is_server);
                let (old, mut state) = std::mem::replace(&mut self.lines[place], (fresh, line));
                drop(old);
                self.model.drop_bad(&mut state);
            }
            op => self.call(place, op),
        }
        self.agree();
    }

    /// Calls a method of a connection.
    fn call(&mut self, place: usize, op: Op) {
        let (offered, model) = (self.offered(op), &mut self.model);
        let (connection, line) = &mut self.lines[place];
        match op {
            Op::Name(name) => {
                connection.set_server_name(NAMES[name]);
                line.name = name;
            }
            Op::Limit(limit) => {
                connection.set_external_lookups(limit);
                (line.limit, line.left) = (limit, limit);
            }
            Op::NotAfter(later) => {
                line.not_after = model.now + later;
                connection.set_not_after(Time::from_millis(line.not_after));
            }
            Op::Resume(n) => {
                let found = connection.resume(id(n)).map(|s| s.tag() as usize);
                assert_eq!(found, model.resume(line, n, false));
            }
            Op::ResumeOnce(n) => {
                let found = connection.resume_once(id(n)).map(|s| s.tag() as usize);
                assert_eq!(found, model.resume(line, n, true));
            }
            Op::ResumeStrange(length) => {
                assert!(connection.resume(vec![7; length]).is_none());
                Model::look(line);
            }
            Op::Claim => assert_eq!(connection.claim(), model.claim(line)),
            Op::Decline => {
                connection.decline();
                Model::decline(line);
            }
            Op::Establish(n, timeout) => {
                let at = model.build(line, n, timeout);
                let mut builder = connection.session_builder(id(n)).tag(at as u64);
                if let Some(timeout) = timeout {
                    builder = builder.timeout(Duration::from_millis(timeout));
                }
                let session = builder.build(&[n as u8; 40]).unwrap();
                self.handles.lock().unwrap().push(session.clone());
                assert_eq!(connection.establish(session), model.establish(line, at));
            }
            Op::Offer(_) => {
                if let Some((at, session)) = offered {
                    connection.offer(session);
                    model.offer(line, at);
                }
            }
            Op::EstablishAgain(_) => {
                if let Some((at, session)) = offered {
                    assert_eq!(connection.establish(session), model.establish(line, at));
                }
            }
            Op::Finish => {
                connection.finish();
                model.finish(line);
            }
            Op::Forbid => {
                connection.forbid_resumption();
                line.resumable = false;
            }
            Op::Renegotiate => {
                connection.renegotiate();
                model.renegotiate(line);
            }
            Op::Close => {
                connection.close();
                line.closed = true;
            }
            Op::Fail => {
                connection.fail();
                model.fail(line);
            }
            Op::Clear => {
                connection.clear();
                model.clear(line);
            }
            other => unreachable!("{other:?} is no call of a connection"),
        }
    }

    fn offered(&self, op: Op) -> Option<(usize, Session)> {
        match op {
            Op::Offer(at) | Op::EstablishAgain(at) => self.old(at),
            _ => None,
        }
    }

    fn on_get(&self, supply: Supply) -> OnGet {
        let (handles, contexts) = (Arc::clone(&self.handles), Arc::clone(&self.contexts));
        Arc::new(move |lookup: &Lookup<'_>| {
            let mut handles = handles.lock().unwrap();
            let n = u64::from_le_bytes(lookup.id.as_bytes()[..8].try_into().unwrap());
            let other = usize::from(lookup.context.id() == contexts[0].id());
            let (context, n, name, timeout) = match supply {
                Supply::Nothing => return None,
                Supply::Panic => {
                    drop(handles);
                    std::panic::resume_unwind(Box::new("a callback's"))
                }
                Supply::Old(at) => {
                    return Some(handles[at.checked_rem(handles.len())?].clone());
                }
                Supply::New(name, timeout) => (lookup.context, n, name, timeout),
                Supply::WrongId => (lookup.context, n + 1, 0, None),
                Supply::WrongContext => (&contexts[other], n, 0, None),
            };
            let mut builder = Session::builder(context, id(n)).tag(handles.len() as u64);
            if let Some(timeout) = timeout {
                builder = builder.timeout(Duration::from_millis(timeout));
            }
            let named = builder.server_name(NAMES[name].unwrap_or(""));
            let session = named.build(&[n as u8; 40]).unwrap();
            handles.push(session.clone());
            Some(session)
        })
    }

    fn maintain(&mut self) {
        self.cache.settle();
        let live: Vec<_> = self.model.index.values().copied().collect();
        for at in live {
            let object = &self.model.objects[at];
            if self.model.now >= object.deadline {
                self.model.end(at, RemovalCause::Expired);
            } else if !self.model.generations.contains(&object.generation) {
                self.model.end(at, RemovalCause::Invalidated);
            }
        }
        self.compare_events();
    }

    /// Each that has left was told of once, with its cause, and no other was.
    fn compare_events(&self) {
        let mut told = vec![None; self.model.objects.len()];
        for (tag, cause) in self.log.all() {
            let before = told[tag as usize].replace(cause);
            assert_eq!(before, None, "object {tag} was told of twice");
        }
        for (at, object) in self.model.objects.iter().enumerate() {
            let expected = match object.life {
                Life::Gone(cause) => cause,
                Life::New | Life::Live => None,
            };
            let either = |cause| matches!(cause, RemovalCause::Expired | RemovalCause::Invalidated);
            let is_stale = !self.model.generations.contains(&object.generation);
            if is_stale && expected.is_some_and(either) {
                assert!(told[at].is_some_and(either), "object {at}: {:?}", told[at]);
            } else {
                assert_eq!(told[at], expected, "object {at}");
            }
        }
    }

    /// Compares what can be seen at any time.
    fn agree(&self) {
        let model = &self.model;
        for (place, (connection, line)) in self.lines.iter().enumerate() {
            let tag = connection.session().map(|session| session.tag() as usize);
            assert_eq!(tag, line.session, "connection {place}");
            let reused = matches!(line.offer, Offer::Reused { .. } | Offer::Past);
            assert_eq!(connection.reused(), reused, "connection {place}");
        }
        let handles = self.handles.lock().unwrap();
        assert_eq!(handles.len(), model.objects.len());
        for (at, object) in model.objects.iter().enumerate() {
            let lives = !matches!(object.life, Life::Gone(_));
            assert_eq!(handles[at].is_resumable(), lives, "object {at}");
            let not_after = handles[at].not_after().as_millis();
            assert_eq!(not_after, object.not_after.min(NEVER), "object {at}");
        }
        let stats = self.cache.stats();
        assert_eq!(self.cache.len(), model.index.len());
        assert!(stats.is_balanced(), "{stats:#?}");
        let counts = &model.counts;
        let accepts = [stats.accepts, stats.accepts_good, stats.accepts_again];
        let connects = [stats.connects, stats.connects_good, stats.connects_again];
        assert_eq!((accepts, connects), (counts.accepts, counts.connects));
        let found = [
            stats.external_denied,
            stats.wrong_name,
            stats.callback_panics,
        ];
        assert_eq!(found, [counts.denied, counts.wrong_name, counts.panics]);
        assert_eq!(stats.external_hits, counts.external);
    }

    pub(super) fn finish(mut self) {
        for (connection, mut line) in std::mem::take(&mut self.lines) {
            drop(connection);
            self.model.drop_bad(&mut line);
        }
        self.maintain();
        self.agree();
        assert_settled(&self.cache.stats());
    }
}

fn on_new(answer: Answer) -> OnNew {
    Arc::new(move |_: &Session| match answer {
        Answer::Keep => true,
        Answer::Refuse => false,
        // As a panic, but without the hook, which takes it for a finding.
        Answer::Panic => std::panic::resume_unwind(Box::new("a callback's")),
    })
}
