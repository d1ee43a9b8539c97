//! Distinct stacks of one event, merged over windows, and their folded lines in order.
//!
//! Each frame's text is encoded once and kept once; a stack is a list of numbers. So a long run with windows costs four
//! bytes a frame of each distinct stack, and the text exists only while it is written.

use std::cmp::Ordering;
use std::io::{self, Write};

use rustc_hash::FxHashMap;

use super::texts::{Seen, Texts};
use crate::model::{EventIdx, Profile, Row, Weight};

/// What the number behind a stack is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Σ period: counts of the event, nanoseconds for clocks.
    #[default]
    Weight,
    /// Number of samples.
    Samples,
}

impl Measure {
    pub(super) fn of(self, weight: &Weight) -> u64 {
        match self {
            Measure::Weight => weight.total,
            Measure::Samples => weight.samples,
        }
    }
}

/// Which number of a profile's rows is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Of which event.
    pub event: EventIdx,
    /// Weight or samples.
    pub measure: Measure,
}

impl View {
    fn of(self, row: &Row) -> u64 {
        let weight = row.weights.get(self.event.0).copied().unwrap_or_default();
        self.measure.of(&weight)
    }
}

/// Stacks and what they weigh in one view.
#[derive(Debug)]
pub struct Stacks {
    view: View,
    frames: Texts,
    weights: FxHashMap<Box<[u32]>, u64>,
}

impl Stacks {
    /// None yet.
    pub fn new(view: View) -> Stacks {
        Stacks {
            view,
            frames: Texts::default(),
            weights: FxHashMap::default(),
        }
    }

    /// Adds a profile's rows, except those that weigh nothing in this view.
    pub fn add(&mut self, profile: &Profile) {
        let mut seen = Seen::default();
        let mut stack = Vec::new();
        for row in &profile.rows {
            let weight = self.view.of(row);
            if weight == 0 {
                continue;
            }
            stack.clear();
            stack.push(self.frames.task(row, &mut seen));
            self.frames.frames(row, &mut seen, &mut stack);
            let sum = match self.weights.get_mut(stack.as_slice()) {
                Some(sum) => sum,
                None => self
                    .weights
                    .entry(stack.clone().into_boxed_slice())
                    .or_default(),
            };
            *sum = sum.saturating_add(weight);
        }
    }

    /// Writes a line for each distinct stack, sorted by the text of the stack.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut sorted: Vec<(&[u32], u64)> = self
            .weights
            .iter()
            .map(|(stack, weight)| (&**stack, *weight))
            .collect();
        sorted.sort_unstable_by(|(one, _), (other, _)| self.compare(one, other));
        for (stack, weight) in sorted {
            for (idx, number) in stack.iter().enumerate() {
                if idx > 0 {
                    out.write_all(b";")?;
                }
                out.write_all(self.frames.text(*number).as_bytes())?;
            }
            writeln!(out, " {weight}")?;
        }
        Ok(())
    }

    /// Σ weight.
    pub fn total(&self) -> u128 {
        self.weights
            .values()
            .map(|weight| u128::from(*weight))
            .sum()
    }

    /// The order of the lines as text, found without making them: no frame contains the `;` that joins frames, so
    /// the first frame that differs decides.
    fn compare(&self, one: &[u32], other: &[u32]) -> Ordering {
        let shared = one.iter().zip(other).take_while(|(a, b)| a == b).count();
        let (one, other) = (&one[shared..], &other[shared..]);
        let (Some(first), Some(second)) = (one.first(), other.first()) else {
            return one.len().cmp(&other.len());
        };
        let joined = |number: u32, rest: &[u32]| {
            let joint: &[u8] = if rest.len() > 1 { b";" } else { b"" };
            self.frames
                .text(number)
                .bytes()
                .chain(joint.iter().copied())
        };
        joined(*first, one).cmp(joined(*second, other))
    }
}
