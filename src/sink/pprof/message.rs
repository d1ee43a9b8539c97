//! A pprof message taken apart into its tables, without a copy of any text.
//!
//! Entries are counted while they are taken in; ids are looked up when samples are read. They are the file's choice, so that maps
//! of them are hashed with a key.

use std::collections::HashMap;

use super::fields::{function, line, location, mapping, profile as top, value_type};
use super::wire::{Fields, NoField, Value};
use super::{DecodeError, Limits};

/// The tables of a file. Strings are positions in `strings`.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) strings: Vec<&'a [u8]>,
    /// Type and unit.
    pub(super) sample_types: Vec<(u64, u64)>,
    pub(super) samples: Vec<&'a [u8]>,
    /// By id: the name of the file.
    pub(super) mappings: HashMap<u64, u64>,
    /// The mapping with the lowest place in the file: of the program itself.
    pub(super) first_mapping: Option<u64>,
    pub(super) functions: HashMap<u64, Function>,
    pub(super) locations: HashMap<u64, Location>,
    /// The lines of all locations, innermost first.
    pub(super) lines: Vec<Line>,
    pub(super) comments: Vec<u64>,
    pub(super) time_nanos: u64,
    pub(super) duration_nanos: u64,
    pub(super) period_type: Option<u64>,
    pub(super) period: u64,
}

/// A function.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Function {
    pub(super) name: u64,
    pub(super) file: u64,
}

/// A location: a run of `Message::lines`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Location {
    pub(super) mapping: u64,
    pub(super) address: u64,
    pub(super) first_line: usize,
    pub(super) n_lines: usize,
}

/// A function, and where in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) function: u64,
    pub(super) line: u64,
}

impl From<NoField> for DecodeError {
    fn from(_: NoField) -> DecodeError {
        DecodeError::Malformed("bytes that are no field")
    }
}

impl<'a> Message<'a> {
    /// Takes a message apart.
    pub(super) fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Message<'a>, DecodeError> {
        let mut message = Message::default();
        for (idx, field) in Fields::of(bytes).enumerate() {
            let (number, value) = field?;
            if idx + message.lines.len() + message.comments.len() >= limits.entries {
                return Err(DecodeError::TooLarge("entries of tables"));
            }
            match u32::try_from(number).unwrap_or(0) {
                top::SAMPLE_TYPE => {
                    let [kind, unit] = numbers(value, [value_type::TYPE, value_type::UNIT])?;
                    message.sample_types.push((kind, unit));
                }
                top::SAMPLE => message.samples.push(value.bytes()),
                top::MAPPING => {
                    let [id, file] = numbers(value, [mapping::ID, mapping::FILENAME])?;
                    message.mappings.insert(id, file);
                    message.first_mapping.get_or_insert(file);
                }
                top::LOCATION => message.location(value.bytes())?,
                top::FUNCTION => {
                    let [id, name, file] =
                        numbers(value, [function::ID, function::NAME, function::FILENAME])?;
                    message.functions.insert(id, Function { name, file });
                }
                top::STRING_TABLE => message.strings.push(value.bytes()),
                top::TIME_NANOS => message.time_nanos = value.number(),
                top::DURATION_NANOS => message.duration_nanos = value.number(),
                top::PERIOD_TYPE => {
                    message.period_type = Some(numbers(value, [value_type::TYPE])?[0]);
                }
                top::PERIOD => message.period = value.number(),
                top::COMMENT => {
                    for comment in value.numbers() {
                        message.comments.push(comment?);
                    }
                }
                _ => (),
            }
        }
        let n_types = message.sample_types.len();
        if n_types > limits.sample_types {
            return Err(DecodeError::TooLarge("sample types"));
        }
        Ok(message)
    }

    fn location(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let mut id = 0;
        let mut found = Location {
            first_line: self.lines.len(),
            ..Location::default()
        };
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            match u32::try_from(number).unwrap_or(0) {
                location::ID => id = value.number(),
                location::MAPPING_ID => found.mapping = value.number(),
                location::ADDRESS => found.address = value.number(),
                location::LINE => {
                    let [function, line] = numbers(value, [line::FUNCTION_ID, line::LINE])?;
                    self.lines.push(Line { function, line });
                }
                _ => (),
            }
        }
        found.n_lines = self.lines.len() - found.first_line;
        self.locations.insert(id, found);
        Ok(())
    }

    /// A string of the table.
    pub(super) fn string(&self, number: u64) -> Result<&'a [u8], DecodeError> {
        let at = usize::try_from(number).ok();
        let found = at.and_then(|at| self.strings.get(at)).copied();
        match (found, number) {
            (Some(text), _) => Ok(text),
            // A file without any string: 0 is the empty one.
            (None, 0) => Ok(b""),
            (None, _) => Err(DecodeError::Malformed("a string that is not in the table")),
        }
    }
}

/// The numbers of some fields of a message; 0 where one is not there.
pub(super) fn numbers<const N: usize>(
    message: Value<'_>,
    wanted: [u32; N],
) -> Result<[u64; N], DecodeError> {
    let mut found = [0; N];
    for field in Fields::of(message.bytes()) {
        let (number, value) = field?;
        if let Some(at) = wanted.iter().position(|want| u64::from(*want) == number) {
            found[at] = value.number();
        }
    }
    Ok(found)
}
