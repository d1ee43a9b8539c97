//! From counted stacks to named rows.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{StackId, Stacks, TimedSample, WindowCounts};
use crate::model::{
    Frame, FrameName, Module, ModuleId, NameKind, NamedFrame, NamedSample, Row, TaskLabel,
};

/// A frame's names, outermost function first, with the functions inlined into it behind.
type Names = Arc<[FrameName]>;

/// The names of all frames of a run, and its stacks.
#[derive(Debug, Default)]
pub struct Folding {
    /// By stack number, leaf first.
    stacks: Vec<Arc<[Frame]>>,
    names: FxHashMap<Frame, Names>,
}

impl Folding {
    /// Takes in new stacks, in the order of their numbers; every frame that has no name yet is asked for once.
    pub fn add_stacks(
        &mut self,
        stacks: Vec<Arc<[Frame]>>,
        mut name: impl FnMut(Frame) -> Vec<FrameName>,
    ) {
        for stack in &stacks {
            for frame in stack.iter() {
                self.names
                    .entry(*frame)
                    .or_insert_with(|| name(*frame).into());
            }
        }
        self.stacks.extend(stacks);
    }

    /// The frames of these stacks that have no name yet, each once.
    pub fn new_frames(&self, stacks: &[Arc<[Frame]>]) -> Vec<Frame> {
        let frames = stacks.iter().flat_map(|stack| stack.iter());
        let mut new: Vec<Frame> = frames
            .filter(|frame| !self.names.contains_key(frame))
            .copied()
            .collect();
        new.sort_unstable();
        new.dedup();
        new
    }

    /// Gives a frame the name that is known of it by now; windows and samples that were named before keep the old one.
    pub fn rename(&mut self, frame: Frame, name: FrameName) {
        if let Some(names) = self.names.get_mut(&frame)
            && **names != [name.clone()]
        {
            *names = [name].into();
        }
    }

    /// Number of distinct frames.
    pub fn n_frames(&self) -> usize {
        self.names.len()
    }

    /// The frames of a stack, leaf first; `None` for the bucket of those that found no room.
    pub fn stack(&self, id: StackId) -> Option<&[Frame]> {
        Some(self.stacks.get(id.0 as usize)?)
    }

    /// The names of a frame; none if it is in no stack.
    pub fn names(&self, frame: &Frame) -> &[FrameName] {
        self.names.get(frame).map_or(&[], |names| names)
    }

    /// Names the rows of a window. Rows that are told apart by address only become one; the result is sorted by
    /// task and frames.
    pub fn fold<C>(&self, window: &WindowCounts<C>, label: impl Fn(&C) -> Arc<str>) -> Vec<Row> {
        let mut rows: Vec<Row> = window
            .rows
            .iter()
            .zip(window.weights.chunks_exact(window.n_events))
            .map(|(key, weights)| Row {
                task: TaskLabel {
                    comm: label(&key.task.comm),
                    pid: key.task.pid,
                    tid: key.task.tid,
                },
                ended: key.ended,
                frames: self.named(key.stack),
                weights: weights.to_vec(),
            })
            .collect();
        rows.sort_by(|a, b| (&a.task, &a.frames, a.ended).cmp(&(&b.task, &b.frames, b.ended)));
        rows.dedup_by(|next, kept| {
            let same =
                (&next.task, &next.frames, next.ended) == (&kept.task, &kept.frames, kept.ended);
            if same {
                kept.weights
                    .iter_mut()
                    .zip(&next.weights)
                    .for_each(|(to, from)| to.merge(from));
            }
            same
        });
        rows
    }

    /// Names samples one by one, in their order. Equal stacks share their frames.
    pub fn name_samples<C>(
        &self,
        samples: &[TimedSample<C>],
        label: impl Fn(&C) -> Arc<str>,
        module: impl Fn(ModuleId) -> Arc<Module>,
    ) -> Vec<NamedSample> {
        let mut stacks: FxHashMap<StackId, Option<Arc<[NamedFrame]>>> = FxHashMap::default();
        let name = |frame: &Frame| NamedFrame {
            names: self.names[frame].clone(),
            module: module(frame.module),
            offset: frame.offset,
        };
        let mut stack = |id: StackId| {
            let named = stacks.entry(id).or_insert_with(|| {
                let frames = self.stacks.get(id.0 as usize)?;
                Some(frames.iter().map(name).collect())
            });
            named.clone()
        };
        samples
            .iter()
            .map(|sample| NamedSample {
                time: sample.time,
                cpu: sample.cpu,
                pid: sample.pid,
                tid: sample.tid,
                comm: label(&sample.comm),
                event: sample.event,
                period: sample.period,
                ended: sample.ended,
                stack: stack(sample.stack),
            })
            .collect()
    }

    /// Root first.
    fn named(&self, stack: StackId) -> Vec<FrameName> {
        let Some(frames) = self.stacks.get(stack.0 as usize) else {
            debug_assert_eq!(stack, Stacks::FULL);
            let text = "[stack table full]".into();
            return vec![FrameName {
                text,
                kind: NameKind::User,
                unnamed: None,
            }];
        };
        frames
            .iter()
            .rev()
            .flat_map(|frame| self.names[frame].iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Counting, TaskKey};
    use crate::model::{AddressKind, Ended, EventIdx, FileOffset, ModuleId, Weight};

    #[test]
    fn two_addresses_of_one_function_become_one_row_and_are_named_once() {
        let frame = |offset| Frame {
            module: ModuleId(1),
            kind: AddressKind::Interrupted,
            offset: FileOffset(offset),
        };
        let mut counting = Counting::new(1);
        let task = TaskKey {
            comm: (),
            pid: None,
            tid: None,
        };
        for offset in [1, 2, 1, 9] {
            counting.add(
                task,
                &[frame(offset), frame(100)],
                Ended::Root,
                EventIdx(0),
                &Weight::of(5),
            );
        }
        let mut asked = 0;
        let mut folding = Folding::default();
        folding.add_stacks(counting.stacks.take_new(), |frame| {
            asked += 1;
            let text = if frame.offset.0 < 3 { "small" } else { "large" }.into();
            vec![FrameName {
                text,
                kind: NameKind::User,
                unnamed: None,
            }]
        });
        let rows = folding.fold(&counting.close_window(), |()| "x".into());
        let summary: Vec<_> = rows
            .iter()
            .map(|row| {
                let names: Vec<&str> = row.frames.iter().map(|name| &*name.text).collect();
                (
                    names.join(";"),
                    row.weights[0].total,
                    row.weights[0].samples,
                )
            })
            .collect();
        assert_eq!(
            summary,
            [
                ("large;large".into(), 5, 1),
                ("large;small".to_owned(), 15, 3)
            ]
        );
        assert_eq!(asked, 4);
    }
}
