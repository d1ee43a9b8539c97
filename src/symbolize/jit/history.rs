//! Which function was where, and when: code made at run time moves, and its place is taken by other code.
//!
//! What a runtime writes down is one change after the other: from some moment on a run of addresses holds a function. A jitdump says the
//! moment itself; of a perf map only two readings are known between which the line was written. So every change is [`When`]: between two
//! times. A lookup asks for a span of time as well, that in which samples were taken, and is answered only if one function alone can
//! have been there in it.
//!
//! Pure: no file, no clock.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::model::{MonoNs, Span};

/// Changes that are kept: what `MAX_LINES` of a file make, and as much again where they overlap. What goes beyond is no program's but an attack.
const MAX_VERSIONS: usize = 4 << 20;
/// Functions that are kept.
const MAX_FUNCTIONS: usize = 2 << 20;
/// Bytes of all distinct names.
const MAX_NAME_BYTES: usize = 64 << 20;
/// Bytes of one function: the most that a jitdump record may have, too.
const MAX_CODE: u64 = 64 << 20;

/// Between which times something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub(super) earliest: MonoNs,
    pub(super) latest: MonoNs,
}

impl When {
    pub(super) fn exactly(time: MonoNs) -> When {
        When {
            earliest: time,
            latest: time,
        }
    }
}

/// More than is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What was at an address in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This function and no other.
    Function(Arc<str>),
    /// Several, or one and then something unknown.
    Replaced,
    /// None that is known.
    Nothing,
}

/// A run of addresses that now holds something else than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) latest: MonoNs,
}

/// What was made, over the whole time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) functions: u64,
    /// Of them those of a name that was there before.
    pub(super) again: u64,
    pub(super) bytes: u64,
    /// Bytes that still hold a function.
    pub(super) live_bytes: u64,
}

/// How a function came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Compiled,
    Moved,
}

/// A function at its place, or the knowledge that none is there any more.
#[derive(Clone, Copy, Debug)]
struct Function {
    start: u64,
    end: u64,
    /// `None`: nothing that is known.
    name: Option<NameId>,
    when: When,
    origin: Origin,
}

type NameId = u32;
type FunctionId = u32;

/// What a segment holds from some moment on; the version before it has the number `before`.
#[derive(Clone, Copy, Debug)]
struct Version {
    function: FunctionId,
    before: u32,
}

const NONE: u32 = u32::MAX;

/// A run of addresses with one past.
#[derive(Clone, Copy, Debug)]
struct Segment {
    end: u64,
    last: u32,
}

/// The functions of one process, as one file tells them.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By start, disjoint.
    segments: BTreeMap<u64, Segment>,
    versions: Vec<Version>,
    functions: Vec<Function>,
    names: Vec<Arc<str>>,
    /// The hash of the standard library, since names are the target's choice.
    name_ids: HashMap<Arc<str>, NameId>,
    name_bytes: usize,
    changed: Vec<Changed>,
    /// Of the last [`History::forget_all`], as long as what follows may bring the same functions again.
    forgot: Option<When>,
}

impl History {
    /// From `when` on `[start, start + size)` holds the function `name`; `None`: something that has no name. A function that it overlaps is gone, all of it.
    ///
    /// A range that cannot be one is passed over.
    pub(super) fn load(
        &mut self,
        start: u64,
        size: u64,
        name: Option<&[u8]>,
        when: When,
        origin: Origin,
    ) -> Result<(), Full> {
        let Some(end) = start.checked_add(size).filter(|_| size > 0) else {
            return Ok(());
        };
        if size > MAX_CODE {
            return Ok(());
        }
        let name = name.map(|name| self.intern(name)).transpose()?;
        if self.functions.len() >= MAX_FUNCTIONS {
            return Err(Full);
        }
        if self.is_there(start, end, name, when) {
            self.restore(start, end, when);
            return Ok(());
        }
        let function = self.add(Function {
            start,
            end,
            name,
            when,
            origin,
        })?;
        self.split(start);
        self.split(end);
        self.bury(start..end, start..end, when)?;
        self.fill(start, end, function)
    }

    /// From `when` on nothing is known of `[start, start + size)`, nor of the functions that it overlaps.
    pub(super) fn forget(&mut self, start: u64, size: u64, when: When) -> Result<(), Full> {
        self.bury(start..start.saturating_add(size), 0..0, when)
    }

    /// From `when` on nothing is known at all; what is loaded with the same `when` may have been there all the time.
    pub(super) fn forget_all(&mut self, when: When) -> Result<(), Full> {
        let gone = self.gone(0, u64::MAX, when)?;
        let starts: Vec<u64> = self.segments.keys().copied().collect();
        for start in starts {
            self.push(start, gone)?;
        }
        self.forgot = Some(when);
        Ok(())
    }

    /// All is loaded that was read at once.
    pub(super) fn settle(&mut self) {
        let Some(when) = self.forgot.take() else {
            return;
        };
        let mut lost: Vec<(u64, u64)> = Vec::new();
        for (start, segment) in &self.segments {
            if let Some(before) = self.before_forgotten(segment.last, when)
                && self.name_of(before).is_some()
            {
                lost.push((*start, segment.end));
            }
        }
        for (start, end) in lost {
            self.note_change(start, end, when);
        }
    }

    /// The function at `address` while samples of `span` were taken.
    pub(super) fn at(&self, address: u64, span: Span) -> Found {
        let mut candidates = Vec::new();
        let mut newer: Option<When> = None;
        let mut version = match self.segments.range(..=address).next_back() {
            Some((_, segment)) if address < segment.end => segment.last,
            _ => NONE,
        };
        while let Some(Version { function, before }) = self.versions.get(version as usize).copied()
        {
            let Function { name, when, .. } = self.functions[function as usize];
            if newer.is_some_and(|newer| newer.latest < span.first) {
                break;
            }
            // Between a function and the one that took its place there was never nothing.
            let is_instant = name.is_none() && newer == Some(when);
            if when.earliest <= span.last && !is_instant {
                candidates.push(name);
            }
            newer = Some(when);
            version = before;
        }
        // Before the first function there was code that does not run.
        while candidates.last() == Some(&None) {
            candidates.pop();
        }
        match candidates.as_slice() {
            [] => Found::Nothing,
            [first, rest @ ..] if rest.iter().all(|other| other == first) => match first {
                Some(name) => Found::Function(self.names[*name as usize].clone()),
                None => Found::Nothing,
            },
            _ => Found::Replaced,
        }
    }

    /// Takes the changes of code to other code since this was last asked.
    pub(super) fn take_changed(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.changed)
    }

    /// The name of the function that is now at exactly this start.
    pub(super) fn starts_at(&self, start: u64) -> Option<(Arc<str>, u64)> {
        let segment = self.segments.get(&start)?;
        let function = self.function_of(segment.last)?;
        let name = function.name.filter(|_| function.start == start)?;
        let size = function.end - function.start;
        Some((self.names[name as usize].clone(), size))
    }

    /// What was made within the runs of addresses that `is_code` tells.
    pub(super) fn made(&self, is_code: impl Fn(u64, u64) -> bool) -> Made {
        let mut seen = vec![false; self.names.len()];
        let mut made = Made::default();
        for function in &self.functions {
            let (Some(name), Origin::Compiled) = (function.name, function.origin) else {
                continue;
            };
            if !is_code(function.start, function.end) {
                continue;
            }
            made.functions += 1;
            made.bytes += function.end - function.start;
            made.again += u64::from(std::mem::replace(&mut seen[name as usize], true));
        }
        for (start, segment) in &self.segments {
            if self.name_of(segment.last).is_some() && is_code(*start, segment.end) {
                made.live_bytes += segment.end - start;
            }
        }
        made
    }

    /// Bytes of memory held, estimated.
    pub(super) fn memory(&self) -> usize {
        self.segments.len() * 40
            + self.versions.capacity() * size_of::<Version>()
            + self.functions.capacity() * size_of::<Function>()
            + self.names.len() * 96
            + self.name_bytes
    }

    fn intern(&mut self, name: &[u8]) -> Result<NameId, Full> {
        let text = text(name);
        if let Some(id) = self.name_ids.get(text.as_str()) {
            return Ok(*id);
        }
        self.name_bytes += text.len();
        let id = u32::try_from(self.names.len()).map_err(|_| Full)?;
        if self.name_bytes > MAX_NAME_BYTES {
            return Err(Full);
        }
        let text: Arc<str> = text.into();
        self.names.push(text.clone());
        self.name_ids.insert(text, id);
        Ok(id)
    }

    fn add(&mut self, function: Function) -> Result<FunctionId, Full> {
        let id = u32::try_from(self.functions.len()).map_err(|_| Full)?;
        self.functions.push(function);
        Ok(id)
    }

    fn gone(&mut self, start: u64, end: u64, when: When) -> Result<FunctionId, Full> {
        self.add(Function {
            start,
            end,
            name: None,
            when,
            origin: Origin::Moved,
        })
    }

    /// Makes `address` a border of segments.
    fn split(&mut self, address: u64) {
        let Some((start, segment)) = self.segments.range_mut(..address).next_back() else {
            return;
        };
        if *start < address && address < segment.end {
            let behind = *segment;
            segment.end = address;
            self.segments.insert(address, behind);
        }
    }

    /// Whether exactly this function is there, or was until all was forgotten at the same time.
    fn is_there(&self, start: u64, end: u64, name: Option<NameId>, when: When) -> bool {
        let Some(segment) = self.segments.get(&start) else {
            return false;
        };
        let last = self.before_forgotten(segment.last, when);
        let known = self.function_of(last.unwrap_or(segment.last));
        known.is_some_and(|known| (known.start, known.end, known.name) == (start, end, name))
    }

    /// Takes back that a function was forgotten at `when`.
    fn restore(&mut self, start: u64, end: u64, when: When) {
        let held: Vec<(u64, u32)> = self
            .segments
            .range(start..end)
            .filter_map(|(at, segment)| Some((*at, self.before_forgotten(segment.last, when)?)))
            .collect();
        for (at, before) in held {
            self.segments
                .entry(at)
                .and_modify(|segment| segment.last = before);
        }
    }

    /// Ends the functions that `range` overlaps, everywhere. What of them is within `filled` gets another function next, which is then the
    /// change to be told.
    fn bury(&mut self, range: Range<u64>, filled: Range<u64>, when: When) -> Result<(), Full> {
        let first = self.segments.range(..=range.start).next_back();
        let first = first.map_or(range.start, |(first, _)| *first);
        if first >= range.end {
            return Ok(());
        }
        let mut overlapped: Vec<FunctionId> = self
            .segments
            .range(first..range.end)
            .filter(|(_, segment)| segment.end > range.start)
            .filter_map(|(_, segment)| {
                let function = self.versions.get(segment.last as usize)?.function;
                let is_named = self.functions[function as usize].name.is_some();
                is_named.then_some(function)
            })
            .collect();
        overlapped.dedup();
        for old in overlapped {
            let Function { start, end, .. } = self.functions[old as usize];
            let gone = self.gone(start, end, when)?;
            let held: Vec<(u64, u64)> = self
                .segments
                .range(start..end)
                .filter(|(_, segment)| {
                    let version = self.versions.get(segment.last as usize);
                    version.is_some_and(|version| version.function == old)
                })
                .map(|(start, segment)| (*start, segment.end))
                .collect();
            for (start, end) in held {
                if !filled.contains(&start) {
                    self.note_change(start, end, when);
                }
                self.push(start, gone)?;
            }
        }
        Ok(())
    }

    /// Gives `[start, end)`, whose borders are those of segments, to a function.
    fn fill(&mut self, start: u64, end: u64, function: FunctionId) -> Result<(), Full> {
        let Function { name, when, .. } = self.functions[function as usize];
        let mut at = start;
        while at < end {
            let next = self
                .segments
                .range(at..end)
                .next()
                .map(|(next, segment)| (*next, *segment));
            let (next, segment) = match next {
                Some((next, segment)) if next == at => (next, segment),
                other => {
                    let end = other.map_or(end, |(next, _)| next);
                    let segment = Segment { end, last: NONE };
                    self.segments.insert(at, segment);
                    (at, segment)
                }
            };
            at = segment.end;
            let old = self.before_forgotten(segment.last, when);
            let old = self.name_of(old.unwrap_or(segment.last));
            if old.is_some_and(|old| Some(old) != name) {
                self.note_change(next, segment.end, when);
            }
            self.push(next, function)?;
        }
        Ok(())
    }

    /// The version before one that says nothing but that at `when` all that was known is gone.
    fn before_forgotten(&self, version: u32, when: When) -> Option<u32> {
        let Version { function, before } = *self.versions.get(version as usize)?;
        let function = &self.functions[function as usize];
        (function.name.is_none() && function.when == when).then_some(before)
    }

    fn push(&mut self, start: u64, function: FunctionId) -> Result<(), Full> {
        let version = u32::try_from(self.versions.len()).map_err(|_| Full)?;
        if self.versions.len() >= MAX_VERSIONS {
            return Err(Full);
        }
        if let Some(segment) = self.segments.get_mut(&start) {
            let before = std::mem::replace(&mut segment.last, version);
            self.versions.push(Version { function, before });
        }
        Ok(())
    }

    fn function_of(&self, version: u32) -> Option<&Function> {
        let version = self.versions.get(version as usize)?;
        self.functions.get(version.function as usize)
    }

    fn name_of(&self, version: u32) -> Option<NameId> {
        self.function_of(version)?.name
    }

    fn note_change(&mut self, start: u64, end: u64, when: When) {
        /// More are told as one.
        const MOST: usize = 1024;
        let latest = when.latest;
        let is_full = self.changed.len() >= MOST;
        match self.changed.last_mut() {
            // A wider change only tells apart more than is needed.
            Some(last) if last.end == start || is_full => {
                last.start = last.start.min(start);
                last.end = last.end.max(end);
                last.latest = last.latest.max(latest);
            }
            _ => self.changed.push(Changed { start, end, latest }),
        }
    }
}

/// Bytes that are not UTF-8 are kept as `\xNN`.
fn text(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
