//! From a row of DWARF call frame information to a [`Rule`], on x86-64.

use gimli::{
    CfaRule, EndianSlice, LittleEndian, RegisterRule, UnwindExpression, UnwindSection, X86_64,
};

use super::expression::{Base, Expression, recognize};
use crate::unwind::cfi::CfiRow;
use crate::unwind::{CfaKind, FpKind, RaKind, Rule};

/// A call pushes its return address, so that it lies below the CFA where nothing else is said.
const PUSHED: (RaKind, i16) = (RaKind::AtCfa, -8);

/// The rule that `row` of `section` means.
pub(in crate::unwind) fn translate<'a, S>(section: &S, row: &CfiRow) -> Rule
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let (mut ra_rule, mut fp_rule) = (None, None);
    for (register, rule) in row.registers() {
        match *register {
            X86_64::RA => ra_rule = Some(rule),
            X86_64::RBP => fp_rule = Some(rule),
            _ => {}
        }
    }
    let value = |expression: &UnwindExpression<usize>| {
        let bytes = expression.get(section).ok()?.0;
        recognize(bytes.slice())
    };
    let (ra, ra_offset) = match ra_rule {
        None => PUSHED,
        Some(RegisterRule::Undefined) => return Rule::END,
        Some(RegisterRule::Offset(offset)) => match i16::try_from(*offset) {
            Ok(offset) => (RaKind::AtCfa, offset),
            Err(_) => return Rule::UNSUPPORTED,
        },
        Some(RegisterRule::Expression(expression)) => match value(expression) {
            Some(Expression::Sum {
                base: Base::Sp,
                offset,
            }) => match i16::try_from(offset) {
                Ok(offset) => (RaKind::AtSp, offset),
                Err(_) => return Rule::UNSUPPORTED,
            },
            _ => return Rule::UNSUPPORTED,
        },
        Some(_) => return Rule::UNSUPPORTED,
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            let kind = match *register {
                X86_64::RSP => CfaKind::Sp,
                X86_64::RBP => CfaKind::Fp,
                X86_64::R10 => CfaKind::Extra,
                _ => return Rule::UNSUPPORTED,
            };
            Some((kind, *offset, 0))
        }
        CfaRule::Expression(expression) => match value(expression) {
            Some(Expression::Sum { base, offset }) => Some(match base {
                Base::Sp => (CfaKind::Sp, offset, 0),
                Base::Fp => (CfaKind::Fp, offset, 0),
            }),
            Some(Expression::Deref {
                base,
                offset,
                addend,
            }) => u8::try_from(addend)
                .ok()
                .filter(|addend| *addend <= Rule::PARAMETER)
                .map(|addend| match base {
                    Base::Sp => (CfaKind::DerefSp, offset, addend),
                    Base::Fp => (CfaKind::DerefFp, offset, addend),
                }),
            Some(Expression::Plt { threshold }) => Some((CfaKind::Plt, 0, threshold)),
            None => None,
        },
    };
    let Some((cfa, cfa_offset, parameter)) = cfa else {
        return Rule::UNSUPPORTED;
    };
    let Ok(cfa_offset) = i32::try_from(cfa_offset) else {
        return Rule::UNSUPPORTED;
    };
    let (fp, fp_offset) = match fp_rule {
        None | Some(RegisterRule::SameValue) => (FpKind::Same, 0),
        Some(RegisterRule::Offset(offset)) => (FpKind::AtCfa, *offset),
        Some(RegisterRule::Expression(expression)) => match value(expression) {
            Some(Expression::Sum {
                base: Base::Fp,
                offset,
            }) => (FpKind::AtFp, offset),
            Some(Expression::Sum {
                base: Base::Sp,
                offset,
            }) => (FpKind::AtSp, offset),
            _ => (FpKind::Undefined, 0),
        },
        Some(_) => (FpKind::Undefined, 0),
    };
    // The walk can do without the frame pointer, as long as no later row needs it.
    let (fp, fp_offset) =
        i16::try_from(fp_offset).map_or((FpKind::Undefined, 0), |offset| (fp, offset));
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
