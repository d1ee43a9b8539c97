//! Samples as rows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::encode::{STACK_LABEL, even_squares};
use super::super::fields::{label, sample};
use super::super::kinds::Part;
use super::super::message::{Location, numbers};
use super::super::wire::{Fields, Value};
use super::{Columns, DecodeError, Limits, Message, Texts, Writer, file_name, part_of};
use crate::model::{Ended, FrameName, NameKind, Pid, Row, TaskLabel, Tid, Unnamed, Weight};

/// All rows, in the order of the file.
pub(super) fn read(
    message: &Message<'_>,
    texts: Texts<'_>,
    columns: &Columns,
    writer: Writer,
    limits: &Limits,
) -> Result<Vec<Row>, DecodeError> {
    let mut reader = Reader {
        message,
        texts,
        columns,
        writer,
        frames: Vec::new(),
        stacks: HashMap::new(),
        frames_left: limits.frames,
        comm: match message.first_mapping {
            Some(name) => file_name(&String::from_utf8_lossy(message.string(name)?)),
            None => "process".into(),
        },
        ids: Vec::new(),
        values: Vec::new(),
        squares: Vec::new(),
    };
    let samples = message.samples.iter();
    samples.map(|sample| reader.row(sample)).collect()
}

/// What a location stands for in a stack.
#[derive(Clone, Debug)]
enum Piece {
    /// Frames, outermost first.
    Frames(Range<usize>),
    /// Missing ones.
    Truncated(Ended),
}

struct Reader<'a> {
    message: &'a Message<'a>,
    texts: Texts<'a>,
    columns: &'a Columns,
    writer: Writer,
    /// Frames of all locations that were met.
    frames: Vec<FrameName>,
    /// By id of the location.
    stacks: HashMap<u64, Piece>,
    frames_left: usize,
    /// Of samples that name no thread.
    comm: Arc<str>,
    ids: Vec<u64>,
    values: Vec<u64>,
    squares: Vec<u64>,
}

impl<'a> Reader<'a> {
    fn row(&mut self, sample: &'a [u8]) -> Result<Row, DecodeError> {
        self.ids.clear();
        self.values.clear();
        self.squares.clear();
        let mut task = TaskLabel {
            comm: self.comm.clone(),
            pid: None,
            tid: None,
        };
        let mut ended = Ended::Root;
        for field in Fields::of(sample) {
            let (number, value) = field?;
            let into = match u32::try_from(number).unwrap_or(0) {
                sample::LOCATION_ID => &mut self.ids,
                sample::VALUE => &mut self.values,
                sample::SQUARES => &mut self.squares,
                sample::LABEL => {
                    self.label(value, &mut task, &mut ended)?;
                    continue;
                }
                _ => continue,
            };
            for number in value.numbers() {
                into.push(number?);
            }
        }
        let mut weights = self.columns.weights(&self.values)?;
        self.put_squares(&mut weights);
        let frames = self.stack(&mut ended)?;
        Ok(Row {
            task,
            ended,
            frames,
            weights,
        })
    }

    fn put_squares(&self, weights: &mut [Weight]) {
        for weight in weights.iter_mut() {
            weight.squares = even_squares(weight);
        }
        if self.writer == Writer::Perfd {
            for entry in self.squares.chunks_exact(3) {
                let at = usize::try_from(entry[0]).ok();
                if let Some(weight) = at.and_then(|at| weights.get_mut(at)) {
                    weight.squares = u128::from(entry[2]) << 64 | u128::from(entry[1]);
                }
            }
        }
    }

    fn label(
        &mut self,
        value: Value<'_>,
        task: &mut TaskLabel,
        ended: &mut Ended,
    ) -> Result<(), DecodeError> {
        let [key, text, number] = numbers(value, [label::KEY, label::STR, label::NUM])?;
        match self.message.string(key)? {
            b"pid" => task.pid = u32::try_from(number).ok().map(Pid),
            b"tid" => task.tid = u32::try_from(number).ok().map(Tid),
            b"comm" => task.comm = self.texts.text(text)?,
            b"thread" | b"thread_name" if self.writer == Writer::Other && text != 0 => {
                task.comm = self.texts.text(text)?;
            }
            key if self.writer == Writer::Perfd && key == STACK_LABEL.as_bytes() => {
                *ended = Ended::NoUserStack;
            }
            _ => (),
        }
        Ok(())
    }

    /// The frames of `self.ids`, root first.
    fn stack(&mut self, ended: &mut Ended) -> Result<Vec<FrameName>, DecodeError> {
        let mut pieces = Vec::with_capacity(self.ids.len());
        let mut n_frames = 0usize;
        for at in 0..self.ids.len() {
            let piece = self.piece(self.ids[at])?;
            if let Piece::Frames(range) = &piece {
                n_frames = n_frames.saturating_add(range.len());
            }
            pieces.push(piece);
        }
        self.frames_left = self
            .frames_left
            .checked_sub(n_frames)
            .ok_or(DecodeError::TooLarge("frames"))?;
        let mut frames = Vec::with_capacity(n_frames);
        for piece in pieces.into_iter().rev() {
            match piece {
                Piece::Frames(range) => frames.extend_from_slice(&self.frames[range]),
                Piece::Truncated(why) => *ended = why,
            }
        }
        Ok(frames)
    }

    fn piece(&mut self, id: u64) -> Result<Piece, DecodeError> {
        if let Some(piece) = self.stacks.get(&id) {
            return Ok(piece.clone());
        }
        let unknown = DecodeError::Malformed("a location that is not in the table");
        let location = *self.message.locations.get(&id).ok_or(unknown)?;
        let piece = self.new_piece(location)?;
        self.stacks.insert(id, piece.clone());
        Ok(piece)
    }

    fn new_piece(&mut self, location: Location) -> Result<Piece, DecodeError> {
        let lines = location.first_line..location.first_line + location.n_lines;
        let lines = &self.message.lines[lines];
        let kind = match part_of(self.message, location.mapping, self.writer)? {
            Part::Code(kind) => kind,
            Part::Truncated => {
                let mark = lines.first().copied().unwrap_or_default();
                let name = self.texts.frame(mark, NameKind::User)?.text;
                return reason(&name)
                    .map(Piece::Truncated)
                    .ok_or(DecodeError::Malformed("an unknown reason for a cut stack"));
            }
        };
        let first = self.frames.len();
        // The function itself is the last; the others are inlined, the innermost first.
        for (idx, line) in lines.iter().rev().enumerate() {
            let kind = if idx == 0 { kind } else { NameKind::Inlined };
            let frame = self.texts.frame(*line, kind)?;
            self.frames.push(frame);
        }
        if lines.is_empty() {
            let frame = self.unnamed(location, kind)?;
            self.frames.push(frame);
        }
        Ok(Piece::Frames(first..self.frames.len()))
    }

    /// `module+0xaddress`.
    fn unnamed(&mut self, location: Location, kind: NameKind) -> Result<FrameName, DecodeError> {
        let file = self.message.mappings.get(&location.mapping);
        let file = match file {
            Some(file) => file_name(&String::from_utf8_lossy(self.message.string(*file)?)),
            None => "[unknown]".into(),
        };
        self.texts.take_room(file.len())?;
        Ok(FrameName {
            text: format!("{file}+{:#x}", location.address).into(),
            kind,
            unnamed: Some(Unnamed::NoSymbols),
        })
    }
}

/// `[truncated: reason]`.
fn reason(name: &str) -> Option<Ended> {
    let name = name.strip_prefix("[truncated: ")?.strip_suffix(']')?;
    Ended::ALL
        .into_iter()
        .find(|ended| ended.is_truncated() && ended.to_string() == name)
}
