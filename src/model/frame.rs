//! Frames before and after naming, and why a walk or a name search ended.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{FileOffset, ModuleId};

/// How an address came to be on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// The instruction that was about to run: the sampled one, or one that a signal interrupted.
    Interrupted,
    /// The instruction behind a call: its caller is the instruction before.
    Return,
}

/// One frame of a stack: a place in a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// The module.
    pub module: ModuleId,
    /// Interrupted or return address.
    pub kind: AddressKind,
    /// The address itself, as it was on the stack.
    pub offset: FileOffset,
}

impl Frame {
    /// The place to look a name or a row up at: a return address belongs to the call before it, which may be
    /// the last instruction of its function.
    pub fn lookup(self) -> FileOffset {
        match self.kind {
            AddressKind::Interrupted => self.offset,
            AddressKind::Return => FileOffset(self.offset.0.saturating_sub(1)),
        }
    }
}

/// Why the walk of a user stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// At the outermost frame: nothing is missing.
    Root,
    /// There is no user stack: a kernel thread, or `--call-graph none`.
    NoUserStack,
    /// The copied part of the stack was too short.
    CopyTooShort,
    /// The stack went on where the kernel could not copy: a page of it was not in memory.
    NotInMemory,
    /// The limit on the number of frames was reached.
    DepthLimit,
    /// A return address outside of all executable mappings.
    Unmapped,
    /// Code without an unwind row, and its frame pointer does not lead on.
    NoRow,
    /// An unwind row that perfd cannot evaluate.
    UnsupportedRow,
    /// A row or frame pointer that led to an impossible frame (not above the last one, or not aligned).
    BadFrame,
    /// The row needs a register that the sample does not have.
    NoRegister,
}

impl Ended {
    /// Every reason, in the order reports show them.
    pub const ALL: [Ended; 10] = [
        Ended::Root,
        Ended::NoUserStack,
        Ended::CopyTooShort,
        Ended::NotInMemory,
        Ended::DepthLimit,
        Ended::Unmapped,
        Ended::NoRow,
        Ended::UnsupportedRow,
        Ended::BadFrame,
        Ended::NoRegister,
    ];

    /// Whether frames are missing.
    pub fn is_truncated(self) -> bool {
        !matches!(self, Ended::Root | Ended::NoUserStack)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ended::Root => "complete",
            Ended::NoUserStack => "no user stack",
            Ended::CopyTooShort => "stack copy too short",
            Ended::NotInMemory => "stack not in memory",
            Ended::DepthLimit => "depth limit",
            Ended::Unmapped => "unmapped address",
            Ended::NoRow => "no unwind row",
            Ended::UnsupportedRow => "unsupported unwind row",
            Ended::BadFrame => "bad frame",
            Ended::NoRegister => "register not sampled",
        })
    }
}

/// Why a frame has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// The module has no symbol table and no DWARF.
    NoSymbols,
    /// It has, but nothing that covers this address.
    NotCovered,
    /// The module's file cannot be opened any more, or not by us.
    FileUnreadable,
    /// The file is not the one that was mapped (another inode or build id).
    FileChanged,
    /// The file is not ELF, or is damaged.
    FileCorrupt,
    /// Memory without a file (JIT code), of which the runtime has written down no names.
    Anonymous,
    /// Code made at run time, whose place was taken by other code while it was sampled: which of the two it was is not known.
    CodeReplaced,
    /// The runtime's file of names is not one that may be believed.
    JitFileRefused,
    /// The kernel hides its symbols (`kptr_restrict`).
    KernelHidden,
    /// A function of Python whose name found no room: there were too many.
    TooManyPythonNames,
    /// The process that parses foreign files has died over the file, or went beyond its time; or it died so often that none is started now.
    ParserFailed,
    /// perfd was to end before the name was found.
    TooLate,
}

impl Unnamed {
    /// Every reason.
    pub const ALL: [Unnamed; 12] = [
        Unnamed::NoSymbols,
        Unnamed::NotCovered,
        Unnamed::FileUnreadable,
        Unnamed::FileChanged,
        Unnamed::FileCorrupt,
        Unnamed::Anonymous,
        Unnamed::CodeReplaced,
        Unnamed::JitFileRefused,
        Unnamed::KernelHidden,
        Unnamed::TooManyPythonNames,
        Unnamed::ParserFailed,
        Unnamed::TooLate,
    ];
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unnamed::NoSymbols => "no symbols",
            Unnamed::NotCovered => "no symbol covers the address",
            Unnamed::FileUnreadable => "file cannot be read",
            Unnamed::FileChanged => "file changed since it was mapped",
            Unnamed::FileCorrupt => "file is corrupt",
            Unnamed::Anonymous => "memory without a file",
            Unnamed::CodeReplaced => "code replaced while it was sampled",
            Unnamed::JitFileRefused => "the runtime's file of names was refused",
            Unnamed::KernelHidden => "kernel symbols are hidden",
            Unnamed::TooManyPythonNames => "too many names of Python functions",
            Unnamed::ParserFailed => "the parser failed on the file",
            Unnamed::TooLate => "perfd had to end first",
        })
    }
}

/// Where a name comes from, which is what flame graph palettes colour by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NameKind {
    /// A function of the process.
    User,
    /// A function inlined into the next outer frame (`_[i]`).
    Inlined,
    /// A kernel function (`_[k]`).
    Kernel,
    /// A function made at run time (`_[j]`).
    Jit,
    /// A function of a Python program (`_[p]`).
    Python,
}

/// One named frame as outputs show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameName {
    /// The demangled name; where there is none `module+0xoffset`, `[anon]` or `[stale:module]`; raw text, which encoders escape.
    pub text: Arc<str>,
    /// Where it comes from.
    pub kind: NameKind,
    /// Why there is no name, if there is none.
    pub unnamed: Option<Unnamed>,
}
