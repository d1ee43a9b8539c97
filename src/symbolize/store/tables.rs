//! All tables of one file: those of earlier runs, and those that this one adds.

use std::fmt::Write;

use rustc_hash::FxHashMap;

use super::super::table::UnitTable;
use super::directory::UnitRange;
use super::folder::CacheFolder;
use super::growing::Growing;
use super::medium::Medium;
use super::segment::Segment;
use super::texts::{self, Stored};
use crate::model::BuildId;
use crate::object::FileStamp;

/// Bytes of tables that are kept ready. Questions that are sorted by address need one at a time.
const READY_TABLES: usize = 8 << 20;

/// Which file's tables they are.
///
/// A build id is the file's own word, and a program that writes another's into its file must not get to say what the other's
/// functions are called. So the key has, beside it, which files the debug information was read from, down to the time when they were
/// last changed: a forged file is another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct FileKey(String);

impl FileKey {
    /// The key of what was read from files with these stamps.
    pub(in crate::symbolize) fn new(build_id: &BuildId, stamps: &[FileStamp]) -> FileKey {
        let mut key = build_id.to_string();
        for stamp in stamps {
            // Writing into a string cannot fail.
            let _ = write!(key, "-{stamp}");
        }
        FileKey(key)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// Which of the segments a table is in, which is what the numbers of its texts are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) enum Home {
    /// One of an earlier run.
    Earlier(u32),
    /// The one that grows.
    Growing,
}

/// The tables of one file.
pub(in crate::symbolize) struct Tables {
    /// `None` for one that turned out to be damaged.
    earlier: Vec<Option<Segment>>,
    growing: Growing,
    /// Where what grows will be found by later runs.
    folder: Option<(CacheFolder, FileKey)>,
    ready: FxHashMap<u64, (Home, UnitTable)>,
    /// Bytes of `ready`.
    n_ready: usize,
    pieces: Pieces,
    was_damaged: bool,
}

impl Tables {
    /// The tables of the file with that key, if earlier runs have left some in `folder`. `ready_texts` is how many bytes of
    /// texts may be kept ready.
    pub(in crate::symbolize) fn open(
        folder: Option<(CacheFolder, FileKey)>,
        ready_texts: usize,
    ) -> Tables {
        let mut earlier = Vec::new();
        let mut medium = Medium::Memory(Vec::new());
        let mut kept = None;
        if let Some((folder, key)) = folder {
            earlier = folder.segments(&key).into_iter().map(Some).collect();
            if let Some(file) = folder.create() {
                medium = Medium::File { file, len: 0 };
                kept = Some((folder, key));
            }
        }
        Tables {
            earlier,
            growing: Growing::new(medium),
            folder: kept,
            ready: FxHashMap::default(),
            n_ready: 0,
            pieces: Pieces::new(ready_texts),
            was_damaged: false,
        }
    }

    /// Which units have code where, if an earlier run has left it. Taken once.
    pub(in crate::symbolize) fn take_ranges(&mut self) -> Option<Vec<UnitRange>> {
        let first = self.earlier.first_mut()?;
        first.as_mut().map(Segment::take_ranges)
    }

    /// What new tables are added to.
    pub(in crate::symbolize) fn growing(&self) -> &Growing {
        &self.growing
    }

    /// Whether the table of a unit is there.
    pub(in crate::symbolize) fn has(&self, unit: u64) -> bool {
        self.ready.contains_key(&unit)
            || self.growing.has_unit(unit)
            || self.sound().any(|(segment, _)| segment.has_unit(unit))
    }

    /// The segments of earlier runs that are not known to be damaged.
    fn sound(&self) -> impl Iterator<Item = (&Segment, u32)> {
        let earlier = self.earlier.iter().zip(0..);
        earlier.filter_map(|(segment, idx)| Some((segment.as_ref()?, idx)))
    }

    /// Asks nothing more of a segment that has a damaged part: what it had is made anew.
    fn distrust(&mut self, idx: u32) {
        if let Some(damaged) = self.earlier.get_mut(idx as usize).and_then(Option::take) {
            damaged.remove();
        }
        self.ready.clear();
        self.n_ready = 0;
        self.was_damaged = true;
    }

    /// Whether damage was found since this was last asked: then what was told is to be asked again.
    pub(in crate::symbolize) fn take_damaged(&mut self) -> bool {
        std::mem::take(&mut self.was_damaged)
    }

    /// The table of a unit, if it is there and not damaged.
    pub(in crate::symbolize) fn unit(&mut self, unit: u64) -> Option<(Home, &UnitTable)> {
        if !self.ready.contains_key(&unit) {
            let (home, table) = match self.load(unit) {
                Ok(loaded) => loaded?,
                Err(damaged) => {
                    self.distrust(damaged);
                    return None;
                }
            };
            if self.n_ready > READY_TABLES {
                self.ready.clear();
                self.n_ready = 0;
            }
            self.n_ready += table.memory();
            self.ready.insert(unit, (home, table));
        }
        let (home, table) = self.ready.get(&unit)?;
        Some((*home, table))
    }

    /// Calls `work` with the text of that number.
    pub(in crate::symbolize) fn with_text<T>(
        &mut self,
        home: Home,
        number: u32,
        work: impl FnOnce(Stored<'_>) -> T,
    ) -> Option<T> {
        let piece = texts::piece_of(number);
        let Tables {
            earlier,
            growing,
            pieces,
            ..
        } = self;
        if home == Home::Growing && growing.is_open(piece) {
            return growing.with_open(number, work);
        }
        let load = || match home {
            Home::Earlier(idx) => earlier.get(idx as usize)?.as_ref()?.piece(piece),
            Home::Growing => growing.piece(piece),
        };
        let loaded = pieces.at(home, piece, load);
        let text = loaded.and_then(|piece| texts::text_at(piece, number));
        match (text, home) {
            (Some(text), _) => Some(work(text)),
            (None, Home::Earlier(idx)) => {
                self.distrust(idx);
                None
            }
            (None, Home::Growing) => None,
        }
    }

    /// Bytes of memory held.
    pub(in crate::symbolize) fn memory(&self) -> usize {
        let earlier: usize = self.sound().map(|(segment, _)| segment.memory()).sum();
        earlier + self.growing.memory() + self.n_ready + self.pieces.n_bytes
    }

    /// Leaves what is new for later runs. What cannot be written is made again by the next run.
    pub(in crate::symbolize) fn keep(self, ranges: impl FnOnce() -> Vec<UnitRange>) {
        let Some((folder, key)) = self.folder else {
            return;
        };
        if let Ok(Some(Medium::File { file, .. })) = self.growing.complete(ranges()) {
            folder.keep(&file, &key);
        }
    }

    /// `Ok(None)` for a unit without code; the number of the segment if it is damaged.
    fn load(&self, unit: u64) -> Result<Option<(Home, UnitTable)>, u32> {
        if let Some(bytes) = self.growing.unit(unit) {
            return Ok(UnitTable::new(bytes).map(|table| (Home::Growing, table)));
        }
        let mut sound = self.sound();
        let Some((segment, idx)) = sound.find(|(segment, _)| segment.has_unit(unit)) else {
            return Ok(None);
        };
        let bytes = segment.unit(unit).ok_or(idx)?;
        Ok(UnitTable::new(bytes).map(|table| (Home::Earlier(idx), table)))
    }
}

/// Pieces of texts that were read last. A piece has one place it can be in, so that finding it is one comparison.
struct Pieces {
    slots: Vec<Option<(Home, u32, Vec<u8>)>>,
    n_bytes: usize,
}

impl Pieces {
    fn new(max_bytes: usize) -> Pieces {
        let n_slots = (max_bytes / texts::PIECE).max(1);
        Pieces {
            slots: (0..n_slots).map(|_| None).collect(),
            n_bytes: 0,
        }
    }

    fn at(
        &mut self,
        home: Home,
        piece: u32,
        load: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<&[u8]> {
        let place = piece as usize % self.slots.len();
        let slot = &mut self.slots[place];
        let is_there = |(of, number, _): &(Home, u32, Vec<u8>)| (*of, *number) == (home, piece);
        if !slot.as_ref().is_some_and(is_there) {
            let bytes = load()?;
            self.n_bytes += bytes.len();
            if let Some((_, _, before)) = slot.replace((home, piece, bytes)) {
                self.n_bytes -= before.len();
            }
        }
        slot.as_ref().map(|(_, _, bytes)| bytes.as_slice())
    }
}
