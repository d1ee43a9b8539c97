//! Sections read through windows: of a file of gigabytes, what is in memory is what is being read.
//!
//! A unit's parts lie together in each section, so that one window for each mostly has what comes next. Strings are
//! scattered, and have a cache of pieces.

use std::borrow::Cow;
use std::sync::Arc;

use super::Corrupt;
use crate::object::{ReadAt, fill};

/// Bytes of a piece of a string section: what is read for one string.
const PIECE: u64 = 4 << 10;
/// Pieces that are kept: 8 MiB. A piece has one place it can be in, so that finding it is one comparison.
const N_PIECES: usize = 2048;
/// Longest string; what is longer is cut there.
pub(super) const MAX_STRING: usize = 16 << 10;

/// A section of which one part is in memory.
pub(super) struct Window {
    source: Option<Arc<dyn ReadAt>>,
    size: u64,
    /// Bytes that are read at once where less is asked for.
    at_once: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// A window on nothing yet, `at_once` bytes wide; a section that does not exist is empty.
    pub(super) fn new(source: Option<Arc<dyn ReadAt>>, at_once: u64) -> Window {
        Window {
            size: source.as_ref().map_or(0, |source| source.len()),
            at_once,
            source,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Bytes of the section.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `offset` on: `least` of them or those up to the section's end, and what more the window has.
    pub(super) fn at(&mut self, offset: u64, least: u64) -> Result<&[u8], Corrupt> {
        let rest = self.size.checked_sub(offset).ok_or(Corrupt)?;
        let least = least.min(rest);
        let in_window = offset
            .checked_sub(self.start)
            .filter(|skip| skip + least <= self.bytes.len() as u64);
        let skip = match in_window {
            Some(skip) => skip,
            None => {
                let wanted = least.max(self.at_once).min(rest);
                self.start = offset;
                read_into(self.source.as_deref(), offset, wanted, &mut self.bytes)?;
                0
            }
        };
        let skip = usize::try_from(skip).map_err(|_| Corrupt)?;
        self.bytes.get(skip..).ok_or(Corrupt)
    }

    /// Exactly `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, offset: u64) -> Result<[u8; N], Corrupt> {
        let bytes = self.at(offset, N as u64)?;
        bytes.first_chunk().copied().ok_or(Corrupt)
    }

    /// `size` bytes into a buffer of the caller's, past the window.
    pub(super) fn read(&self, offset: u64, size: u64, buffer: &mut Vec<u8>) -> Result<(), Corrupt> {
        if offset.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(Corrupt);
        }
        read_into(self.source.as_deref(), offset, size, buffer)
    }
}

fn read_into(
    source: Option<&dyn ReadAt>,
    offset: u64,
    size: u64,
    buffer: &mut Vec<u8>,
) -> Result<(), Corrupt> {
    let (Some(source), Ok(n_bytes)) = (source, usize::try_from(size)) else {
        buffer.clear();
        return if size == 0 { Ok(()) } else { Err(Corrupt) };
    };
    // What it holds already need not be made zero again.
    buffer.resize(n_bytes, 0);
    // A file that shrinks while it is read ends early.
    match fill(source, buffer, offset) {
        Ok(n_read) if n_read == n_bytes => Ok(()),
        _ => {
            buffer.clear();
            Err(Corrupt)
        }
    }
}

/// A section of strings that end with NUL.
pub(super) struct Strings {
    source: Option<Arc<dyn ReadAt>>,
    size: u64,
    /// By number of the piece, modulo [`N_PIECES`].
    pieces: Vec<Option<(u64, Vec<u8>)>>,
}

impl Strings {
    pub(super) fn new(source: Option<Arc<dyn ReadAt>>) -> Strings {
        Strings {
            size: source.as_ref().map_or(0, |source| source.len()),
            source,
            pieces: Vec::new(),
        }
    }

    /// The string at `offset`, without its NUL.
    pub(super) fn at(&mut self, offset: u64) -> Result<Cow<'_, [u8]>, Corrupt> {
        if offset >= self.size {
            return Err(Corrupt);
        }
        let (number, start) = (offset / PIECE, offset / PIECE * PIECE);
        let piece = self.piece(number)?;
        let from = usize::try_from(offset - start).map_err(|_| Corrupt)?;
        let rest = piece.get(from..).ok_or(Corrupt)?;
        match memchr(rest) {
            // The borrow of a piece cannot be given back on one path only, so it is taken again.
            Some(len) => Ok(Cow::Borrowed(&self.piece(number)?[from..from + len])),
            None => self.across(offset),
        }
    }

    fn piece(&mut self, number: u64) -> Result<&[u8], Corrupt> {
        if self.pieces.is_empty() {
            self.pieces.resize_with(N_PIECES, || None);
        }
        let place = usize::try_from(number).map_err(|_| Corrupt)? % N_PIECES;
        let slot = &mut self.pieces[place];
        let is_there = slot.as_ref().is_some_and(|(there, _)| *there == number);
        if !is_there {
            let mut bytes = slot.take().map_or_else(Vec::new, |(_, bytes)| bytes);
            let start = number * PIECE;
            let size = PIECE.min(self.size - start);
            read_into(self.source.as_deref(), start, size, &mut bytes)?;
            *slot = Some((number, bytes));
        }
        let (_, bytes) = slot.as_ref().ok_or(Corrupt)?;
        Ok(bytes)
    }

    /// A string that does not end in its piece.
    fn across(&self, offset: u64) -> Result<Cow<'_, [u8]>, Corrupt> {
        let mut bytes = Vec::new();
        let size = (self.size - offset).min(MAX_STRING as u64);
        read_into(self.source.as_deref(), offset, size, &mut bytes)?;
        let len = memchr(&bytes).unwrap_or(bytes.len());
        bytes.truncate(len);
        Ok(Cow::Owned(bytes))
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_gives_what_is_there_and_no_more() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let mut window = Window::new(Some(Arc::new(bytes.clone())), 128 << 10);
        for offset in [0, 5, 299_998, 100_000, 131_070, 131_072, 1] {
            let got = window.at(offset, 2).expect("inside");
            let from = usize::try_from(offset).expect("small");
            assert_eq!(got, &bytes[from..from + got.len()]);
            assert!(got.len() >= 2);
        }
        assert_eq!(window.at(299_999, 100).expect("the last byte").len(), 1);
        assert_eq!(window.at(300_000, 100).expect("the end").len(), 0);
        assert!(window.at(300_001, 0).is_err());
        assert!(window.array::<2>(299_999).is_err());
        let mut buffer = Vec::new();
        assert!(window.read(299_999, 2, &mut buffer).is_err());
        assert!(window.read(u64::MAX, 2, &mut buffer).is_err());
        window.read(10, 3, &mut buffer).expect("inside");
        assert_eq!(buffer, [10, 11, 12]);
    }

    #[test]
    fn strings_are_whole_where_pieces_meet_and_end_with_the_section() {
        let mut bytes = vec![b'x'; 4 * 1024 - 2];
        bytes.extend_from_slice(b"\0ab");
        bytes.extend_from_slice(b"cd\0end");
        let mut strings = Strings::new(Some(Arc::new(bytes)));
        assert_eq!(&*strings.at(4 * 1024 - 1).expect("inside"), b"abcd");
        assert_eq!(&*strings.at(4 * 1024 + 4).expect("inside"), b"end");
        assert_eq!(strings.at(0).expect("inside").len(), 4 * 1024 - 2);
        assert!(strings.at(4 * 1024 + 7).is_err());
        assert!(Strings::new(None).at(0).is_err());
    }
}
