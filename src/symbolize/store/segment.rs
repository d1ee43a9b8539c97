//! A file of tables from an earlier run.

use std::fs::File;

use super::directory::{Directory, UnitRange};
use super::folder::Place;
use super::medium::Medium;

/// A complete file.
pub(super) struct Segment {
    place: Place,
    medium: Medium,
    directory: Directory,
}

impl Segment {
    /// Opens a file; `None` if it is not complete: it is taken away then.
    pub(super) fn open(place: Place, file: File) -> Option<Segment> {
        let len = file.metadata().ok()?.len();
        let medium = Medium::File { file, len };
        let Some(directory) = Directory::read(&medium, len) else {
            place.remove();
            return None;
        };
        Some(Segment {
            place,
            medium,
            directory,
        })
    }

    /// Takes away a file that turned out to be damaged: the next run is to make it anew.
    pub(super) fn remove(&self) {
        self.place.remove();
    }

    /// Whether the table of a unit is in it.
    pub(super) fn has_unit(&self, unit: u64) -> bool {
        self.find(unit).is_some()
    }

    /// The table of a unit.
    pub(super) fn unit(&self, unit: u64) -> Option<Vec<u8>> {
        let (_, extent) = self.directory.units.get(self.find(unit)?)?;
        extent.read(&self.medium)
    }

    /// A piece of texts.
    pub(super) fn piece(&self, number: u32) -> Option<Vec<u8>> {
        let extent = self.directory.pieces.get(number as usize)?;
        extent.read(&self.medium)
    }

    /// Which units have code where.
    pub(super) fn take_ranges(&mut self) -> Vec<UnitRange> {
        std::mem::take(&mut self.directory.ranges)
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.directory.units.capacity() * 24 + self.directory.pieces.capacity() * 16
    }

    fn find(&self, unit: u64) -> Option<usize> {
        let units = &self.directory.units;
        units.binary_search_by_key(&unit, |(known, _)| *known).ok()
    }
}
