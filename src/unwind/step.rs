//! From one frame to its caller.

use super::stack::Stack;
use super::{CfaKind, FpKind, RaKind, Rule};
use crate::arch::host;
use crate::model::{AddressKind, Ended};

/// The value of a frame pointer that is not known: the kernel's mark for a register that it did not save.
const UNKNOWN: u64 = u64::MAX;

/// The registers of a frame, as far as a walk knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Instruction pointer.
    pub pc: u64,
    /// Whether `pc` is a return address.
    pub kind: AddressKind,
    /// Stack pointer, or a lower bound of it.
    pub sp: u64,
    /// Whether `sp` is the stack pointer itself. A frame record that lies anywhere in its frame does not tell it.
    pub sp_is_exact: bool,
    /// Frame pointer; all ones if it is unknown.
    pub fp: u64,
    /// [`Registers::drap`](crate::model::Registers): known in the sampled leaf alone.
    pub drap: Option<u64>,
    /// [`Registers::link`](crate::model::Registers): known in the sampled leaf, and where a signal saved it.
    pub link: Option<u64>,
    /// The base register, where a caller had saved it.
    pub base: Option<u64>,
}

impl Cursor {
    /// The frame pointer, if it is known.
    fn known_fp(&self) -> Result<u64, Ended> {
        if self.fp == UNKNOWN {
            return Err(Ended::NoRegister);
        }
        Ok(self.fp)
    }
}

/// The caller by a rule that is not NONE.
#[inline]
pub fn by_rule(rule: Rule, frame: &Cursor, stack: &mut Stack<'_>) -> Result<Cursor, Ended> {
    let cfa = match !frame.sp_is_exact && is_by_sp(rule) {
        true => cfa_by_record(rule, frame)?,
        false => cfa(rule, frame, stack)?,
    };
    // Every call pushes (x86-64) or may push (aarch64, whose leaf functions need no frame) something.
    let is_above = cfa > frame.sp || (cfa == frame.sp && rule.ra == RaKind::Link);
    if !is_above || cfa % 8 != 0 {
        return Err(Ended::BadFrame);
    }
    let fp = match rule.fp {
        FpKind::Same => frame.fp,
        FpKind::AtCfa => restored(plus(cfa, rule.fp_offset), frame, stack)?,
        FpKind::AtFp => {
            let address = plus(frame.known_fp()?, rule.fp_offset);
            // Not in the frame: as below, for what realigns its stack. gcc's rows do not say where its epilogue pops the register.
            match frame.kind {
                AddressKind::Interrupted if address >= cfa => frame.fp,
                _ => restored(address, frame, stack)?,
            }
        }
        FpKind::AtSp | FpKind::AtSpWithLink => {
            restored(plus(frame.sp, rule.fp_offset), frame, stack)?
        }
        FpKind::Undefined => UNKNOWN,
    };
    let pc = match rule.ra {
        RaKind::AtCfa => stack.read(plus(cfa, rule.ra_offset))?,
        RaKind::AtSp => stack.read(plus(frame.sp, rule.ra_offset))?,
        RaKind::Link => frame.link.ok_or(Ended::NoRegister)?,
        RaKind::Undefined => return Err(Ended::Root),
    };
    let link = match rule.fp {
        FpKind::AtSpWithLink => Some(stack.read(plus(frame.sp, rule.fp_offset).wrapping_add(8))?),
        _ => None,
    };
    let base = match (rule.cfa, rule.parameter()) {
        (CfaKind::DerefSp | CfaKind::DerefFp | CfaKind::Plt, _) | (_, 0) => None,
        (_, Rule::BASE_SAME) => frame.base,
        (_, words) => stack.read(cfa.wrapping_sub(8 * u64::from(words))).ok(),
    };
    let kind = if rule.is_signal() {
        AddressKind::Interrupted
    } else {
        if pc == 0 {
            return Err(Ended::Root);
        }
        AddressKind::Return
    };
    Ok(Cursor {
        pc,
        kind,
        sp: cfa,
        sp_is_exact: true,
        fp,
        drap: None,
        link,
        base,
    })
}

/// The CFA of a frame whose stack pointer is not known, but whose frame pointer is: the rule says where in the frame its record
/// (x29, x30) lies, and the chain of frame pointers that led here says at which address.
fn cfa_by_record(rule: Rule, frame: &Cursor) -> Result<u64, Ended> {
    let is_record = rule.fp == FpKind::AtCfa
        && rule.ra == RaKind::AtCfa
        && rule.ra_offset == rule.fp_offset.wrapping_add(8);
    if rule.cfa != CfaKind::Sp || !is_record || frame.known_fp()? < frame.sp {
        return Err(Ended::NoRegister);
    }
    Ok(plus(frame.fp, -i64::from(rule.fp_offset)))
}

/// Whether anything but the return address in its register is found by the stack pointer.
fn is_by_sp(rule: Rule) -> bool {
    matches!(rule.cfa, CfaKind::Sp | CfaKind::DerefSp | CfaKind::Plt)
        || matches!(rule.fp, FpKind::AtSp | FpKind::AtSpWithLink)
        || rule.ra == RaKind::AtSp
}

#[inline]
fn cfa(rule: Rule, frame: &Cursor, stack: &mut Stack<'_>) -> Result<u64, Ended> {
    let parameter = rule.parameter();
    Ok(match rule.cfa {
        CfaKind::Sp => plus(frame.sp, rule.cfa_offset),
        CfaKind::Fp => plus(frame.known_fp()?, rule.cfa_offset),
        CfaKind::DerefSp => plus(stack.read(plus(frame.sp, rule.cfa_offset))?, parameter),
        CfaKind::DerefFp => plus(
            stack.read(plus(frame.known_fp()?, rule.cfa_offset))?,
            parameter,
        ),
        CfaKind::Drap => plus(frame.drap.ok_or(Ended::NoRegister)?, rule.cfa_offset),
        CfaKind::Plt => {
            let has_pushed = frame.pc & 15 >= u64::from(parameter);
            plus(frame.sp, if has_pushed { 16u8 } else { 8 })
        }
        CfaKind::Base => plus(frame.base.ok_or(Ended::NoRegister)?, rule.cfa_offset),
        CfaKind::End => return Err(Ended::Root),
        CfaKind::Unsupported => return Err(Ended::UnsupportedRow),
        CfaKind::None => return Err(Ended::NoRow),
    })
}

/// The frame pointer that was saved at `address`.
///
/// In an epilogue the row still names the place that it was popped from, which is below the stack pointer: the
/// register has its old value back then.
#[inline]
fn restored(address: u64, frame: &Cursor, stack: &mut Stack<'_>) -> Result<u64, Ended> {
    if address < frame.sp && frame.kind == AddressKind::Interrupted {
        return Ok(frame.fp);
    }
    stack.read(address)
}

/// Frames are smaller than this. Without a row to check a frame pointer against, it is what tells one from any other number.
const LARGEST_FRAME: u64 = 1 << 20;

/// The caller by the chain of frame pointers: `[fp]` is the caller's, `[fp + 8]` the return address.
///
/// The caller of this has to see to it that the return address is one. An implausible chain is [`Ended::NoRow`].
pub fn by_frame_pointer(frame: &Cursor, stack: &mut Stack<'_>) -> Result<Cursor, Ended> {
    let fp = frame.known_fp()?;
    let is_plausible =
        fp >= frame.sp && fp % 8 == 0 && fp - frame.sp < LARGEST_FRAME && fp < UNKNOWN - 16;
    if !is_plausible {
        return Err(Ended::NoRow);
    }
    let no_row = |ended| match ended {
        Ended::BadFrame | Ended::NotInMemory => Ended::NoRow,
        other => other,
    };
    let pc = stack.read(fp + 8).map_err(no_row)?;
    let caller_fp = stack.read(fp).map_err(no_row)?;
    // Not a root: where there is no row the register may hold any address of the stack, and 0 stands there often.
    if pc == 0 {
        return Err(Ended::NoRow);
    }
    Ok(Cursor {
        pc,
        kind: AddressKind::Return,
        sp: fp + 16,
        sp_is_exact: host::RECORD_ENDS_FRAME,
        fp: caller_fp,
        drap: None,
        link: None,
        base: None,
    })
}

/// The caller of an address that nothing can run at (a call through a null pointer): only the call has left its trace.
pub(super) fn by_call_alone(frame: &Cursor, stack: &mut Stack<'_>) -> Result<Cursor, Ended> {
    let (pc, sp) = if host::CALL_PUSHES {
        (stack.read(frame.sp)?, frame.sp.wrapping_add(8))
    } else {
        (frame.link.ok_or(Ended::NoRegister)?, frame.sp)
    };
    Ok(Cursor {
        pc,
        kind: AddressKind::Return,
        sp,
        drap: None,
        link: None,
        ..*frame
    })
}

#[inline]
fn plus(address: u64, offset: impl Into<i64>) -> u64 {
    address.wrapping_add_signed(offset.into())
}

#[cfg(test)]
mod tests;
