//! A session's memory: one allocation, one header line, the bytes behind it.
//!
//! ```text
//!  0        32     40    48   52   56      64          96
//! +--------+------+-----+----+----+-------+-----------+-------------+---------+
//! | id 32  |state |next |refs|len | scope | extras 32 | server name | payload |
//! +--------+------+-----+----+----+-------+-----------+-------------+---------+
//!  one cache line, always                        only if asked for
//! ```
//!
//! A lookup touches the header line only; the payload's lines are its reader's. What few sessions need (a timeout of
//! their own, an authentication deadline, a tag, a server name) lives in the extras, which most sessions don't have.

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::blocks;
use crate::budget::UNIT;
use crate::clock::Time;
use crate::engine::word::{AtomicState, State};
use crate::error::Error;
use crate::id::SessionId;
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{Alive, MODEL};

/// The longest server name, as in TLS.
const MAX_NAME: usize = 255;

/// The longest payload, far beyond any TLS session: 24 bits of length.
pub(crate) const MAX_PAYLOAD: usize = (1 << 24) - 1;

/// References beyond this many are refused, so that the count can never wrap: half the range is slack for the threads
/// that are between their increment and the check.
const MAX_REFS: u32 = u32::MAX / 2;

/// How many of the bits of a cache's number stand in the state word; the next six stand in `len`. Together they tell
/// four million caches of one process apart, so that a session of one is nobody else's.
const OWNER_LOW_BITS: u32 = 16;
const OWNER_SHIFT: u32 = 24;
const OWNER_HIGH: u32 = 0x3f;

/// In `len`: extras stand behind the header; and the memory is [alone](blocks::Room).
const EXTRAS: u32 = 1 << 31;
const ALONE: u32 = 1 << 30;

#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Header {
    id: [u8; 32],
    pub(crate) state: AtomicState,
    /// The link of the removed stack: written by the one who pushes, read by the one who takes the stack.
    pub(crate) next: AtomicPtr<Header>,
    refs: AtomicU32,
    /// The payload's length (24 bits), the upper bits of its cache's number (6), [`ALONE`] and [`EXTRAS`].
    len: u32,
    /// See [`scope`].
    scope: u64,
    alive: Alive,
}

/// The number of a session's context, and the length of its id in the lowest byte: what two sessions of different names
/// differ in if not in their ids' bytes.
#[inline(always)]
pub(crate) fn scope(id: &SessionId, context: u32) -> u64 {
    u64::from(context) << 8 | u64::from(id.len())
}

#[cfg(not(any(refrain_loom, refrain_shuttle)))]
const _: () = assert!(size_of::<Header>() == UNIT && align_of::<Header>() == UNIT);

/// What only some sessions carry.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extras {
    /// In milliseconds; `u64::MAX` for the cache's own timeout.
    pub(crate) timeout: u64,
    pub(crate) not_after: Time,
    pub(crate) tag: u64,
    name_len: u32,
}

const _: () = assert!(size_of::<Extras>() == 32);

impl Extras {
    pub(crate) const NO_TIMEOUT: u64 = u64::MAX;
    pub(crate) const NONE: Self = Self {
        timeout: Self::NO_TIMEOUT,
        not_after: Time::MAX,
        tag: 0,
        name_len: 0,
    };

    /// When it ends, if it begins now and others have so many milliseconds.
    pub(crate) fn deadline(&self, now: Time, timeout: u64) -> Time {
        let timeout = match self.timeout {
            Self::NO_TIMEOUT => timeout,
            own => own,
        };
        now.after(timeout).min(self.not_after)
    }
}

/// Everything that a new session is made from.
pub(crate) struct Parts<'a> {
    pub(crate) id: &'a SessionId,
    pub(crate) context: u32,
    pub(crate) owner: u32,
    pub(crate) extras: Option<Extras>,
    pub(crate) name: &'a [u8],
    pub(crate) payload: &'a [u8],
}

fn layout(bytes: usize) -> Layout {
    // The largest size is bounded by MAX_PAYLOAD, far below what `Layout` refuses.
    let size = bytes.next_multiple_of(UNIT);
    Layout::from_size_align(size, align_of::<Header>()).expect("a session's size is bounded")
}

/// A pointer to a session's memory, without any share in it. All methods are unsafe for the same reason: the memory
/// must be alive, by a reference that the caller holds or by a pin under which the pointer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw(NonNull<Header>);

// SAFETY: a `Raw` is an address. What is behind it is shared between threads by atomics and by bytes that never change
// between `Raw::new` and `Raw::free`.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Header {
    /// Whether the session was built for the cache with this number.
    pub(crate) fn is_owned_by(&self, cache: u32) -> bool {
        let high = self.len >> OWNER_SHIFT & OWNER_HIGH;
        let low = u32::from(self.state.load().owner());
        high == cache >> OWNER_LOW_BITS & OWNER_HIGH && low == cache & ((1 << OWNER_LOW_BITS) - 1)
    }
}

impl Raw {
    /// Allocates a session with one reference, the caller's.
    pub(crate) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        if parts.payload.len() > MAX_PAYLOAD {
            return Err(Error::PayloadLength {
                len: parts.payload.len(),
                max: MAX_PAYLOAD,
            });
        }
        if parts.name.len() > MAX_NAME {
            return Err(Error::ServerNameLength {
                len: parts.name.len(),
            });
        }
        let extras = match (parts.extras, parts.name.len() as u32) {
            (None, 0) => None,
            (extras, name_len) => Some(Extras {
                name_len,
                ..extras.unwrap_or(Extras::NONE)
            }),
        };
        let front = extras.map_or(0, |_| size_of::<Extras>());
        let bytes = size_of::<Header>() + front + parts.name.len() + parts.payload.len();
        let layout = layout(bytes);
        let bytes = layout.size();
        let room = blocks::alloc(layout).ok_or(Error::OutOfMemory { bytes })?;
        let (header, memory) = (room.at.cast::<Header>(), room.at.as_ptr());
        if memory.addr() >> super::bucket::ADDRESS_BITS != 0 {
            // SAFETY: allocated just above with this layout.
            unsafe { blocks::free(room, layout) };
            return Err(Error::AddressSpace);
        }
        let flags = [(EXTRAS, extras.is_some()), (ALONE, room.is_alone)];
        let flags: u32 = flags.iter().map(|&(flag, set)| flag * u32::from(set)).sum();
        let owner = (parts.owner >> OWNER_LOW_BITS & OWNER_HIGH) << OWNER_SHIFT;
        // SAFETY: the memory is ours alone, large enough and aligned for a header, then for the extras (32 bytes at
        // offset 64 of a line), then for the bytes of name and payload, none of which overlap it.
        unsafe {
            header.write(Header {
                id: *parts.id.padded(),
                state: AtomicState::new(State::new(parts.owner as u16)),
                next: AtomicPtr::new(std::ptr::null_mut()),
                refs: AtomicU32::new(1),
                scope: scope(parts.id, parts.context),
                len: parts.payload.len() as u32 | owner | flags,
                alive: Alive::new(),
            });
            let mut at = memory.add(size_of::<Header>());
            if let Some(extras) = extras {
                at.cast::<Extras>().write(extras);
                at = at.add(size_of::<Extras>());
                // There is no name without them.
                at.copy_from_nonoverlapping(parts.name.as_ptr(), parts.name.len());
                at = at.add(parts.name.len());
            }
            at.copy_from_nonoverlapping(parts.payload.as_ptr(), parts.payload.len());
        }
        Ok(Self(header))
    }

    pub(crate) fn from_ptr(ptr: *mut Header) -> Option<Self> {
        NonNull::new(ptr).map(Self)
    }

    pub(crate) fn as_ptr(self) -> *mut Header {
        self.0.as_ptr()
    }

    /// The header.
    ///
    /// # Safety
    ///
    /// The memory must stay alive for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: the caller keeps the memory alive; a header is only ever written through its atomics.
        let header = unsafe { self.0.as_ref() };
        header.alive.check();
        header
    }

    /// The id's bytes.
    ///
    /// # Safety
    ///
    /// The memory must stay alive for `'a`.
    pub(crate) unsafe fn id<'a>(self) -> &'a [u8] {
        // SAFETY: passed on to the caller.
        let header = unsafe { self.header() };
        &header.id[..usize::from(header.scope as u8)]
    }

    /// The id as a value.
    ///
    /// # Safety
    ///
    /// The memory must be alive.
    pub(crate) unsafe fn session_id(self) -> SessionId {
        // SAFETY: passed on to the caller.
        let header = unsafe { self.header() };
        SessionId::from_padded(header.id, header.scope as u8)
    }

    /// The number of the context that it was built for.
    ///
    /// # Safety
    ///
    /// The memory must be alive.
    pub(crate) unsafe fn context(self) -> u32 {
        // SAFETY: passed on to the caller.
        (unsafe { self.header() }.scope >> 8) as u32
    }

    /// The extras, or those of a session that has none.
    ///
    /// # Safety
    ///
    /// The memory must be alive.
    pub(crate) unsafe fn extras(self) -> Extras {
        // SAFETY: passed on to the caller.
        if unsafe { self.header() }.len & EXTRAS == 0 {
            return Extras::NONE;
        }
        // SAFETY: the flag says that extras stand behind the header, in the same allocation; they never change.
        unsafe { self.0.add(1).cast::<Extras>().read() }
    }

    /// Where the server name begins, its length, and the payload's.
    unsafe fn tail(self) -> (*const u8, usize, usize) {
        // SAFETY: passed on to the caller of the public methods.
        let len = unsafe { self.header() }.len;
        // SAFETY: as above.
        let name = unsafe { self.extras() }.name_len as usize;
        let front = if len & EXTRAS == 0 {
            0
        } else {
            size_of::<Extras>()
        };
        // SAFETY: header and extras lie within the allocation.
        let at = unsafe {
            self.0
                .as_ptr()
                .cast::<u8>()
                .add(size_of::<Header>() + front)
        };
        (at, name, len as usize & MAX_PAYLOAD)
    }

    /// The server name it is bound to.
    ///
    /// # Safety
    ///
    /// The memory must stay alive for `'a`.
    pub(crate) unsafe fn name<'a>(self) -> &'a [u8] {
        // SAFETY: `new` wrote that many bytes there, and nothing writes them again before `free`.
        unsafe {
            let (at, name, _) = self.tail();
            std::slice::from_raw_parts(at, name)
        }
    }

    /// The payload.
    ///
    /// # Safety
    ///
    /// The memory must stay alive for `'a`.
    #[inline]
    pub(crate) unsafe fn payload<'a>(self) -> &'a [u8] {
        // SAFETY: as in `name`; the payload stands behind it.
        unsafe {
            let (at, name, payload) = self.tail();
            std::slice::from_raw_parts(at.add(name), payload)
        }
    }

    unsafe fn layout(self) -> Layout {
        // SAFETY: passed on to the caller.
        let (at, name, payload) = unsafe { self.tail() };
        let front = at.addr() - self.0.as_ptr().addr();
        layout(front + name + payload)
    }

    /// How many units of memory it takes.
    ///
    /// # Safety
    ///
    /// The memory must be alive.
    pub(crate) unsafe fn units(self) -> u64 {
        // SAFETY: passed on to the caller.
        (unsafe { self.layout() }.size() / UNIT) as u64
    }

    /// How many handles there are, the cache's included.
    ///
    /// # Safety
    ///
    /// The memory must be alive.
    pub(crate) unsafe fn refs(self) -> u32 {
        // ORDERING: Relaxed. The number is out of date as soon as it is read.
        // SAFETY: passed on to the caller.
        unsafe { self.header() }.refs.load(Ordering::Relaxed)
    }

    /// One more reference, unless there are too many already. One read-modify-write; never fails otherwise, because
    /// the count can't have reached zero: the caller has a reference, or a pin under which the cache's own can't end.
    ///
    /// # Safety
    ///
    /// The memory must be alive by a reference of the caller's, or by a pin under which it was found in a slot.
    #[inline]
    pub(crate) unsafe fn try_retain(self) -> bool {
        // SAFETY: passed on to the caller.
        let refs = &unsafe { self.header() }.refs;
        // ORDERING: Relaxed. A reference is made from one that exists, so there is nothing to wait for; the caller
        // already sees the session.
        if refs.fetch_add(1, Ordering::Relaxed) < MAX_REFS {
            return true;
        }
        // ORDERING: Relaxed, as above: this undoes it.
        refs.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// One more reference for a caller that already has one.
    ///
    /// # Safety
    ///
    /// The caller must hold a reference.
    pub(crate) unsafe fn retain(self) {
        // SAFETY: passed on to the caller.
        if !unsafe { self.try_retain() } {
            // Two billion handles of one session, 16 GiB of them: a leak in a loop. As std's `Arc` does.
            std::process::abort();
        }
    }

    /// Gives one reference back; the last one wipes and frees. The only one there is needs no read-modify-write.
    ///
    /// # Safety
    ///
    /// The caller must hold a reference, and holds it no more afterwards.
    pub(crate) unsafe fn release(self) {
        // SAFETY: passed on to the caller.
        let refs = &unsafe { self.header() }.refs;
        // ORDERING: Acquire; partner: the Release decrements of all other holders. All reads of the session happen
        // before it is wiped. A one is never out of date: a second reference could only be made from the caller's.
        if refs.load(Ordering::Acquire) != 1 {
            // ORDERING: Release; partners: the Acquire loads above and below, in the last holder.
            if refs.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // ORDERING: Acquire, as above. A load rather than a fence, because ThreadSanitizer does not understand fences.
            let _ = refs.load(Ordering::Acquire);
        }
        // SAFETY: the reference was the last, so nobody else has the session or can get it.
        unsafe { self.free() };
    }

    /// Wipes and frees.
    ///
    /// # Safety
    ///
    /// Nobody else may hold the session or be able to reach it.
    unsafe fn free(self) {
        // SAFETY: the caller is alone with the memory.
        let layout = unsafe { self.layout() };
        // SAFETY: as above.
        let header = unsafe { self.header() };
        let is_alone = header.len & ALONE != 0;
        header.alive.end();
        let front = if MODEL {
            // The models leave header and memory where they are, so that a late reader finds the marker.
            size_of::<Header>()
        } else {
            0
        };
        // SAFETY: the allocation is `layout.size()` bytes long, in whole lines. No field has a destructor (outside the models).
        unsafe {
            blocks::wipe(self.0.cast::<u8>().add(front), layout.size() - front);
        }
        let at = self.0.cast();
        // SAFETY: allocated in `new` with the same layout, freed once.
        unsafe { blocks::free(blocks::Room { at, is_alone }, layout) };
    }

    /// Asks for its lines, to be written to, without waiting for any but the header.
    ///
    /// # Safety
    ///
    /// The memory must be alive.
    pub(crate) unsafe fn prefetch(self) {
        // SAFETY: passed on to the caller.
        let lines = unsafe { self.units() } as usize;
        blocks::prefetch(self.0.as_ptr(), lines);
    }

    /// Whether it has this id and context. Reads the header line.
    ///
    /// # Safety
    ///
    /// The memory must be alive.
    #[inline(always)]
    pub(crate) unsafe fn is(self, id: &SessionId, context: u32) -> bool {
        // SAFETY: passed on to the caller.
        let header = unsafe { self.header() };
        header.scope == scope(id, context) && header.id == *id.padded()
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests;
