//! The table itself: the header, and the functions by address.

use super::super::Elf;
use super::locate;
use super::memory::Memory;
use super::module_data::{self, ModuleData};
use super::values::Values;

/// More functions than any program has; kubelet has a hundred thousand.
const MAX_FUNCTIONS: u64 = 1 << 24;

/// What changed from one Go to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V12,
    V116,
    V118,
    V120,
}

/// A file's table, read as it is asked.
pub struct GoTable {
    pub(super) memory: Memory,
    pub(super) layout: Layout,
}

/// Where the parts of the table are; all by linked address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) version: Version,
    /// Bytes of the smallest instruction.
    pub(super) quantum: u64,
    /// Bytes of a pointer.
    pub(super) width: u64,
    n_functions: u64,
    /// What entries count from; 0 where they are addresses.
    text: u64,
    pub(super) names: u64,
    /// Files of each compilation unit; before Go 1.16 of all.
    units: u64,
    files: u64,
    pub(super) values: u64,
    /// Records of functions; offsets count from here.
    functions: u64,
    /// The functions' entries, sorted, each with the offset of its record; one more entry is their end.
    index: u64,
    /// What offsets of function data count from, if that is known; 0 where they are addresses.
    pub(super) function_data: Option<u64>,
}

/// A function of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Address of its record.
    record: u64,
    /// First byte of its code.
    pub(super) entry: u64,
    /// Behind its last byte.
    pub(super) end: u64,
}

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path of the file as the compiler was given it.
    pub file: Vec<u8>,
    /// Line, from 1 on.
    pub line: u32,
}

impl GoTable {
    /// The table of `elf`; `None` if it has none that can be read.
    pub fn open(elf: &Elf) -> Option<GoTable> {
        let image = elf.image();
        let candidates = locate::candidates(elf, &image);
        let mut memory = Memory::new(image);
        let layout = candidates.into_iter().find_map(|header| {
            Layout::read(&mut memory, header, |memory, known| {
                module_data::find(elf, memory, known)
            })
        })?;
        Some(GoTable { memory, layout })
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        size_of::<GoTable>() + self.memory.held()
    }

    /// How large frames are in all code that the table knows, in order, as far as `max_runs` runs of it.
    pub fn frame_runs(&mut self, max_runs: usize) -> Vec<FrameRun> {
        let mut runs: Vec<FrameRun> = Vec::new();
        // Each function costs something, and each run of its list, which many functions may share: in a table that is one, most of them
        // give a run.
        let mut left = max_runs.saturating_mul(4);
        for idx in 0..self.layout.n_functions {
            left = left.saturating_sub(1);
            if left == 0 {
                break;
            }
            let Some(function) = self.layout.function(&mut self.memory, idx) else {
                continue;
            };
            let Some(sizes) = self.values_of(&function, Field::FrameSize) else {
                continue;
            };
            let name = self.name_of(&function).unwrap_or_default();
            let bottom = match BOTTOMS.contains(&name.as_slice()) {
                true => Bottom::Yes,
                false => Bottom::No,
            };
            sizes.each(&mut self.memory, |start, end, size| {
                left = left.saturating_sub(1);
                let Ok(size) = u32::try_from(size) else {
                    return false;
                };
                let is_behind = runs.last().is_none_or(|last| last.end <= start);
                if is_behind && start < end {
                    runs.push(FrameRun {
                        start,
                        end,
                        size,
                        bottom,
                    });
                }
                runs.len() < max_runs && left > 0
            });
            if runs.len() >= max_runs {
                break;
            }
        }
        runs
    }

    /// The function that holds `address`.
    pub(super) fn function_at(&mut self, address: u64) -> Option<Function> {
        let (layout, memory) = (self.layout, &mut self.memory);
        let (mut low, mut high) = (0, layout.n_functions);
        while low < high {
            let middle = low.midpoint(high);
            match layout.entry(memory, middle)? <= address {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let function = layout.function(memory, low.checked_sub(1)?)?;
        (function.entry..function.end)
            .contains(&address)
            .then_some(function)
    }

    /// The name at an offset among names; `None` unless one begins there.
    pub(super) fn name(&mut self, offset: u32) -> Option<Vec<u8>> {
        let at = self.layout.names.checked_add(u64::from(offset))?;
        let begins = match (self.layout.version, offset) {
            // Names stand among everything else.
            (Version::V12, 0) => false,
            (_, 0) => true,
            _ => self.memory.u8(at - 1)? == 0,
        };
        let name = self.memory.string(at).filter(|name| !name.is_empty())?;
        begins.then_some(name)
    }

    /// The name of a function.
    pub(super) fn name_of(&mut self, function: &Function) -> Option<Vec<u8>> {
        let offset = self.field(function, Field::Name)?;
        self.name(offset)
    }

    /// The line that the instruction at `address` of `function` was made from.
    pub(super) fn place(&mut self, function: &Function, address: u64) -> Option<Place> {
        let lines = self.values_of(function, Field::Lines)?;
        let line = lines.at(&mut self.memory, address)?;
        let files = self.values_of(function, Field::Files)?;
        let file = files.at(&mut self.memory, address)?;
        let layout = self.layout;
        let slot = match layout.version {
            Version::V12 => u64::from(u32::try_from(file).ok().filter(|file| *file > 0)?),
            _ => {
                let unit = self.field(function, Field::Unit)?;
                u64::from(unit) + u64::from(u32::try_from(file).ok()?)
            }
        };
        let offset = self.memory.u32(layout.units.checked_add(4 * slot)?)?;
        if offset == u32::MAX {
            return None;
        }
        let file = layout.files.checked_add(u64::from(offset))?;
        Some(Place {
            file: self.memory.string(file).filter(|file| !file.is_empty())?,
            line: u32::try_from(line).ok().filter(|line| *line > 0)?,
        })
    }

    /// A function's list of numbers, if it has it.
    pub(super) fn values_of(&mut self, function: &Function, field: Field) -> Option<Values> {
        let offset = self.field(function, field)?;
        self.values(function, offset)
    }

    /// The list at an offset among lists.
    pub(super) fn values(&self, function: &Function, offset: u32) -> Option<Values> {
        if offset == 0 {
            return None;
        }
        Some(Values {
            list: self.layout.values.checked_add(u64::from(offset))?,
            entry: function.entry,
            end: function.end,
            quantum: self.layout.quantum,
        })
    }

    /// A word of a function's record.
    pub(super) fn field(&mut self, function: &Function, field: Field) -> Option<u32> {
        let at = function.record.checked_add(self.layout.offset(field))?;
        self.memory.u32(at)
    }

    /// The address behind the fixed part of a function's record.
    pub(super) fn behind(&self, function: &Function) -> Option<u64> {
        let fixed = self.layout.offset(Field::Counts) + 4;
        function.record.checked_add(fixed)
    }
}

/// A run of code in which the frame has one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRun {
    /// Linked address of its first byte.
    pub start: u64,
    /// Behind its last one.
    pub end: u64,
    /// Bytes by which the stack pointer is below its value at the function's entry.
    pub size: u32,
    /// Whether the stack begins here.
    pub bottom: Bottom,
}

/// Whether a function is the first of its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottom {
    /// It is: what lies above its frame is no return address.
    Yes,
    /// It was called.
    No,
}

/// What a goroutine or a thread begins with, and functions that go over to the thread's own stack before they call: there
/// their frame is the first one, above what an earlier call has left.
const BOTTOMS: [&[u8]; 7] = [
    b"runtime.goexit",
    b"runtime.mstart",
    b"runtime.rt0_go",
    b"runtime.systemstack",
    b"runtime.mcall",
    b"runtime.morestack",
    b"runtime.asmcgocall",
];

/// The words of a function's record that are read, `_func` of `runtime/runtime2.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    FrameSize,
    Files,
    Lines,
    /// Number of tables that follow the record.
    NTables,
    /// The compilation unit's first slot among files; from Go 1.16 on.
    Unit,
    /// Four bytes, the last of which is the number of function data.
    Counts,
}

impl Layout {
    fn read(
        memory: &mut Memory,
        header: u64,
        find: impl FnOnce(&mut Memory, &module_data::Known) -> Option<ModuleData>,
    ) -> Option<Layout> {
        let version = match memory.u32(header)? {
            0xffff_fffb => Version::V12,
            0xffff_fffa => Version::V116,
            0xffff_fff0 => Version::V118,
            0xffff_fff1 => Version::V120,
            _ => return None,
        };
        let [zeros, quantum, width] = [4, 6, 7].map(|at| memory.u8(header.saturating_add(at)));
        let (quantum, width) = (u64::from(quantum?), u64::from(width?));
        if zeros? != 0 || !matches!(quantum, 1 | 2 | 4) || !matches!(width, 4 | 8) {
            return None;
        }
        let mut word = |idx: u64| memory.pointer(header.checked_add(8 + idx * width)?, width);
        let n_functions = word(0).filter(|n| *n <= MAX_FUNCTIONS)?;
        let layout = Layout {
            version,
            quantum,
            width,
            n_functions,
            text: 0,
            names: header,
            units: header,
            files: header,
            values: header,
            functions: header,
            index: header.checked_add(8 + width)?,
            function_data: None,
        };
        if version == Version::V12 {
            let files = layout.index.checked_add((2 * n_functions + 1) * width)?;
            let units = header.checked_add(u64::from(memory.u32(files)?))?;
            return Some(Layout { units, ..layout });
        }
        let first = if version == Version::V116 { 2 } else { 3 };
        let mut part = |idx: u64| header.checked_add(word(first + idx)?);
        let layout = Layout {
            names: part(0)?,
            units: part(1)?,
            files: part(2)?,
            values: part(3)?,
            functions: part(4)?,
            index: part(4)?,
            ..layout
        };
        if version == Version::V116 {
            let function_data = Some(0);
            return Some(Layout {
                function_data,
                ..layout
            });
        }
        let text = word(2)?;
        let known = module_data::Known {
            header,
            names: layout.names,
            units: layout.units,
            width,
            is_120: version == Version::V120,
        };
        let module_data = find(memory, &known);
        // A linker may leave the header's word to the loader.
        let text = match (text, module_data) {
            (0, found) => found?.text,
            (text, _) => text,
        };
        Some(Layout {
            text,
            function_data: module_data.map(|found| found.function_data),
            ..layout
        })
    }

    /// Bytes of a number in the index, and of the entry in a record.
    fn index_width(&self) -> u64 {
        match self.version {
            Version::V12 | Version::V116 => self.width,
            Version::V118 | Version::V120 => 4,
        }
    }

    /// Where the function with this number begins; with the number behind the last one, where that ends.
    fn entry(&self, memory: &mut Memory, idx: u64) -> Option<u64> {
        let width = self.index_width();
        let at = self.index.checked_add(2 * idx * width)?;
        self.text.checked_add(memory.pointer(at, width)?)
    }

    /// The function with this number; `None` if its record does not agree with the index.
    fn function(&self, memory: &mut Memory, idx: u64) -> Option<Function> {
        let width = self.index_width();
        let (entry, end) = (self.entry(memory, idx)?, self.entry(memory, idx + 1)?);
        let offset = memory.pointer(self.index.checked_add((2 * idx + 1) * width)?, width)?;
        let record = self.functions.checked_add(offset)?;
        let own = self.text.checked_add(memory.pointer(record, width)?)?;
        (own == entry && entry < end).then_some(Function { record, entry, end })
    }

    fn offset(&self, field: Field) -> u64 {
        let behind_entry = match field {
            Field::Name => 0,
            Field::FrameSize => 12,
            Field::Files => 16,
            Field::Lines => 20,
            Field::NTables => 24,
            Field::Unit => 28,
            // Go 1.20 put the function's first line before it.
            Field::Counts if self.version >= Version::V120 => 36,
            Field::Counts => 32,
        };
        self.index_width() + behind_entry
    }
}
