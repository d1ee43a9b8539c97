//! Distinct stacks of one event, merged over windows, and their folded lines in order.
//!
//! Each frame's text is encoded once and kept once; a stack is a list of numbers. So a long run with windows costs four
//! bytes a frame of each distinct stack, and the text exists only while it is written.

use std::cmp::Ordering;
use std::io::{self, Write};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::escape;
use crate::model::{EventIdx, FrameName, NameKind, Profile, Row};

/// What the number behind a stack is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Σ period: counts of the event, nanoseconds for clocks.
    #[default]
    Weight,
    /// Number of samples.
    Samples,
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
        match self.measure {
            Measure::Weight => weight.total,
            Measure::Samples => weight.samples,
        }
    }
}

/// Stacks and what they weigh in one view.
#[derive(Debug)]
pub struct Stacks {
    view: View,
    /// Encoded frames; the index is the frame's number.
    frames: Vec<Arc<str>>,
    numbers: FxHashMap<Arc<str>, u32>,
    weights: FxHashMap<Box<[u32]>, u64>,
}

impl Stacks {
    /// None yet.
    pub fn new(view: View) -> Stacks {
        Stacks {
            view,
            frames: Vec::new(),
            numbers: FxHashMap::default(),
            weights: FxHashMap::default(),
        }
    }

    /// Adds a profile's rows, except those that weigh nothing in this view.
    pub fn add(&mut self, profile: &Profile) {
        // Equal names share their text, so that the address of the text is enough to know a frame again;
        // the profile holds every text as long as this map lives.
        let mut seen: FxHashMap<(*const u8, NameKind), u32> = FxHashMap::default();
        let mut text = String::new();
        let mut stack = Vec::new();
        for row in &profile.rows {
            let weight = self.view.of(row);
            if weight == 0 {
                continue;
            }
            stack.clear();
            text.clear();
            escape::task(&row.task, &mut text);
            stack.push(self.number(&text));
            if row.ended.is_truncated() {
                text.clear();
                text.push_str(escape::TRUNCATED);
                text.push_str(&format!("{}]", row.ended));
                stack.push(self.number(&text));
            }
            for frame in &row.frames {
                let number = *seen
                    .entry((frame.text.as_ptr(), frame.kind))
                    .or_insert_with(|| self.number_of(frame, &mut text));
                stack.push(number);
            }
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
                out.write_all(self.text(*number).as_bytes())?;
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
            self.text(number).bytes().chain(joint.iter().copied())
        };
        joined(*first, one).cmp(joined(*second, other))
    }

    fn text(&self, number: u32) -> &str {
        // Widening: usize has at least 32 bits wherever Linux runs.
        &self.frames[number as usize]
    }

    fn number_of(&mut self, frame: &FrameName, text: &mut String) -> u32 {
        text.clear();
        escape::frame(frame, text);
        self.number(text)
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.frames.len()).expect("under 2³² names: memory ends first");
        let text: Arc<str> = text.into();
        self.frames.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }
}
