//! Weights by task, stack and event, for the window that is open.

use rustc_hash::FxHashMap;

use super::{StackId, Stacks};
use crate::model::{Ended, EventIdx, Frame, Pid, Tid, Weight};

/// Whose stack: what the labels of the run tell apart. `C` is a name's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskKey<C> {
    /// Thread name.
    pub comm: C,
    /// Process, if labels tell processes apart.
    pub pid: Option<Pid>,
    /// Thread, if labels tell threads apart.
    pub tid: Option<Tid>,
}

/// What is told apart in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowKey<C> {
    /// Whose.
    pub task: TaskKey<C>,
    /// Which stack.
    pub stack: StackId,
    /// Whether it is whole.
    pub ended: Ended,
}

/// The weights of a closed window; as many for each row as the run has events.
#[derive(Debug)]
pub struct WindowCounts<C> {
    /// Rows in order of first sight.
    pub rows: Vec<RowKey<C>>,
    /// Row after row, one weight for each event.
    pub weights: Vec<Weight>,
    /// Events of the run.
    pub n_events: usize,
}

/// The open window.
#[derive(Debug)]
pub struct Counting<C> {
    /// Distinct stacks, over all windows.
    pub stacks: Stacks,
    row_of: FxHashMap<RowKey<C>, usize>,
    rows: Vec<RowKey<C>>,
    weights: Vec<Weight>,
    n_events: usize,
}

impl<C: Copy + Eq + std::hash::Hash> Counting<C> {
    /// Nothing counted yet.
    pub fn new(n_events: usize) -> Counting<C> {
        Counting {
            stacks: Stacks::default(),
            row_of: FxHashMap::default(),
            rows: Vec::new(),
            weights: Vec::new(),
            n_events,
        }
    }

    /// Counts samples of one stack; `frames` leaf first. Returns its number.
    pub fn add(
        &mut self,
        task: TaskKey<C>,
        frames: &[Frame],
        ended: Ended,
        event: EventIdx,
        weight: &Weight,
    ) -> StackId {
        let stack = self.stacks.intern(frames);
        let row = self.row(RowKey { task, stack, ended });
        self.weights[row * self.n_events + event.0].merge(weight);
        stack
    }

    /// Takes back a row of a closed window, into the one that is open.
    pub fn put_back(&mut self, key: RowKey<C>, weights: &[Weight]) {
        let row = self.row(key);
        let row = &mut self.weights[row * self.n_events..][..self.n_events];
        for (to, from) in row.iter_mut().zip(weights) {
            to.merge(from);
        }
    }

    /// Whether nothing is counted in the open window.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn row(&mut self, key: RowKey<C>) -> usize {
        *self.row_of.entry(key).or_insert_with(|| {
            self.rows.push(key);
            self.weights
                .resize(self.rows.len() * self.n_events, Weight::default());
            self.rows.len() - 1
        })
    }

    /// Closes the window: its weights are handed out and the next one begins empty.
    pub fn close_window(&mut self) -> WindowCounts<C> {
        self.row_of.clear();
        WindowCounts {
            rows: std::mem::take(&mut self.rows),
            weights: std::mem::take(&mut self.weights),
            n_events: self.n_events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AddressKind, FileOffset, ModuleId};

    fn frame(offset: u64) -> Frame {
        Frame {
            module: ModuleId(1),
            kind: AddressKind::Return,
            offset: FileOffset(offset),
        }
    }

    #[test]
    fn weights_are_conserved_over_windows_and_events() {
        let mut counting = Counting::new(2);
        let task = TaskKey {
            comm: 0u32,
            pid: None,
            tid: None,
        };
        let mut totals = [Weight::default(); 2];
        let (mut weight_in, mut n_in) = (0, 0);
        for round in 0..300u64 {
            let frames = [frame(round % 7), frame(round % 3)];
            counting.add(
                task,
                &frames,
                Ended::Root,
                EventIdx((round % 2) as usize),
                &Weight::of(round),
            );
            (weight_in, n_in) = (weight_in + round, n_in + 1);
            if round % 100 == 99 {
                let window = counting.close_window();
                assert_eq!(window.weights.len(), 2 * window.rows.len());
                for (at, weight) in window.weights.iter().enumerate() {
                    totals[at % 2].total += weight.total;
                    totals[at % 2].samples += weight.samples;
                }
            }
        }
        assert_eq!(totals[0].total + totals[1].total, weight_in);
        assert_eq!(totals[0].samples + totals[1].samples, n_in);
        assert_eq!(
            counting.stacks.take_new().len(),
            21,
            "every distinct stack is handed out once"
        );
        assert!(counting.stacks.take_new().is_empty());
    }
}
