//! One unwind rule: how to get from a frame to its caller.
//!
//! A rule says where the canonical frame address (CFA, the value of the stack pointer before the call) is, and
//! where the caller's frame pointer and the return address are. The caller's stack pointer is the CFA.
//! It does not say for which code it holds: that is the table's business.
//!
//! Layout, little endian, 12 bytes, which is part of the format of unwind tables (`unwind::Table::VERSION`):
//!
//! ```text
//! byte 0  i32 cfa_offset   o of the CFA kind
//!      4  i16 fp_offset    o of the FP kind
//!      6  i16 ra_offset    o of the RA kind
//!      8  u8  cfa          0 none · 1 unsupported · 2 end · 3 sp+o · 4 fp+o · 5 [sp+o]+p · 6 [fp+o]+p · 7 drap+o · 8 plt · 9 base+o
//!      9  u8  fp           0 same · 1 [cfa+o] · 2 [fp+o] · 3 [sp+o] · 4 undefined · 5 [sp+o], link at [sp+o+8]
//!     10  u8  ra           0 undefined · 1 [cfa+o] · 2 [sp+o] · 3 link register
//!     11  u8  flags        bit 7 signal frame · bits 0–6 p: the parameter of CFA kinds 5, 6 and 8; of 3, 4, 7 and 9 where the
//!                          caller's base is: 0 not known · 127 same · else at [cfa − 8p]
//! ```
//!
//! `sp`, `fp`, `pc` are the frame's own values; `drap`, `base` and `link` are those of [`Registers`](crate::model::Registers).
//! `base` is a register that calls preserve (x86-64: rbx). The dynamic loader's lazy binding has its frame on it, and nothing
//! else, so that only the tables of such modules say where it is saved, and it is never known in a leaf.

/// Where the CFA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CfaKind {
    /// No row covers this code: take a frame pointer step.
    None = 0,
    /// A row that this format cannot express.
    Unsupported = 1,
    /// The outermost frame: its return address is undefined.
    End = 2,
    /// `cfa = sp + o`
    Sp = 3,
    /// `cfa = fp + o`
    Fp = 4,
    /// `cfa = [sp + o] + p`
    DerefSp = 5,
    /// `cfa = [fp + o] + p` (the body of a function that realigns its stack: `[fp − 8]`)
    DerefFp = 6,
    /// `cfa = drap + o`: prologue of a function that realigns its stack; known in an interrupted leaf alone.
    Drap = 7,
    /// `cfa = sp + 8 + (pc & 15 ≥ p ? 8 : 0)`: a procedure linkage table, whose entries push once, at their byte p.
    Plt = 8,
    /// `cfa = base + o`: the dynamic loader's `_dl_runtime_resolve`.
    Base = 9,
}

/// Where the caller's frame pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FpKind {
    /// Still in its register.
    Same = 0,
    /// At `[cfa + o]`.
    AtCfa = 1,
    /// At `[fp + o]`.
    AtFp = 2,
    /// At `[sp + o]`: signal frames.
    AtSp = 3,
    /// Lost.
    Undefined = 4,
    /// At `[sp + o]`, and the link register at `[sp + o + 8]`: signal frames of aarch64, which may have interrupted a leaf.
    AtSpWithLink = 5,
}

/// Where the return address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RaKind {
    /// There is none.
    Undefined = 0,
    /// At `[cfa + o]`.
    AtCfa = 1,
    /// At `[sp + o]`: signal frames.
    AtSp = 2,
    /// In a register, which is `link`: aarch64's leaf functions, glibc's `vfork`. Known in the sampled leaf, and in what a signal interrupted.
    Link = 3,
}

/// How to get from a frame to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Rule {
    /// `o` of [`Rule::cfa`].
    pub cfa_offset: i32,
    /// `o` of [`Rule::fp`].
    pub fp_offset: i16,
    /// `o` of [`Rule::ra`].
    pub ra_offset: i16,
    /// Where the CFA is.
    pub cfa: CfaKind,
    /// Where the caller's frame pointer is.
    pub fp: FpKind,
    /// Where the return address is.
    pub ra: RaKind,
    /// [`Rule::SIGNAL`] and the parameter `p`.
    pub flags: u8,
}

const _: () = assert!(size_of::<Rule>() == 12);
const _: () = assert!(align_of::<Rule>() == 4);

impl Rule {
    /// Flag: the frame was made by a signal, so that its caller's pc is an interrupted address.
    pub const SIGNAL: u8 = 0x80;
    /// The bits of [`Rule::flags`] that hold the parameter `p`.
    pub const PARAMETER: u8 = 0x7f;

    /// Parameter: the caller's base is still in its register.
    pub const BASE_SAME: u8 = 127;

    /// Code without a row.
    pub const NONE: Rule = Rule::only(CfaKind::None);
    /// A row that this format cannot express.
    pub const UNSUPPORTED: Rule = Rule::only(CfaKind::Unsupported);
    /// The outermost frame.
    pub const END: Rule = Rule::only(CfaKind::End);

    const fn only(cfa: CfaKind) -> Rule {
        Rule {
            cfa_offset: 0,
            fp_offset: 0,
            ra_offset: 0,
            cfa,
            fp: FpKind::Same,
            ra: RaKind::Undefined,
            flags: 0,
        }
    }

    /// Whether the frame was made by a signal.
    pub fn is_signal(self) -> bool {
        self.flags & Rule::SIGNAL != 0
    }

    /// The parameter `p`.
    pub fn parameter(self) -> u8 {
        self.flags & Rule::PARAMETER
    }
}
