//! Encoded texts of frames, each kept once and known by a number.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::escape;
use crate::model::{FrameName, NameKind, Row};

/// The texts; a text's number is its position.
#[derive(Debug, Default)]
pub(super) struct Texts {
    texts: Vec<Arc<str>>,
    numbers: FxHashMap<Arc<str>, u32>,
}

/// Frames of one profile that have a number already. Equal names share their text, so that the address of the text
/// is enough to know a frame again; the profile, which holds every text, must live as long.
#[derive(Debug, Default)]
pub(super) struct Seen {
    numbers: FxHashMap<(*const u8, NameKind), u32>,
    buffer: String,
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn text(&self, number: u32) -> &str {
        // Widening: usize has at least 32 bits wherever Linux runs.
        &self.texts[number as usize]
    }

    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("under 2³² names: memory ends first");
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The number of a row's task.
    pub(super) fn task(&mut self, row: &Row, seen: &mut Seen) -> u32 {
        seen.buffer.clear();
        escape::task(&row.task, &mut seen.buffer);
        self.number(&seen.buffer)
    }

    /// Appends the numbers of a row's frames, root first; what stands in the place of missing ones is a frame too.
    pub(super) fn frames(&mut self, row: &Row, seen: &mut Seen, out: &mut Vec<u32>) {
        let Seen { numbers, buffer } = seen;
        if row.ended.is_truncated() {
            buffer.clear();
            buffer.push_str(escape::TRUNCATED);
            buffer.push_str(&format!("{}]", row.ended));
            out.push(self.number(buffer));
        }
        for frame in &row.frames {
            let number = *numbers
                .entry((frame.text.as_ptr(), frame.kind))
                .or_insert_with(|| self.frame(frame, buffer));
            out.push(number);
        }
    }

    fn frame(&mut self, frame: &FrameName, buffer: &mut String) -> u32 {
        buffer.clear();
        escape::frame(frame, buffer);
        self.number(buffer)
    }
}
