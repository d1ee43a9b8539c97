//! The distinct stacks of a run, each with a number.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::Frame;

/// A stack's number in its run; ids are given in order of first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u32);

/// Frames that all distinct stacks together may have: 64 MiB of them. Enough for about 100 000 distinct deep stacks;
/// what comes after stands in one bucket and is counted.
const MOST_FRAMES: usize = 4 << 20;

/// The table of distinct stacks.
#[derive(Debug)]
pub struct Stacks {
    ids: FxHashMap<Arc<[Frame]>, StackId>,
    n_frames: usize,
    /// Stacks that are new since they were last taken.
    new: Vec<Arc<[Frame]>>,
    most_frames: usize,
}

impl Default for Stacks {
    fn default() -> Stacks {
        Stacks::with_room(MOST_FRAMES)
    }
}

impl Stacks {
    /// The bucket of the stacks that the table has no room for.
    pub const FULL: StackId = StackId(u32::MAX);

    /// No stacks yet; all together may have so many frames.
    pub fn with_room(most_frames: usize) -> Stacks {
        Stacks {
            ids: FxHashMap::default(),
            n_frames: 0,
            new: Vec::new(),
            most_frames,
        }
    }

    /// Whether three quarters of its room are taken.
    pub fn is_nearly_full(&self) -> bool {
        self.n_frames >= self.most_frames / 4 * 3
    }

    /// Forgets all stacks: numbers begin with 0 again, and those that were given mean nothing any more.
    pub fn forget(&mut self) {
        *self = Stacks::with_room(self.most_frames);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The number of a stack, leaf first; [`Stacks::FULL`] if it is new and there is no room.
    pub fn intern(&mut self, frames: &[Frame]) -> StackId {
        if let Some(id) = self.ids.get(frames) {
            return *id;
        }
        let Ok(next) = u32::try_from(self.ids.len()) else {
            return Stacks::FULL;
        };
        if self.n_frames + frames.len() > self.most_frames {
            return Stacks::FULL;
        }
        let stack: Arc<[Frame]> = frames.into();
        self.n_frames += frames.len();
        self.ids.insert(stack.clone(), StackId(next));
        self.new.push(stack);
        StackId(next)
    }

    /// The stacks that were added since the last call, in the order of their numbers.
    pub fn take_new(&mut self) -> Vec<Arc<[Frame]>> {
        std::mem::take(&mut self.new)
    }

    /// Takes back what was taken but could not be handed on; to be called before any stack is added.
    pub fn put_back(&mut self, taken: Vec<Arc<[Frame]>>) {
        debug_assert!(self.new.is_empty(), "nothing was added meanwhile");
        self.new = taken;
    }
}
