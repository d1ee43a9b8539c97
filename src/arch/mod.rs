//! What only one processor knows: `x86_64/` and `aarch64/`, with the same files. Nothing else in perfd asks which one it is.
//!
//! - `calls.rs`: numbers by which filters of system calls go
//! - `registers.rs`: the user registers that samples carry, and how frames lie on the stack
//! - `rows.rs`: what rows of DWARF call frame information mean, and the code that has none and could have
//! - `init.rs`: the code that a library begins and ends with
//! - `jumps.rs`: where jumps lead to
//! - `plt.rs`: the stubs through which calls leave a module
//!
//! What files hold follows the file's own [`Machine`], so that either kind is read and tested on either. What samples
//! hold follows `host`, the processor perfd was built for.

pub mod aarch64;
mod expression;
pub mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::{calls as host_calls, registers as host};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{calls as host_calls, registers as host};

use gimli::{EndianSlice, LittleEndian, UnwindContextStorage, UnwindSection, UnwindTableRow};
use object::elf;

use crate::model::Rule;

/// The instruction set a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// x86, 64 bits.
    X86_64,
    /// Arm, 64 bits.
    Aarch64,
    /// Anything else, by its `e_machine`.
    Other(u16),
}

impl From<u16> for Machine {
    fn from(e_machine: u16) -> Machine {
        match e_machine {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            other => Machine::Other(other),
        }
    }
}

/// Whether rules say where the base register is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// No: fewer rules, fewer rows.
    Ignored,
    /// Yes: some CFA of the module is based on it.
    Followed,
}

/// Where a stub finds the function that it jumps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StubTarget {
    /// In the slot at this linked address.
    Slot(u64),
    /// In the slot of the relocation with this index in `.rela.plt`.
    Index(u32),
}

/// A stub of a procedure linkage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Linked address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Where it jumps to.
    pub target: StubTarget,
}

/// A run of code that no row covers, and whose rule is known all the same. Offsets are from the start of the bytes that it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// First byte.
    pub start: u64,
    /// Behind the last one.
    pub end: u64,
    /// What holds there.
    pub rule: Rule,
}

/// Bytes that the code at the entry point is taken to have at most, where no function begins earlier. A loader's has some 70, a
/// program's 40; in a file whose rows are damaged, what lies behind it must not pass for a root.
const LONGEST_ENTRY: u64 = 96;

impl Known {
    /// The code that a process begins at (`e_entry`): nothing below it is ever returned to, so that it has no caller.
    /// The loader's `_start`, and those of many libcs, are written by hand, without call frame information.
    pub fn entry(start: u64) -> Known {
        Known {
            start,
            end: start.saturating_add(LONGEST_ENTRY),
            rule: Rule::END,
        }
    }

    /// The same, with what it was found in at `offset` of the file.
    pub fn at(self, offset: u64) -> Known {
        Known {
            start: self.start.saturating_add(offset),
            end: self.end.saturating_add(offset),
            ..self
        }
    }
}

impl Machine {
    /// Whether perfd can unwind its code.
    pub fn is_known(self) -> bool {
        !matches!(self, Machine::Other(_))
    }

    /// Who gave meaning to the opcodes that DWARF leaves to vendors.
    pub fn vendor(self) -> gimli::Vendor {
        match self {
            Machine::Aarch64 => gimli::Vendor::AArch64,
            Machine::X86_64 | Machine::Other(_) => gimli::Vendor::Default,
        }
    }

    /// The rule that a row of `section` means.
    pub fn rule<'a, S, R>(self, section: &S, row: &UnwindTableRow<usize, R>, base: Base) -> Rule
    where
        S: UnwindSection<EndianSlice<'a, LittleEndian>>,
        R: UnwindContextStorage<usize>,
    {
        match self {
            Machine::X86_64 => x86_64::rows::rule(section, row, base),
            Machine::Aarch64 => aarch64::rows::rule(section, row),
            Machine::Other(_) => Rule::UNSUPPORTED,
        }
    }

    /// The code that a signal handler returns to, wherever it stands in `code`: some libcs and kernels write it without rows.
    pub fn signal_returns(self, code: &[u8]) -> Vec<Known> {
        let (pattern, rule): (&[u8], Rule) = match self {
            Machine::X86_64 => (&x86_64::rows::SIGNAL_RETURN, x86_64::rows::SIGNAL_FRAME),
            Machine::Aarch64 => (&aarch64::rows::SIGNAL_RETURN, aarch64::rows::SIGNAL_FRAME),
            Machine::Other(_) => return Vec::new(),
        };
        let places = code.windows(pattern.len()).enumerate();
        places
            .filter(|(_, bytes)| *bytes == pattern)
            .map(|(start, _)| Known {
                // The handler's return address is its first byte, which is looked up one byte before; in the system call
                // that it ends with, the address is the one behind it.
                start: (start as u64).saturating_sub(1),
                end: (start + pattern.len() + 1) as u64,
                rule,
            })
            .collect()
    }

    /// What holds in the vDSO where it has no rows: on aarch64 its functions call nothing and keep nothing on the stack.
    pub fn vdso_rule(self) -> Option<Rule> {
        (self == Machine::Aarch64).then_some(aarch64::rows::LEAF)
    }

    /// The rules of a procedure linkage table, where linkers write no rows for it.
    pub fn stub_rules(self, code: &[u8]) -> Vec<Known> {
        match self {
            Machine::Aarch64 => aarch64::plt::rules(code),
            Machine::X86_64 | Machine::Other(_) => Vec::new(),
        }
    }

    /// The rules of `.init` and `.fini`, where every loaded library begins and ends: written by hand, in most libcs without rows.
    pub fn init_rules(self, code: &[u8]) -> Vec<Known> {
        match self {
            Machine::X86_64 => x86_64::init::rules(code),
            Machine::Aarch64 => aarch64::init::rules(code),
            Machine::Other(_) => Vec::new(),
        }
    }

    /// The rule of Go's code where the stack pointer is `frame_size` bytes below its value at the function's entry, as Go's own
    /// table says. Frame pointers are of no use to such rules, and not followed.
    pub fn go_rule(self, frame_size: u32) -> Rule {
        let Ok(frame_size) = i32::try_from(frame_size) else {
            return Rule::UNSUPPORTED;
        };
        match self {
            Machine::X86_64 => x86_64::rows::go_rule(frame_size),
            Machine::Aarch64 => aarch64::rows::go_rule(frame_size),
            Machine::Other(_) => Rule::UNSUPPORTED,
        }
    }

    /// Visits where the jumps in code that is linked for `address` lead to; some that are visited may be none.
    pub fn visit_jumps(self, code: &[u8], address: u64, visit: impl FnMut(u64)) {
        match self {
            Machine::X86_64 => x86_64::jumps::targets(code, address, visit),
            Machine::Aarch64 => aarch64::jumps::targets(code, address, visit),
            Machine::Other(_) => (),
        }
    }

    /// The stubs of a section of that name, linked for `address`.
    pub fn stubs(self, name: &str, code: &[u8], address: u64) -> Vec<Stub> {
        match self {
            Machine::X86_64 => x86_64::plt::stubs(code, address),
            Machine::Aarch64 if name == ".plt" => aarch64::plt::stubs(code, address),
            Machine::Aarch64 | Machine::Other(_) => Vec::new(),
        }
    }

    /// Whether a relocation of this type fills a slot that stubs jump through.
    pub fn is_slot(self, relocation: u32) -> bool {
        match self {
            Machine::X86_64 => {
                matches!(relocation, elf::R_X86_64_GLOB_DAT | elf::R_X86_64_JUMP_SLOT)
            }
            Machine::Aarch64 => {
                matches!(
                    relocation,
                    elf::R_AARCH64_GLOB_DAT | elf::R_AARCH64_JUMP_SLOT
                )
            }
            Machine::Other(_) => false,
        }
    }

    /// Whether assemblers mark code and data by symbols (`$x`, `$d`), which are no names.
    pub fn has_mapping_symbols(self) -> bool {
        self != Machine::X86_64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signal_handlers_return_to_is_found_wherever_it_stands() {
        let nop = 0xd503_201fu32.to_le_bytes();
        let code = [&nop, &nop, &aarch64::rows::SIGNAL_RETURN[..], &nop].concat();
        let found = Machine::Aarch64.signal_returns(&code);
        let places: Vec<_> = found.iter().map(|known| (known.start, known.end)).collect();
        assert_eq!(places, [(7, 17)]);
        assert!(found[0].rule.is_signal());
        assert!(Machine::X86_64.signal_returns(&code).is_empty());
        assert!(Machine::Other(0).signal_returns(&code).is_empty());
    }
}
