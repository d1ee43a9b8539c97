//! What rows of DWARF call frame information mean on x86-64.

use gimli::{
    CfaRule, EndianSlice, LittleEndian, RegisterRule, UnwindContextStorage, UnwindSection,
    UnwindTableRow, X86_64,
};

use crate::arch::Base;
use crate::arch::expression::{Expression, recognize};
use crate::model::{CfaKind, FpKind, RaKind, Rule};

/// `mov $15, %rax; syscall`, which musl writes without rows.
pub(in crate::arch) const SIGNAL_RETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

/// Where `struct rt_sigframe` of arch/x86/include/asm/sigframe.h keeps rsp, rbp and rip, seen from the code above.
pub(in crate::arch) const SIGNAL_FRAME: Rule = Rule {
    cfa_offset: 160,
    fp_offset: 120,
    ra_offset: 168,
    cfa: CfaKind::DerefSp,
    fp: FpKind::AtSp,
    ra: RaKind::AtSp,
    flags: Rule::SIGNAL,
};

/// `cfa = rsp + size + 8`, return address at cfa − 8. Functions with a frame keep rbp in it, most at cfa − 16.
pub(in crate::arch) fn go_rule(frame_size: i32) -> Rule {
    Rule {
        cfa_offset: frame_size.saturating_add(8),
        fp_offset: 0,
        ra_offset: -8,
        cfa: CfaKind::Sp,
        fp: match frame_size {
            0 => FpKind::Same,
            _ => FpKind::Undefined,
        },
        ra: RaKind::AtCfa,
        flags: 0,
    }
}

/// The rule that `row` of `section` means.
pub(in crate::arch) fn rule<'a, S, R>(
    section: &S,
    row: &UnwindTableRow<usize, R>,
    base: Base,
) -> Rule
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
    R: UnwindContextStorage<usize>,
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
                    base: X86_64::RSP,
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
            let bytes = expression.get(section).ok()?.0.slice();
            match (plt_threshold(bytes), recognize(bytes)) {
                (Some(threshold), _) => (CfaKind::Plt, 0, u64::from(threshold)),
                (_, Some(Expression::Sum { base, offset })) => match base {
                    X86_64::RSP => (CfaKind::Sp, offset, 0),
                    X86_64::RBP => (CfaKind::Fp, offset, 0),
                    _ => return None,
                },
                (
                    _,
                    Some(Expression::Deref {
                        base,
                        offset,
                        addend,
                    }),
                ) => match base {
                    X86_64::RSP => (CfaKind::DerefSp, offset, addend),
                    X86_64::RBP => (CfaKind::DerefFp, offset, addend),
                    _ => return None,
                },
                _ => return None,
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
                    X86_64::RSP => Some((FpKind::AtSp, offset)),
                    X86_64::RBP => Some((FpKind::AtFp, offset)),
                    _ => None,
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

/// `breg7 8, breg16 0, lit15, and, lit{threshold}, ge, lit3, shl, plus`, which linkers write for `.plt`.
fn plt_threshold(bytes: &[u8]) -> Option<u8> {
    const LIT0: u8 = 0x30;
    const BREG7: u8 = 0x77;
    const BEFORE: [u8; 6] = [BREG7, 8, 0x80, 0, LIT0 + 15, 0x1a];
    const BEHIND: [u8; 4] = [0x2a, LIT0 + 3, 0x24, 0x22];
    let literal = bytes.strip_prefix(&BEFORE)?.strip_suffix(&BEHIND)?;
    let [literal] = literal else { return None };
    literal
        .checked_sub(LIT0)
        .filter(|threshold| *threshold < 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_of_a_procedure_linkage_table_tells_where_its_stubs_push() {
        let expression = |literal| {
            [
                0x77, 8, 0x80, 0, 0x3f, 0x1a, literal, 0x2a, 0x33, 0x24, 0x22,
            ]
        };
        assert_eq!(plt_threshold(&expression(0x3b)), Some(11));
        assert_eq!(plt_threshold(&expression(0x50)), None);
        assert_eq!(plt_threshold(&expression(0x3b)[1..]), None);
    }
}
