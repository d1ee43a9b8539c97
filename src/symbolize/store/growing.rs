//! Tables and texts that are being written.
//!
//! Several threads may add to it at the same time. Texts are told apart by where they stand in the debug information, or by
//! their bytes where they stand in several places.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::super::demangle::demangle;
use super::super::table::NONE;
use super::directory::{Directory, Extent, UnitRange};
use super::medium::Medium;
use super::texts::{self, Stored, TextFlags};

/// A segment that grows.
pub(in crate::symbolize) struct Growing {
    inner: Mutex<Inner>,
}

struct Inner {
    medium: Medium,
    directory: Directory,
    /// Where the table of each unit is.
    units: FxHashMap<u64, Extent>,
    /// The last piece of shown texts, and that of linkage names: apart, since one of them is seldom asked for.
    shown: OpenPiece,
    linkage: OpenPiece,
    /// Numbers of texts by where they stand.
    by_place: FxHashMap<u64, u32>,
    by_bytes: FxHashMap<Box<[u8]>, u32>,
    /// A write has failed: what comes now is lost.
    has_failed: bool,
}

/// A piece that has room.
#[derive(Default)]
struct OpenPiece {
    number: Option<u32>,
    bytes: Vec<u8>,
}

impl Growing {
    /// Nothing yet.
    pub(super) fn new(medium: Medium) -> Growing {
        Growing {
            inner: Mutex::new(Inner {
                medium,
                directory: Directory::default(),
                units: FxHashMap::default(),
                shown: OpenPiece::default(),
                linkage: OpenPiece::default(),
                by_place: FxHashMap::default(),
                by_bytes: FxHashMap::default(),
                has_failed: false,
            }),
        }
    }

    /// The number of the text that stands at that place, if it was added.
    pub(in crate::symbolize) fn at_place(&self, place: u64) -> Option<u32> {
        self.lock().by_place.get(&place).copied()
    }

    /// Adds a function's name, demangled, and where it stands if it may be met again. [`NONE`] if it cannot be kept.
    pub(in crate::symbolize) fn name(
        &self,
        place: Option<u64>,
        linkage: &[u8],
        flags: TextFlags,
    ) -> u32 {
        if place.is_none()
            && let Some(number) = self.lock().by_bytes.get(linkage)
        {
            return *number;
        }
        // Without the lock: this is the longest part.
        let shown = demangle(linkage);
        let mut inner = self.lock();
        match place {
            Some(place) => {
                if let Some(number) = inner.by_place.get(&place) {
                    return *number;
                }
                let number = inner.add_name(&shown, linkage, flags);
                inner.by_place.insert(place, number);
                number
            }
            None => {
                let number = inner.add_name(&shown, linkage, flags);
                inner.by_bytes.insert(linkage.into(), number);
                number
            }
        }
    }

    /// Adds the path of a file.
    pub(in crate::symbolize) fn path(&self, path: &[u8]) -> u32 {
        let mut inner = self.lock();
        if let Some(number) = inner.by_bytes.get(path) {
            return *number;
        }
        let number = inner.add(Which::Shown, path, TextFlags::default(), None);
        inner.by_bytes.insert(path.into(), number);
        number
    }

    /// Adds the table of a unit.
    pub(in crate::symbolize) fn add_unit(&self, unit: u64, table: &[u8]) {
        let mut inner = self.lock();
        match Extent::append(&mut inner.medium, table) {
            Ok(extent) => drop(inner.units.insert(unit, extent)),
            Err(_) => inner.has_failed = true,
        }
    }

    /// Whether the table of a unit was added.
    pub(super) fn has_unit(&self, unit: u64) -> bool {
        self.lock().units.contains_key(&unit)
    }

    /// The table of a unit, if it was added.
    pub(super) fn unit(&self, unit: u64) -> Option<Vec<u8>> {
        let inner = self.lock();
        inner.units.get(&unit)?.read(&inner.medium)
    }

    /// A piece that will not change any more.
    pub(super) fn piece(&self, number: u32) -> Option<Vec<u8>> {
        let inner = self.lock();
        let piece = inner.directory.pieces.get(number as usize)?;
        piece.read(&inner.medium)
    }

    /// Whether texts are still added to a piece.
    pub(super) fn is_open(&self, piece: u32) -> bool {
        let inner = self.lock();
        [&inner.shown, &inner.linkage]
            .iter()
            .any(|open| open.number == Some(piece))
    }

    /// The text of that number in a piece that is still open.
    pub(super) fn with_open<T>(
        &self,
        number: u32,
        work: impl FnOnce(Stored<'_>) -> T,
    ) -> Option<T> {
        let inner = self.lock();
        let piece = [&inner.shown, &inner.linkage]
            .into_iter()
            .find(|open| open.number == Some(texts::piece_of(number)))?;
        texts::text_at(&piece.bytes, number).map(work)
    }

    /// Bytes of memory held.
    pub(in crate::symbolize) fn memory(&self) -> usize {
        let inner = self.lock();
        inner.medium.memory()
            + inner.by_place.capacity() * 16
            + inner.by_bytes.capacity() * 80
            + inner.units.capacity() * 24
    }

    /// Writes the rest and gives the medium back, if there is anything in it and nothing was lost.
    pub(super) fn complete(self, ranges: Vec<UnitRange>) -> io::Result<Option<Medium>> {
        let mut inner = self
            .inner
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if inner.units.is_empty() || inner.has_failed {
            return Ok(None);
        }
        inner.close(Which::Shown)?;
        inner.close(Which::Linkage)?;
        inner.directory.units = inner.units.into_iter().collect();
        inner
            .directory
            .units
            .sort_unstable_by_key(|(unit, _)| *unit);
        inner.directory.ranges = ranges;
        inner.directory.write(&mut inner.medium)?;
        Ok(Some(inner.medium))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in demangling or parsing holds no lock; one of ours would leave numbers that lead to no text.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy)]
enum Which {
    Shown,
    Linkage,
}

impl Inner {
    fn add_name(&mut self, shown: &str, linkage: &[u8], flags: TextFlags) -> u32 {
        if shown.as_bytes() == linkage {
            return self.add(Which::Shown, linkage, flags, None);
        }
        let linkage = self.add(Which::Linkage, linkage, TextFlags::default(), None);
        let linkage = (linkage != NONE).then_some(linkage);
        self.add(Which::Shown, shown.as_bytes(), flags, linkage)
    }

    fn open(&mut self, which: Which) -> &mut OpenPiece {
        match which {
            Which::Shown => &mut self.shown,
            Which::Linkage => &mut self.linkage,
        }
    }

    fn add(&mut self, which: Which, text: &[u8], flags: TextFlags, linkage: Option<u32>) -> u32 {
        loop {
            let n_pieces = self.directory.pieces.len();
            let open = self.open(which);
            if let Some(piece) = open.number {
                if let Some(place) = texts::push(&mut open.bytes, text, flags, linkage) {
                    return piece << 16 | place;
                }
                if self.close(which).is_err() {
                    self.has_failed = true;
                    return NONE;
                }
                continue;
            }
            // All ones is no text; nobody has 4 GiB of names.
            let Some(number) = u32::try_from(n_pieces).ok().filter(|n| *n < 0xffff) else {
                return NONE;
            };
            open.number = Some(number);
            // Takes its place in the directory before it is written.
            self.directory.pieces.push(Extent::default());
        }
    }

    fn close(&mut self, which: Which) -> io::Result<()> {
        let open = std::mem::take(self.open(which));
        let Some(number) = open.number else {
            return Ok(());
        };
        let extent = Extent::append(&mut self.medium, &open.bytes)?;
        if let Some(place) = self.directory.pieces.get_mut(number as usize) {
            *place = extent;
        }
        Ok(())
    }
}
