//! The texts of a file, each made once.

use std::sync::Arc;

use super::super::message::{Function, Line};
use super::super::{encode, place};
use super::{DecodeError, Message, Writer};
use crate::model::{FrameName, NameKind, Unnamed};
use crate::sink::encode::escape;

/// Texts by their number in the string table.
pub(super) struct Texts<'a> {
    message: &'a Message<'a>,
    writer: Writer,
    made: Vec<Option<Arc<str>>>,
    /// Bytes that texts may still take, which are made of several strings.
    left: u64,
}

impl<'a> Texts<'a> {
    pub(super) fn new(message: &'a Message<'a>, writer: Writer, most: u64) -> Texts<'a> {
        Texts {
            message,
            writer,
            made: vec![None; message.strings.len()],
            left: most,
        }
    }

    /// A text as it was before perfd escaped it.
    pub(super) fn text(&mut self, number: u64) -> Result<Arc<str>, DecodeError> {
        let bytes = self.message.string(number)?;
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(Some(made)) = self.made.get(at) {
            return Ok(made.clone());
        }
        let text = String::from_utf8_lossy(bytes);
        let text: Arc<str> = match self.writer {
            Writer::Perfd => String::from_utf8_lossy(&escape::decode(&text)).into(),
            Writer::Other => text.into(),
        };
        if let Some(made) = self.made.get_mut(at) {
            *made = Some(text.clone());
        }
        Ok(text)
    }

    /// The name of a line.
    pub(super) fn frame(&mut self, line: Line, kind: NameKind) -> Result<FrameName, DecodeError> {
        let unknown = DecodeError::Malformed("a function that is not in the table");
        let function = self.message.functions.get(&line.function).ok_or(unknown)?;
        match self.writer {
            Writer::Perfd => self.frame_of_perfd(*function, line.line, kind),
            Writer::Other => Ok(FrameName {
                text: self.text(function.name)?,
                kind,
                unnamed: None,
            }),
        }
    }

    fn frame_of_perfd(
        &mut self,
        function: Function,
        line: u64,
        kind: NameKind,
    ) -> Result<FrameName, DecodeError> {
        let name = self.text(function.name)?;
        let file = self.message.string(function.file)?;
        let text = match line {
            0 => name,
            line => {
                let file = self.text(function.file)?;
                self.take_room(name.len() + file.len())?;
                place::join(&name, &file, line).into()
            }
        };
        let is_it = |why: &Unnamed| line == 0 && encode::reason(*why).as_bytes() == file;
        Ok(FrameName {
            text,
            kind,
            unnamed: Unnamed::ALL.into_iter().find(is_it),
        })
    }

    /// Counts bytes of a text that is made of several: a file of few bytes could ask for many.
    pub(super) fn take_room(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let left = self.left.checked_sub(bytes as u64 + 32);
        self.left = left.ok_or(DecodeError::TooLarge("bytes of names"))?;
        Ok(())
    }
}
