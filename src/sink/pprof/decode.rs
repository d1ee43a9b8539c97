//! The bytes of a pprof file as a profile.
//!
//! What perfd wrote comes back as it was, except numbers beyond 63 bits, which the format does not hold. Of others' files
//! names and values come back: a type of sample is an event, `samples` and `…_sample` before it its numbers of samples.
//!
//! The bytes may be anything: nothing is taken for granted, no recursion follows them, and memory is taken for what the limits
//! allow and no more.

use std::sync::Arc;

use super::kinds::Part;
use super::message::Message;
use super::{Labels, account, gzip};
use crate::aggregate;
use crate::model::Profile;

mod columns;
mod foreign;
mod rows;
mod texts;

use columns::Columns;
use texts::Texts;

/// What a file may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Unpacked bytes; and as many bytes of texts that are made of them.
    pub bytes: u64,
    /// Entries of all tables together: samples, locations, lines, functions, strings.
    pub entries: usize,
    /// Frames of all stacks together.
    pub frames: usize,
    /// Types of samples: two for each event.
    pub sample_types: usize,
}

impl Default for Limits {
    /// 512 MiB; 8 Mi entries; 32 Mi frames; 256 types.
    fn default() -> Limits {
        Limits {
            bytes: 512 << 20,
            entries: 8 << 20,
            frames: 32 << 20,
            sample_types: 256,
        }
    }
}

/// Why bytes are no profile.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The gzip stream is damaged or cut.
    #[error("the packed data are damaged or cut short")]
    Packed(#[source] std::io::Error),
    /// It is no pprof message.
    #[error("not a pprof file, or damaged: {0}")]
    Malformed(&'static str),
    /// A limit is exceeded.
    #[error("too large: too many {0}")]
    TooLarge(&'static str),
    /// The difference of two profiles.
    #[error("it has values below zero: the difference of two profiles is none")]
    Negative,
}

/// Who wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// perfd: all of the profile is there.
    Perfd,
    /// Another program: names and values are there, the rest is guessed or missing.
    Other,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What it holds.
    pub profile: Profile,
    /// What it says of all samples.
    pub labels: Labels,
    /// Who wrote it.
    pub writer: Writer,
}

/// Reads a file, packed or not.
///
/// # Errors
/// The bytes are no pprof file, or exceed a limit.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    let unpacked = gzip::unpack(bytes, limits.bytes)?;
    let message = Message::parse(&unpacked, limits)?;
    if message.sample_types.is_empty() && message.strings.is_empty() {
        return Err(DecodeError::Malformed("there is nothing in it"));
    }
    let comments = comments(&message, limits)?;
    let (mut profile, labels, writer, columns) =
        match account::read(comments.iter().map(String::as_str))? {
            Some(account) => {
                let columns = Columns::of_perfd(&message, &account.run.events)?;
                let labels = account.labels.clone();
                (Profile::from(account), labels, Writer::Perfd, columns)
            }
            None => {
                let (run, columns) = foreign::run(&message, comments)?;
                let profile = foreign::profile(run, &message);
                (profile, Labels::default(), Writer::Other, columns)
            }
        };
    let texts = Texts::new(&message, writer, limits.bytes);
    let rows = rows::read(&message, texts, &columns, writer, limits)?;
    profile.rows = aggregate::sorted(rows);
    if writer == Writer::Other {
        foreign::add_up(&mut profile);
    }
    Ok(Decoded {
        profile,
        labels,
        writer,
    })
}

/// The comments, which together must not be longer than the file may be: one text may be many comments.
fn comments(message: &Message<'_>, limits: &Limits) -> Result<Vec<String>, DecodeError> {
    let mut left = limits.bytes;
    let mut comments = Vec::new();
    for number in &message.comments {
        let text = message.string(*number)?;
        left = left
            .checked_sub(text.len() as u64)
            .ok_or(DecodeError::TooLarge("bytes of comments"))?;
        comments.push(String::from_utf8_lossy(text).into_owned());
    }
    Ok(comments)
}

/// What a mapping says of its locations' code.
fn part_of(message: &Message<'_>, mapping: u64, writer: Writer) -> Result<Part, DecodeError> {
    let Some(name) = message.mappings.get(&mapping) else {
        return Ok(Part::guessed(""));
    };
    let name = String::from_utf8_lossy(message.string(*name)?);
    let known = (writer == Writer::Perfd).then(|| Part::named(&name));
    Ok(known.flatten().unwrap_or_else(|| Part::guessed(&name)))
}

/// The last part of a path.
fn file_name(path: &str) -> Arc<str> {
    path.rsplit('/').next().unwrap_or_default().into()
}
