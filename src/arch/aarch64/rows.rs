//! What rows of DWARF call frame information mean on aarch64.

use gimli::{
    AArch64, CfaRule, EndianSlice, LittleEndian, RegisterRule, UnwindContextStorage, UnwindSection,
    UnwindTableRow,
};

use crate::arch::expression::{Expression, recognize};
use crate::model::{CfaKind, FpKind, RaKind, Rule};

/// `mov x8, #139; svc #0`: the vDSO's `__kernel_rt_sigreturn`, whose rows the kernel leaves out on purpose
/// (arch/arm64/kernel/vdso/sigreturn.S), and that of musl.
pub(in crate::arch) const SIGNAL_RETURN: [u8; 8] = [0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4];

/// Where `struct rt_sigframe` of arch/arm64/kernel/signal.c keeps x29, x30, sp and pc, seen from the code above: 128 bytes of
/// siginfo, 168 of ucontext (its alignment included: 176), the fault's address, and the registers in their order.
pub(in crate::arch) const SIGNAL_FRAME: Rule = Rule {
    cfa_offset: 560,
    fp_offset: 544,
    ra_offset: 568,
    cfa: CfaKind::DerefSp,
    fp: FpKind::AtSpWithLink,
    ra: RaKind::AtSp,
    flags: Rule::SIGNAL,
};

/// Code that leaves the stack and the link register as it finds them.
pub(in crate::arch) const LEAF: Rule = Rule {
    cfa_offset: 0,
    fp_offset: 0,
    ra_offset: 0,
    cfa: CfaKind::Sp,
    fp: FpKind::Same,
    ra: RaKind::Link,
    flags: 0,
};

/// `cfa = sp + size`; a function with a frame keeps its return address at the frame's lower end, not beside the CFA.
pub(in crate::arch) fn go_rule(frame_size: i32) -> Rule {
    let has_frame = frame_size > 0;
    Rule {
        cfa_offset: frame_size,
        fp_offset: 0,
        ra_offset: 0,
        cfa: CfaKind::Sp,
        fp: if has_frame {
            FpKind::Undefined
        } else {
            FpKind::Same
        },
        ra: if has_frame {
            RaKind::AtSp
        } else {
            RaKind::Link
        },
        flags: 0,
    }
}

/// The rule that `row` of `section` means.
pub(in crate::arch) fn rule<'a, S, R>(section: &S, row: &UnwindTableRow<usize, R>) -> Rule
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
    R: UnwindContextStorage<usize>,
{
    let (mut ra_rule, mut fp_rule) = (None, None);
    for (register, rule) in row.registers() {
        match *register {
            AArch64::X30 => ra_rule = Some(rule),
            AArch64::X29 => fp_rule = Some(rule),
            _ => {}
        }
    }
    if ra_rule == Some(&RegisterRule::Undefined) {
        return Rule::END;
    }
    let (Some((ra, ra_offset)), Some((cfa, cfa_offset, parameter))) =
        (ra(ra_rule), cfa(section, row.cfa()))
    else {
        return Rule::UNSUPPORTED;
    };
    let (fp, fp_offset) = fp(fp_rule);
    // Rows of glibc's `_dl_runtime_resolve` leave out what `.plt` has pushed before it, the return address last of all.
    let beyond = match ra {
        RaKind::AtCfa if ra_offset >= 0 => ra_offset.saturating_add(8),
        _ => 0,
    };
    let cfa_offset = cfa_offset.saturating_add(i32::from(beyond));
    let ra_offset = ra_offset.saturating_sub(beyond);
    let fp_offset = match fp {
        FpKind::AtCfa => fp_offset.saturating_sub(beyond),
        _ => fp_offset,
    };
    Rule {
        cfa_offset,
        fp_offset,
        ra_offset,
        cfa,
        fp,
        ra,
        flags: parameter,
    }
}

/// A return address of which nothing is said is where the call left it.
fn ra(rule: Option<&RegisterRule<usize>>) -> Option<(RaKind, i16)> {
    match rule {
        None | Some(RegisterRule::SameValue) => Some((RaKind::Link, 0)),
        Some(RegisterRule::Offset(offset)) => Some((RaKind::AtCfa, i16::try_from(*offset).ok()?)),
        Some(_) => None,
    }
}

/// Kind, offset and parameter; `None` if there is no kind for it.
fn cfa<'a, S>(section: &S, rule: &CfaRule<usize>) -> Option<(CfaKind, i32, u8)>
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let direct = |register, offset| match register {
        AArch64::SP => Some((CfaKind::Sp, i32::try_from(offset).ok()?, 0)),
        AArch64::X29 => Some((CfaKind::Fp, i32::try_from(offset).ok()?, 0)),
        _ => None,
    };
    match rule {
        CfaRule::RegisterAndOffset { register, offset } => direct(*register, *offset),
        CfaRule::Expression(expression) => {
            match recognize(expression.get(section).ok()?.0.slice())? {
                Expression::Sum { base, offset } => direct(base, offset),
                Expression::Deref {
                    base,
                    offset,
                    addend,
                } => {
                    let kind = match base {
                        AArch64::SP => CfaKind::DerefSp,
                        AArch64::X29 => CfaKind::DerefFp,
                        _ => return None,
                    };
                    let addend = u8::try_from(addend)
                        .ok()
                        .filter(|p| *p <= Rule::PARAMETER)?;
                    Some((kind, i32::try_from(offset).ok()?, addend))
                }
            }
        }
    }
}

/// A frame pointer that no rule can lead to is lost; the walk can do without it, as long as no later row needs it.
fn fp(rule: Option<&RegisterRule<usize>>) -> (FpKind, i16) {
    let known = match rule {
        None | Some(RegisterRule::SameValue) => Some((FpKind::Same, 0)),
        Some(RegisterRule::Offset(offset)) => i16::try_from(*offset)
            .ok()
            .map(|offset| (FpKind::AtCfa, offset)),
        Some(_) => None,
    };
    known.unwrap_or((FpKind::Undefined, 0))
}
