//! A profile as the bytes of a pprof file.
//!
//! Samples are written as they are met, and the tables that they point into behind them: of the message no more than the tables
//! is in memory.

use std::io::{self, Write};

use rustc_hash::FxHashMap;

use super::fields::{function, label, line, location, mapping, profile as top, sample, value_type};
use super::kinds::Part;
use super::wire::{put_bytes, put_number, put_packed};
use super::{Labels, account, gzip, place};
use crate::model::{
    Ended, EventIdx, EventSpec, FrameName, NameKind, Profile, Rate, Row, SampledEvent, Unit,
    Unnamed, Weight,
};
use crate::sink::encode::{Measure, View, escape};

/// Writes a profile; `view` is what readers show first.
pub fn encode(
    profile: &Profile,
    labels: &Labels,
    view: View,
    out: &mut impl Write,
) -> io::Result<()> {
    gzip::pack(out, |out| {
        let mut encoder = Encoder::new(labels);
        encoder.sample_types(profile, view);
        for row in &profile.rows {
            encoder.sample(row);
            encoder.hand_out(out)?;
        }
        encoder.tables();
        encoder.time(profile, view.event);
        for comment in account::comments(profile, labels) {
            encoder.comment(&comment);
        }
        encoder.hand_out(out)?;
        encoder.strings.write(out)
    })
}

/// What an event is called: the type of its weights. Samples are counted in a type of their own.
pub(super) fn sample_type(event: &EventSpec) -> String {
    format!("{event}_sample")
}

/// The label of rows that have no user stack.
pub(super) const STACK_LABEL: &str = "stack";

struct Encoder<'a> {
    labels: Vec<(u64, u64)>,
    strings: Strings,
    /// What is not handed out yet.
    out: Vec<u8>,
    /// A frame's function and line.
    frames: FxHashMap<(&'a str, Option<Unnamed>), (u64, u64)>,
    /// By name and file, as strings.
    functions: FxHashMap<(u64, u64), u64>,
    function_messages: Vec<u8>,
    /// By mapping, then function and line of each frame, innermost first.
    locations: FxHashMap<Box<[u64]>, u64>,
    location_messages: Vec<u8>,
    message: Vec<u8>,
    inner: Vec<u8>,
    key: Vec<u64>,
    stack: Vec<u64>,
}

impl<'a> Encoder<'a> {
    fn new(labels: &Labels) -> Encoder<'a> {
        let mut strings = Strings::default();
        strings.number("");
        let labels = labels
            .iter()
            .map(|(key, value)| (strings.number(key), strings.escaped(value)))
            .collect();
        Encoder {
            labels,
            strings,
            out: Vec::new(),
            frames: FxHashMap::default(),
            functions: FxHashMap::default(),
            function_messages: Vec::new(),
            locations: FxHashMap::default(),
            location_messages: Vec::new(),
            message: Vec::new(),
            inner: Vec::new(),
            key: Vec::new(),
            stack: Vec::new(),
        }
    }

    fn hand_out(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn sample_types(&mut self, profile: &Profile, view: View) {
        for event in &profile.run.events {
            let samples = self.value_type(&sample_type(&event.spec), "count");
            put_bytes(top::SAMPLE_TYPE, &samples, &mut self.out);
            let weight = self.value_type(&event.spec.to_string(), unit(event));
            put_bytes(top::SAMPLE_TYPE, &weight, &mut self.out);
        }
        if let Some(event) = profile.run.events.get(view.event.0) {
            let name = match view.measure {
                Measure::Weight => event.spec.to_string(),
                Measure::Samples => sample_type(&event.spec),
            };
            let name = self.strings.number(&name);
            put_number(top::DEFAULT_SAMPLE_TYPE, name, &mut self.out);
        }
    }

    fn value_type(&mut self, name: &str, unit: &str) -> Vec<u8> {
        let mut message = Vec::new();
        put_number(value_type::TYPE, self.strings.number(name), &mut message);
        put_number(value_type::UNIT, self.strings.number(unit), &mut message);
        message
    }

    fn sample(&mut self, row: &'a Row) {
        self.stack.clear();
        self.stack_of(row);
        self.message.clear();
        let (message, inner) = (&mut self.message, &mut self.inner);
        put_packed(
            sample::LOCATION_ID,
            self.stack.iter().copied(),
            inner,
            message,
        );
        let values = row.weights.iter();
        let values = values.flat_map(|weight| [signed(weight.samples), signed(weight.total)]);
        put_packed(sample::VALUE, values, inner, message);
        let squares = row.weights.iter().enumerate();
        let squares = squares.filter(|(_, weight)| weight.squares != even_squares(weight));
        let squares = squares.flat_map(|(idx, weight)| halves(idx, weight.squares));
        put_packed(sample::SQUARES, squares, inner, message);
        self.labels_of(row);
        put_bytes(top::SAMPLE, &self.message, &mut self.out);
    }

    /// The locations of a row, leaf first.
    fn stack_of(&mut self, row: &'a Row) {
        let mut outermost = 0;
        while let Some(first) = row.frames.get(outermost) {
            let inlined = row.frames[outermost + 1..]
                .iter()
                .take_while(|frame| frame.kind == NameKind::Inlined)
                .count();
            let behind = outermost + 1 + inlined;
            self.key.clear();
            self.key.push(Part::Code(first.kind).id());
            for frame in row.frames[outermost..behind].iter().rev() {
                let (function, line) = self.frame(frame);
                self.key.extend([function, line]);
            }
            let location = self.location();
            self.stack.push(location);
            outermost = behind;
        }
        self.stack.reverse();
        if row.ended.is_truncated() {
            let name = format!("{}{}]", escape::TRUNCATED, row.ended);
            let name = self.strings.number(&name);
            let function = self.function(name, 0);
            self.key.clear();
            self.key.extend([Part::Truncated.id(), function, 0]);
            let location = self.location();
            self.stack.push(location);
        }
    }

    fn frame(&mut self, frame: &'a FrameName) -> (u64, u64) {
        let key = (&*frame.text, frame.unnamed);
        if let Some(known) = self.frames.get(&key) {
            return *known;
        }
        let (name, file, line) = match frame.unnamed {
            Some(why) => (&*frame.text, self.strings.number(&reason(why)), 0),
            None => {
                let parts = place::split(&frame.text);
                (parts.name, self.strings.escaped(parts.file), parts.line)
            }
        };
        let name = self.strings.escaped(name);
        let function = self.function(name, file);
        self.frames.insert(key, (function, line));
        (function, line)
    }

    fn function(&mut self, name: u64, file: u64) -> u64 {
        let next = self.functions.len() as u64 + 1;
        let id = *self.functions.entry((name, file)).or_insert(next);
        if id == next {
            self.message.clear();
            put_number(function::ID, id, &mut self.message);
            put_number(function::NAME, name, &mut self.message);
            put_number(function::SYSTEM_NAME, name, &mut self.message);
            put_number(function::FILENAME, file, &mut self.message);
            put_bytes(top::FUNCTION, &self.message, &mut self.function_messages);
        }
        id
    }

    /// The location of `self.key`.
    fn location(&mut self) -> u64 {
        if let Some(id) = self.locations.get(self.key.as_slice()) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        self.locations.insert(self.key.as_slice().into(), id);
        let (message, inner) = (&mut self.message, &mut self.inner);
        message.clear();
        put_number(location::ID, id, message);
        put_number(location::MAPPING_ID, self.key[0], message);
        for frame in self.key[1..].chunks_exact(2) {
            inner.clear();
            put_number(line::FUNCTION_ID, frame[0], inner);
            put_number(line::LINE, frame[1], inner);
            put_bytes(location::LINE, inner, message);
        }
        put_bytes(top::LOCATION, message, &mut self.location_messages);
        id
    }

    fn labels_of(&mut self, row: &Row) {
        let comm = self.strings.escaped(&row.task.comm);
        self.label("comm", label::STR, comm);
        if let Some(pid) = row.task.pid {
            self.label("pid", label::NUM, pid.0.into());
        }
        if let Some(tid) = row.task.tid {
            self.label("tid", label::NUM, tid.0.into());
        }
        if row.ended == Ended::NoUserStack {
            let none = self.strings.number(&row.ended.to_string());
            self.label(STACK_LABEL, label::STR, none);
        }
        for (key, value) in &self.labels {
            push_label(*key, label::STR, *value, &mut self.inner, &mut self.message);
        }
    }

    fn label(&mut self, key: &str, field: u32, value: u64) {
        let key = self.strings.number(key);
        push_label(key, field, value, &mut self.inner, &mut self.message);
    }

    fn tables(&mut self) {
        for part in Part::ALL {
            let message = &mut self.message;
            message.clear();
            put_number(mapping::ID, part.id(), message);
            let name = self.strings.number(part.name());
            put_number(mapping::FILENAME, name, message);
            // All that is known is in the file: there is nothing to look up.
            for has in [
                mapping::HAS_FUNCTIONS,
                mapping::HAS_FILENAMES,
                mapping::HAS_LINE_NUMBERS,
                mapping::HAS_INLINE_FRAMES,
            ] {
                put_number(has, 1, message);
            }
            put_bytes(top::MAPPING, message, &mut self.out);
        }
        self.out.append(&mut self.location_messages);
        self.out.append(&mut self.function_messages);
    }

    fn time(&mut self, profile: &Profile, shown: EventIdx) {
        let span = &profile.span;
        let elapsed = span.end.0.saturating_sub(span.start.0);
        put_number(top::TIME_NANOS, span.start_unix_ns, &mut self.out);
        put_number(top::DURATION_NANOS, elapsed, &mut self.out);
        if let Some(event) = profile.run.events.get(shown.0) {
            let message = self.value_type(&event.spec.to_string(), unit(event));
            put_bytes(top::PERIOD_TYPE, &message, &mut self.out);
            put_number(top::PERIOD, period(event), &mut self.out);
        }
    }

    fn comment(&mut self, text: &str) {
        let text = self.strings.number(text);
        put_number(top::COMMENT, text, &mut self.out);
    }
}

fn push_label(key: u64, field: u32, value: u64, scratch: &mut Vec<u8>, message: &mut Vec<u8>) {
    scratch.clear();
    put_number(label::KEY, key, scratch);
    put_number(field, value, scratch);
    put_bytes(sample::LABEL, scratch, message);
}

/// Why a function has no name, in the place of its file.
pub(super) fn reason(why: Unnamed) -> String {
    format!("[{why}]")
}

/// What Σ period² is if all samples weigh the same.
pub(super) fn even_squares(weight: &Weight) -> u128 {
    let square = u128::from(weight.total).pow(2);
    square.checked_div(weight.samples.into()).unwrap_or(0)
}

fn halves(event: usize, squares: u128) -> [u64; 3] {
    let low = u64::try_from(squares & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    let high = u64::try_from(squares >> 64).unwrap_or(u64::MAX);
    [event as u64, low, high]
}

/// Values are signed there; what is larger is as large as can be.
fn signed(value: u64) -> u64 {
    value.min(u64::MAX >> 1)
}

fn unit(event: &SampledEvent) -> &'static str {
    match event.spec.unit() {
        Unit::Nanoseconds => "nanoseconds",
        Unit::Occurrences => "count",
    }
}

/// Counts between two samples; 0 where the kernel adjusts it.
fn period(event: &SampledEvent) -> u64 {
    match (event.rate, event.spec.unit()) {
        (Rate::Period(period), _) => period,
        (Rate::Frequency(hz), Unit::Nanoseconds) => 1_000_000_000 / hz.0.max(1),
        (Rate::Frequency(_), Unit::Occurrences) => 0,
    }
}

/// The string table; a string's number is its position.
#[derive(Default)]
struct Strings {
    numbers: FxHashMap<Box<str>, u64>,
    /// As they stand in the message.
    messages: Vec<u8>,
    buffer: String,
}

impl Strings {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.numbers.len() as u64;
        self.numbers.insert(text.into(), number);
        put_bytes(top::STRING_TABLE, text.as_bytes(), &mut self.messages);
        number
    }

    /// Text of profiled programs: readers print it to terminals.
    fn escaped(&mut self, text: &str) -> u64 {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        escape::shown(text, &mut buffer);
        let number = self.number(&buffer);
        self.buffer = buffer;
        number
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.messages)
    }
}
