//! A reader of DWARF that stops reading when a lookup has cost enough.
//!
//! gimli and addr2line trust that debug information is sane: ranges that cover each other make them quadratic,
//! inlined functions nested a million deep overflow the stack, which no `catch_unwind` catches. All they do is
//! driven by what they read, so the bounds stand here: each read costs a unit of an allowance, and is refused when
//! the stack has grown too deep.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use gimli::{EndianSlice, Error, LittleEndian, Reader, ReaderOffsetId, Result};

/// Stack that one lookup may take. Threads of Rust's have 2 MiB; real inlining, 30 levels deep, takes a twentieth.
const MAX_STACK: usize = 1 << 20;

/// What is left of a lookup's allowance.
#[derive(Debug, Default)]
pub(super) struct Watch {
    reads_left: AtomicU64,
    reads_in_all: AtomicU64,
    /// A place on the stack near which the lookup began; stacks grow down.
    stack_top: AtomicUsize,
    is_broken: AtomicU64,
}

impl Watch {
    /// Begins a lookup that may read so many times.
    pub(super) fn begin(&self, reads: u64) {
        self.reads_left.store(reads, Relaxed);
        self.stack_top.store(stack_position(), Relaxed);
    }

    /// Whether a bound has been broken since the start.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed) != 0
    }

    /// Number of reads since the start: a measure of how much the libraries have built from them.
    pub(super) fn reads_in_all(&self) -> u64 {
        self.reads_in_all.load(Relaxed)
    }

    // Plain loads and stores: lookups are made by one thread at a time.
    #[inline]
    fn spend(&self) -> bool {
        let left = self.reads_left.load(Relaxed);
        let depth = self
            .stack_top
            .load(Relaxed)
            .saturating_sub(stack_position());
        if left == 0 || depth > MAX_STACK {
            self.is_broken.store(1, Relaxed);
            return false;
        }
        self.reads_left.store(left - 1, Relaxed);
        self.reads_in_all
            .store(self.reads_in_all.load(Relaxed) + 1, Relaxed);
        true
    }
}

#[inline(always)]
fn stack_position() -> usize {
    let here = 0u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

/// Bytes of a section, read under watch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched<'a> {
    bytes: EndianSlice<'a, LittleEndian>,
    watch: &'a Watch,
}

impl<'a> Watched<'a> {
    pub(super) fn new(bytes: &'a [u8], watch: &'a Watch) -> Watched<'a> {
        Watched {
            bytes: EndianSlice::new(bytes, LittleEndian),
            watch,
        }
    }

    pub(super) fn slice(&self) -> &'a [u8] {
        self.bytes.slice()
    }

    #[inline]
    fn spend(&self) -> Result<()> {
        if self.watch.spend() {
            Ok(())
        } else {
            Err(Error::UnexpectedEof(self.bytes.offset_id()))
        }
    }
}

impl Reader for Watched<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    #[inline]
    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    fn empty(&mut self) {
        self.bytes.empty();
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> Result<()> {
        self.bytes.truncate(len)
    }

    #[inline]
    fn offset_from(&self, base: &Self) -> usize {
        self.bytes.offset_from(base.bytes)
    }

    #[inline]
    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    #[inline]
    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    #[inline]
    fn find(&self, byte: u8) -> Result<usize> {
        self.spend()?;
        Reader::find(&self.bytes, byte)
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<()> {
        self.spend()?;
        self.bytes.skip(len)
    }

    #[inline]
    fn split(&mut self, len: usize) -> Result<Self> {
        self.spend()?;
        Ok(Watched {
            bytes: Reader::split(&mut self.bytes, len)?,
            watch: self.watch,
        })
    }

    #[inline]
    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.bytes.to_slice()
    }

    #[inline]
    fn to_string(&self) -> Result<Cow<'_, str>> {
        Reader::to_string(&self.bytes)
    }

    #[inline]
    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        Reader::to_string_lossy(&self.bytes)
    }

    #[inline]
    fn read_slice(&mut self, buf: &mut [u8]) -> Result<()> {
        self.spend()?;
        Reader::read_slice(&mut self.bytes, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_reads_as_often_as_it_may() {
        let watch = Watch::default();
        watch.begin(2);
        let mut reader = Watched::new(&[1, 2, 3], &watch);
        assert_eq!(reader.read_u8().ok(), Some(1));
        assert_eq!(reader.read_u8().ok(), Some(2));
        assert!(!watch.is_broken());
        assert!(reader.read_u8().is_err());
        assert!(watch.is_broken());
    }

    #[test]
    fn a_reader_refuses_deep_down_the_stack() {
        fn depth_reached(mut reader: Watched<'_>, depth: u32) -> u32 {
            let room = std::hint::black_box([0u8; 1 << 10]);
            match reader.read_u8() {
                Ok(_) => depth_reached(reader, depth + u32::from(room[0]) + 1),
                Err(_) => depth,
            }
        }
        let bytes = vec![0; 1 << 20];
        let watch = Watch::default();
        watch.begin(u64::MAX);
        let depth = depth_reached(Watched::new(&bytes, &watch), 0);
        assert!((100..=1024).contains(&depth), "{depth}");
    }
}
