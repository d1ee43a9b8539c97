//! From an ELF file to a [`Table`]: which sections and segments a table is made from, and which files have the same.

use std::hash::{BuildHasher, RandomState};

use super::encoder::TableLimit;
use super::{CfiInput, CfiSection, CodeRange, Rule, Table};
use crate::arch::{Known, Machine};
use crate::object::go::{Bottom, GoTable};
use crate::object::{Elf, ElfError, LinkedAddress, Section, Segment};

/// Why a module has no table.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// More than the format can hold.
    #[error(transparent)]
    Limit(#[from] TableLimit),
    /// A section that is larger than its offsets are kept in.
    #[error("an unwind section of {0} bytes is too large")]
    SectionTooLarge(usize),
    /// A processor whose code perfd cannot unwind.
    #[error("perfd has no unwind rules for {0:?}")]
    Machine(Machine),
    /// A section cannot be read.
    #[error("read {name}")]
    Section {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: ElfError,
    },
}

impl Table {
    /// The table of a module. A file without unwind sections has an empty one: all its code takes frame pointer steps.
    pub fn build(elf: &Elf) -> Result<Table, BuildError> {
        TableInput::read(elf)?.build()
    }

    /// The table of the code page that the kernel maps into every process.
    pub fn build_vdso(elf: &Elf) -> Result<Table, BuildError> {
        TableInput::read_vdso(elf)?.build()
    }
}

/// What the table of a module is made from, read from its file.
pub struct TableInput {
    machine: Machine,
    eh_frame: Option<Section>,
    debug_frame: Option<Section>,
    code: Vec<CodeRange>,
    known: Vec<Known>,
}

/// What tells tables apart: a hash of everything that one is made from, known before it is built; or, of tables that somebody else has
/// built, of what is in them.
///
/// A build id would be the file's own word for it, and anybody can write another's into a file whose rows are wrong. Equal
/// fingerprints are as unlikely as that somebody guesses a 64-bit number, as long as the hash is one of `std` with its keys kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

#[cfg(test)]
impl Fingerprint {
    /// One that stands for itself.
    pub fn of_number(number: u64) -> Fingerprint {
        Fingerprint(number)
    }
}

impl Fingerprint {
    /// The same for tables, and only for tables, that are equal. `secret` must be one that no target can know.
    pub fn of_table(table: &Table, secret: &RandomState) -> Fingerprint {
        Fingerprint(secret.hash_one(table))
    }
}

impl TableInput {
    /// Of a module.
    pub fn read(elf: &Elf) -> Result<TableInput, BuildError> {
        let mut known = known(elf);
        // Go's linker writes no .eh_frame, and makes .debug_frame from its own table, which also knows where stacks begin.
        let debug_frame = match add_go(elf, &mut known) {
            GoCode::Added => None,
            GoCode::None => debug_frame(elf)?,
        };
        TableInput::with_known(elf, debug_frame, known)
    }

    /// Of the code page that the kernel maps into every process.
    pub fn read_vdso(elf: &Elf) -> Result<TableInput, BuildError> {
        let mut known = known(elf);
        if let Some(rule) = elf.machine().vdso_rule() {
            let code = elf
                .segments()
                .iter()
                .filter(|segment| segment.is_executable());
            let end = code
                .map(|segment| segment.file_offset.0 + segment.file_size)
                .max();
            let mut done = 0;
            let mut all = Vec::new();
            for found in known {
                all.extend([between(done, found.start, rule), found]);
                done = found.end;
            }
            all.push(between(done, end.unwrap_or(done), rule));
            known = all;
        }
        TableInput::with_known(elf, debug_frame(elf)?, known)
    }

    fn with_known(
        elf: &Elf,
        debug_frame: Option<Section>,
        known: Vec<Known>,
    ) -> Result<TableInput, BuildError> {
        if !elf.machine().is_known() {
            return Err(BuildError::Machine(elf.machine()));
        }
        let code: Vec<CodeRange> = elf
            .segments()
            .iter()
            .filter(|segment| segment.is_executable())
            .map(|segment| CodeRange {
                address: segment.address.0,
                file_offset: segment.file_offset.0,
                size: segment.file_size,
            })
            .collect();
        Ok(TableInput {
            machine: elf.machine(),
            eh_frame: section(elf, ".eh_frame")?,
            debug_frame,
            code,
            known,
        })
    }

    /// The same for files, and only for files, that have the same table. `secret` must be one that no target can know.
    pub fn fingerprint(&self, secret: &RandomState) -> Fingerprint {
        Fingerprint(secret.hash_one(self.cfi()))
    }

    /// Makes the table.
    pub fn build(&self) -> Result<Table, BuildError> {
        Table::from_cfi(&self.cfi())
    }

    fn cfi(&self) -> CfiInput<'_> {
        CfiInput {
            eh_frame: self.eh_frame.as_ref().map(borrow),
            debug_frame: self.debug_frame.as_ref().map(borrow),
            code: &self.code,
            machine: self.machine,
            known: &self.known,
        }
    }
}

fn between(start: u64, end: u64, rule: Rule) -> Known {
    Known { start, end, rule }
}

/// Modules with more code are not searched for what signal handlers return to: the kernel's vDSO and small libcs have it without rows.
const SMALL_CODE: u64 = 1 << 20;

/// What is known of code without rows, sorted. What cannot be read is not known.
fn known(elf: &Elf) -> Vec<Known> {
    let machine = elf.machine();
    let mut known: Vec<Known> = elf
        .entry()
        .map(|entry| Known::entry(entry.0))
        .into_iter()
        .collect();
    for name in [".plt", ".iplt", ".init", ".fini"] {
        if let Ok(Some(section)) = elf.section(name)
            && let Some(offset) = elf.file_offset(section.address)
        {
            let rules = match name {
                ".init" | ".fini" => machine.init_rules(&section.bytes),
                _ => machine.stub_rules(&section.bytes),
            };
            known.extend(rules.into_iter().map(|known| known.at(offset.0)));
        }
    }
    let is_small = |segment: &&Segment| segment.is_executable() && segment.file_size <= SMALL_CODE;
    for segment in elf.segments().iter().filter(is_small) {
        if let Ok(code) = elf.segment_bytes(segment) {
            let returns = machine.signal_returns(&code);
            known.extend(
                returns
                    .into_iter()
                    .map(|known| known.at(segment.file_offset.0)),
            );
        }
    }
    known.sort_by_key(|known| known.start);
    known
}

/// Runs of code with one size of frame that are taken from a Go program: more than there are in any.
const MAX_GO_RUNS: usize = 8 << 20;

/// Whether a file has code of Go's.
enum GoCode {
    Added,
    None,
}

/// Adds what Go's own table says of the frames of Go's code. `known` stays sorted, and is disjoint.
fn add_go(elf: &Elf, known: &mut Vec<Known>) -> GoCode {
    let runs = GoTable::open(elf).map(|mut table| table.frame_runs(MAX_GO_RUNS));
    let Some(runs) = runs.filter(|runs| !runs.is_empty()) else {
        return GoCode::None;
    };
    let machine = elf.machine();
    known.extend(runs.into_iter().filter_map(|run| {
        let start = elf.file_offset(LinkedAddress(run.start))?.0;
        let end = start.saturating_add(run.end - run.start);
        let rule = match run.bottom {
            Bottom::Yes => Rule::END,
            Bottom::No => machine.go_rule(run.size),
        };
        Some(between(start, end, rule))
    }));
    // The entry has no caller, whatever the table says of it; it ends where the next function begins.
    known.sort_by_key(|known| known.start);
    known.dedup_by_key(|known| known.start);
    for idx in 1..known.len() {
        let next = known[idx].start;
        known[idx - 1].end = known[idx - 1].end.min(next);
    }
    GoCode::Added
}

/// What it adds to `.eh_frame` is little: where there is that, a damaged one does no harm.
fn debug_frame(elf: &Elf) -> Result<Option<Section>, BuildError> {
    match section(elf, ".debug_frame") {
        Err(error) if elf.section_address(".eh_frame").is_none() => Err(error),
        other => Ok(other.unwrap_or_default()),
    }
}

fn section(elf: &Elf, name: &'static str) -> Result<Option<Section>, BuildError> {
    elf.section(name)
        .map_err(|source| BuildError::Section { name, source })
}

fn borrow(section: &Section) -> CfiSection<'_> {
    CfiSection {
        address: section.address.0,
        bytes: &section.bytes,
    }
}
