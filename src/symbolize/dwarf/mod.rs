//! Names, inlined calls and lines from DWARF, unit by unit.
//!
//! ```text
//! address ─▶ index ─▶ unit ─▶ table of the unit ─▶ functions, innermost first
//!            first    entries  made when it is first asked for, kept in a store
//!            entries  + lines  that the next run finds again
//! ```
//!
//! gimli decodes entries, range lists and line programs. What it has no way to do is done here: sections of gigabytes are read through
//! windows, and what is learnt of a unit is kept in a form that is a thousand times faster to ask. addr2line, which asks the
//! entries themselves each time, is what the tests compare with.

mod abbreviations;
mod forms;
mod header;
mod index;
mod lines;
mod names;
mod ranges;
mod root;
mod sections;
mod split;
mod unit;
mod window;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use index::Index;
use root::Root;
use sections::{Part, Sections, Sources};
use split::{Package, SplitUnit};
use unit::UnitReader;

use super::confine::confined;
use super::functions::{Functions, Kept, KeptName, Place, Wanted};
use super::store::{CacheFolder, FileKey, Home, Stored, Tables};
use super::table::{self, Found};
use super::{Corrupt, Job, NameSource};
use crate::object::{Elf, LinkedAddress};

/// Finds the file of a split unit, by the unit's directory and the file's name.
pub(super) type FindSplit = dyn Fn(&[u8], &[u8]) -> Option<Elf> + Send + Sync;

/// The files that a module's DWARF is in, and where its code is.
pub(super) struct Files<'a> {
    /// The file that has `.debug_info`.
    pub(super) main: &'a Elf,
    /// The one that its `.gnu_debugaltlink` names.
    pub(super) alternate: Option<&'a Elf>,
    /// The package of its split units.
    pub(super) package: Option<&'a Elf>,
    /// Single files of split units.
    pub(super) find_split: Box<FindSplit>,
    /// Addresses of code.
    pub(super) code: Range<u64>,
}

/// Where tables are kept from run to run, and how much of them in memory.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    pub(super) folder: Option<(CacheFolder, FileKey)>,
    /// Bytes of names that are kept ready.
    pub(super) ready_texts: usize,
    /// Bytes that sections which have to be decompressed may take.
    pub(super) max_loaded: usize,
}

/// The DWARF of one file.
pub(super) struct Dwarf {
    sources: Sources,
    alternate: Option<Sources>,
    splits: Splits,
    code: Range<u64>,
    tables: Tables,
    index: Option<Index>,
    reader: Option<UnitReader>,
    is_corrupt: AtomicBool,
    /// Buffers of a question.
    units: Vec<u64>,
    found: Vec<Found>,
}

/// Units whose tables are to be made.
struct Queue {
    units: Vec<u64>,
    next: AtomicUsize,
}

impl Queue {
    /// Some that lie side by side: a reader's windows then have what comes next.
    fn next(&self) -> Option<&[u64]> {
        let from = self.next.fetch_add(AT_ONCE, Relaxed);
        let rest = self.units.get(from..)?;
        (!rest.is_empty()).then(|| &rest[..rest.len().min(AT_ONCE)])
    }
}

/// Units that a thread takes out of a queue at once.
const AT_ONCE: usize = 8;

/// Where split units are.
struct Splits {
    package: Option<Package>,
    find: Box<FindSplit>,
    max_loaded: usize,
}

impl Splits {
    fn unit(&self, skeleton: &Root) -> Option<SplitUnit> {
        let id = skeleton.split_id;
        if let (Some(package), Some(id)) = (&self.package, id)
            && let Some(unit) = package.unit(id)
        {
            return Some(unit);
        }
        let file = skeleton.split_file.as_ref()?;
        let elf = (self.find)(&skeleton.directory, file)?;
        SplitUnit::in_file(&elf, id, self.max_loaded)
    }
}

impl Dwarf {
    /// Opens the sections; `None` if there are none, or what is compressed of them is too large.
    pub(super) fn open(files: Files<'_>, keeping: Keeping) -> Result<Option<Dwarf>, Corrupt> {
        let max_loaded = keeping.max_loaded;
        let Some(sources) = Sources::open(files.main, Part::Whole, max_loaded)? else {
            return Ok(None);
        };
        let alternate = match files.alternate {
            Some(elf) => Sources::open(elf, Part::Whole, max_loaded)?,
            None => None,
        };
        Ok(Some(Dwarf {
            sources,
            alternate,
            splits: Splits {
                package: files.package.and_then(|elf| Package::open(elf, max_loaded)),
                find: files.find_split,
                max_loaded,
            },
            code: files.code,
            tables: Tables::open(keeping.folder, keeping.ready_texts),
            index: None,
            reader: None,
            is_corrupt: AtomicBool::new(false),
            units: Vec::new(),
            found: Vec::new(),
        }))
    }

    /// Leaves for later runs what this one has learnt.
    pub(super) fn keep(self) {
        let index = self.index.unwrap_or_default();
        self.tables.keep(|| index.into_ranges());
    }

    /// Work that can be done by `n_jobs` threads at a time: the tables of units that these addresses are in and that are not there yet.
    pub(super) fn jobs(
        &mut self,
        addresses: &[LinkedAddress],
        n_jobs: usize,
    ) -> Result<Vec<Job<'_>>, Corrupt> {
        let index = self.index()?;
        let mut units: Vec<u64> = addresses
            .iter()
            .filter_map(|address| index.units_at(address.0).next())
            .collect();
        units.sort_unstable();
        units.dedup();
        units.retain(|unit| !self.tables.has(*unit));
        if units.len() < 2 {
            return Ok(Vec::new());
        }
        let queue = Arc::new(Queue {
            units,
            next: AtomicUsize::new(0),
        });
        let this = &*self;
        let job = |queue: Arc<Queue>| -> Job<'_> {
            Box::new(move || {
                let mut reader = this.reader();
                while let Some(units) = queue.next() {
                    for unit in units {
                        // What has grown too large is given back before more is made.
                        if this.tables.growing().memory() > this.splits.max_loaded {
                            return;
                        }
                        if this.is_corrupt.load(Relaxed) || this.make(&mut reader, *unit).is_err() {
                            return;
                        }
                    }
                }
            })
        };
        Ok((0..n_jobs).map(|_| job(Arc::clone(&queue))).collect())
    }

    fn index(&mut self) -> Result<&Index, Corrupt> {
        if self.index.is_none() {
            let index = match self
                .tables
                .take_ranges()
                .filter(|ranges| !ranges.is_empty())
            {
                Some(ranges) => Index::new(ranges),
                None => {
                    let mut sections = Sections::new(&self.sources);
                    confined(|| Index::read(&mut sections, &self.code)).map_err(|_| Corrupt)??
                }
            };
            self.index = Some(index);
        }
        self.index.as_ref().ok_or(Corrupt)
    }

    fn reader(&self) -> UnitReader {
        UnitReader::new(&self.sources, self.alternate.as_ref(), self.code.clone())
    }

    /// Makes the table of a unit.
    fn make(&self, reader: &mut UnitReader, unit: u64) -> Result<(), Corrupt> {
        let growing = self.tables.growing();
        let made = confined(|| reader.table(unit, growing, &|root| self.splits.unit(root)));
        match made {
            Ok(Ok(table)) => {
                growing.add_unit(unit, &table.unwrap_or_default());
                Ok(())
            }
            _ => {
                self.is_corrupt.store(true, Relaxed);
                Err(Corrupt)
            }
        }
    }

    /// Makes the table of a unit if it is not there.
    fn need(&mut self, unit: u64) -> Result<(), Corrupt> {
        if self.tables.has(unit) {
            return Ok(());
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.reader(),
        };
        let made = self.make(&mut reader, unit);
        self.reader = Some(reader);
        made
    }

    /// Asks again where what an earlier run has left turned out to be damaged, of which there is less each time.
    fn ask(
        &mut self,
        address: LinkedAddress,
        wanted: Wanted,
        functions: &mut Functions,
    ) -> Result<(), Corrupt> {
        loop {
            self.ask_once(address, wanted, functions)?;
            if !self.tables.take_damaged() {
                return Ok(());
            }
            functions.clear();
        }
    }

    fn ask_once(
        &mut self,
        address: LinkedAddress,
        wanted: Wanted,
        functions: &mut Functions,
    ) -> Result<(), Corrupt> {
        let mut units = std::mem::take(&mut self.units);
        units.clear();
        units.extend(self.index()?.units_at(address.0));
        for unit in &units {
            self.need(*unit)?;
            self.found.clear();
            let Some((home, table)) = self.tables.unit(*unit) else {
                continue;
            };
            table.functions(address.0, &mut self.found);
            if self.found.is_empty() {
                continue;
            }
            for found in &self.found {
                push(&mut self.tables, home, found, wanted, functions);
            }
            break;
        }
        self.units = units;
        Ok(())
    }
}

/// Copies a function with its texts out of the tables.
fn push(tables: &mut Tables, home: Home, found: &Found, wanted: Wanted, functions: &mut Functions) {
    let mut linkage = None;
    let mut name = found.name.and_then(|number| {
        let kept = tables.with_text(home, number, |stored| {
            linkage = stored.linkage.filter(|_| wanted.linkage);
            let shown = std::str::from_utf8(stored.text).ok()?;
            Some(KeptName {
                shown: functions.keep_shown(shown),
                linkage: None,
                is_bare: stored.flags.is_bare,
            })
        });
        kept.flatten()
    });
    if let (Some(name), Some(number)) = (&mut name, linkage) {
        name.linkage = tables.with_text(home, number, |stored| functions.keep_bytes(stored.text));
    }
    let place = found.place.filter(|_| wanted.places).and_then(|place| {
        let keep = |stored: Stored<'_>| functions.keep_bytes(stored.text);
        let file = tables.with_text(home, place.file, keep)?;
        Some((file, place.line))
    });
    functions.push_kept(Kept {
        name,
        place,
        is_inlined: found.is_inlined,
    });
}

impl NameSource for Dwarf {
    fn functions(
        &mut self,
        address: LinkedAddress,
        wanted: Wanted,
        functions: &mut Functions,
    ) -> Result<(), Corrupt> {
        self.ask(address, wanted, functions)
    }

    fn place(&mut self, address: LinkedAddress, functions: &mut Functions) {
        let Some(index) = &self.index else { return };
        let units: Vec<u64> = index.units_at(address.0).collect();
        for unit in units {
            let Some((home, table)) = self.tables.unit(unit) else {
                continue;
            };
            if let Some(table::Place { file, line }) = table.place(address.0) {
                self.tables.with_text(home, file, |stored| {
                    let file = stored.text;
                    functions.place_innermost(Place { file, line });
                });
                return;
            }
        }
    }

    fn is_empty(&mut self) -> bool {
        false
    }

    fn memory(&self) -> usize {
        let index = self.index.as_ref().map_or(0, Index::memory);
        let loaded = |sources: &Sources| sources.n_loaded;
        self.tables.memory()
            + index
            + loaded(&self.sources)
            + self.alternate.as_ref().map_or(0, loaded)
    }
}
