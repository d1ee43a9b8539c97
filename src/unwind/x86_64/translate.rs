//! From a row of DWARF call frame information to a [`Rule`], on x86-64.

use gimli::{CfaRule, EndianSlice, LittleEndian, RegisterRule, UnwindSection, X86_64};

use super::expression::{Expression, Register, recognize};
use crate::unwind::functions::CfiRow;
use crate::unwind::{CfaKind, FpKind, RaKind, Rule};

/// Whether rules say where the base register (rbx) is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::unwind) enum Base {
    /// No: fewer rules, fewer rows.
    Ignored,
    /// Yes: some CFA of the module is based on it.
    Followed,
}

/// The rule that `row` of `section` means.
pub(in crate::unwind) fn translate<'a, S>(section: &S, row: &CfiRow, base: Base) -> Rule
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let (mut ra_rule, mut fp_rule, mut base_rule) = (None, None, None);
    for (register, rule) in row.registers() {
        match *register {
            X86_64::RA => ra_rule = Some(rule),
            X86_64::RBP => fp_rule = Some(rule),
            X86_64::RBX => base_rule = Some(rule),
            _ => {}
        }
    }
    if ra_rule == Some(&RegisterRule::Undefined) {
        return Rule::END;
    }
    let (Some((ra, ra_offset)), Some((cfa, cfa_offset, parameter))) =
        (ra(section, ra_rule), cfa(section, row.cfa()))
    else {
        return Rule::UNSUPPORTED;
    };
    let (fp, fp_offset) = fp(section, fp_rule);
    let is_free = !matches!(cfa, CfaKind::DerefSp | CfaKind::DerefFp | CfaKind::Plt);
    let flags = match base {
        Base::Followed if is_free => saved_base(base_rule),
        _ => parameter,
    };
    Rule {
        cfa_offset,
        fp_offset,
        ra_offset,
        cfa,
        fp,
        ra,
        flags,
    }
}

/// `None` if there is a return address, but not where a rule could say. A call pushes it, so that it lies below
/// the CFA where nothing is said.
fn ra<'a, S>(section: &S, rule: Option<&RegisterRule<usize>>) -> Option<(RaKind, i16)>
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let (kind, offset) = match rule {
        None => (RaKind::AtCfa, -8),
        Some(RegisterRule::Offset(offset)) => (RaKind::AtCfa, *offset),
        Some(RegisterRule::Expression(expression)) => {
            match recognize(expression.get(section).ok()?.0.slice())? {
                Expression::Sum {
                    base: Register::Sp,
                    offset,
                } => (RaKind::AtSp, offset),
                _ => return None,
            }
        }
        Some(RegisterRule::Register(X86_64::RDI)) => (RaKind::Link, 0),
        Some(_) => return None,
    };
    Some((kind, i16::try_from(offset).ok()?))
}

/// Kind, offset and parameter; `None` if there is no kind for it.
fn cfa<'a, S>(section: &S, rule: &CfaRule<usize>) -> Option<(CfaKind, i32, u8)>
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let (kind, offset, parameter) = match rule {
        CfaRule::RegisterAndOffset { register, offset } => {
            let kind = match *register {
                X86_64::RSP => CfaKind::Sp,
                X86_64::RBP => CfaKind::Fp,
                X86_64::RBX => CfaKind::Base,
                X86_64::R10 => CfaKind::Drap,
                _ => return None,
            };
            (kind, *offset, 0)
        }
        CfaRule::Expression(expression) => {
            match recognize(expression.get(section).ok()?.0.slice())? {
                Expression::Sum { base, offset } => match base {
                    Register::Sp => (CfaKind::Sp, offset, 0),
                    Register::Fp => (CfaKind::Fp, offset, 0),
                },
                Expression::Deref {
                    base,
                    offset,
                    addend,
                } => match base {
                    Register::Sp => (CfaKind::DerefSp, offset, addend),
                    Register::Fp => (CfaKind::DerefFp, offset, addend),
                },
                Expression::Plt { threshold } => (CfaKind::Plt, 0, u64::from(threshold)),
            }
        }
    };
    let parameter = u8::try_from(parameter).ok()?;
    (parameter <= Rule::PARAMETER).then_some((kind, i32::try_from(offset).ok()?, parameter))
}

/// A frame pointer that no rule can lead to is lost; the walk can do without it, as long as no later row needs it.
fn fp<'a, S>(section: &S, rule: Option<&RegisterRule<usize>>) -> (FpKind, i16)
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let known = match rule {
        None | Some(RegisterRule::SameValue) => Some((FpKind::Same, 0)),
        Some(RegisterRule::Offset(offset)) => Some((FpKind::AtCfa, *offset)),
        Some(RegisterRule::Expression(expression)) => {
            let bytes = expression.get(section).ok();
            match bytes.and_then(|bytes| recognize(bytes.0.slice())) {
                Some(Expression::Sum { base, offset }) => match base {
                    Register::Sp => Some((FpKind::AtSp, offset)),
                    Register::Fp => Some((FpKind::AtFp, offset)),
                },
                _ => None,
            }
        }
        Some(_) => None,
    };
    known
        .and_then(|(kind, offset)| Some((kind, i16::try_from(offset).ok()?)))
        .unwrap_or((FpKind::Undefined, 0))
}

/// The parameter that says where rbx is saved.
fn saved_base(rule: Option<&RegisterRule<usize>>) -> u8 {
    match rule {
        None | Some(RegisterRule::SameValue) => Rule::BASE_SAME,
        Some(RegisterRule::Offset(offset)) if offset % 8 == 0 => u8::try_from(-(offset / 8))
            .ok()
            .filter(|words| *words < Rule::BASE_SAME)
            .unwrap_or(0),
        Some(_) => 0,
    }
}
