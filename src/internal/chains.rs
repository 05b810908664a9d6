//! A shelf of the depot by itself, and chains of blocks to put there.

use std::ptr::null_mut;

use crate::blocks::{Block, Shelf};

use super::Memory;

/// The blocks of a chain.
const LINKS: usize = 2;

/// A block, and what tells of accesses to it that are not ordered.
#[repr(C)]
struct Link {
    block: Block,
    memory: Memory,
}

/// A chain of blocks, each of them [`Memory`], in the hands of one thread.
///
/// As that of sessions in the models, the memory stays where it is at its end, so that a late access finds it there.
#[derive(Debug)]
pub struct Chain(*mut Block);

// SAFETY: it is handed on as a whole, and who has it is alone with its blocks: the models verify that.
unsafe impl Send for Chain {}

impl Default for Chain {
    fn default() -> Self {
        let link = |next, _| {
            let memory = Memory::new();
            let block = Block { next };
            Box::into_raw(Box::new(Link { block, memory })).cast()
        };
        Self((0..LINKS).fold(null_mut(), link))
    }
}

impl Chain {
    fn each(&self, f: impl Fn(&Memory)) {
        let mut at: *mut Link = self.0.cast();
        let mut links = 0;
        while !at.is_null() {
            // SAFETY: made by `default`, linked to another such or to nothing, and never freed.
            let link = unsafe { &*at };
            f(&link.memory);
            at = link.block.next.cast();
            links += 1;
        }
        assert_eq!(links, LINKS, "a chain has come apart");
    }

    /// Uses the blocks.
    pub fn read(&self) {
        self.each(Memory::read);
    }

    /// Makes something else of the blocks: nobody may use them as this any more.
    pub fn end(self) {
        self.each(Memory::end);
    }
}

/// One shelf.
#[derive(Debug)]
pub struct OneShelf(Shelf);

impl Default for OneShelf {
    fn default() -> Self {
        Self(Shelf::new())
    }
}

impl OneShelf {
    /// Puts a chain there, or gives it back.
    pub fn put(&self, chain: Chain) -> Result<(), Chain> {
        if self.0.put(chain.0) {
            Ok(())
        } else {
            Err(chain)
        }
    }

    pub fn take(&self) -> Option<Chain> {
        Some(Chain(self.0.take())).filter(|chain| !chain.0.is_null())
    }
}
