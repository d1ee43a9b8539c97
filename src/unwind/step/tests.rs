//! Steps over made-up stacks.

use super::*;
use crate::model::{Registers, StackCopy};

const SP: u64 = 0x7000;
const PC: u64 = 0x1234;
const FP: u64 = SP + 0x20;

const LEAF: Cursor = Cursor {
    pc: PC,
    kind: AddressKind::Interrupted,
    sp: SP,
    sp_is_exact: true,
    fp: FP,
    drap: Some(SP + 0x18),
    link: Some(SP + 0x18),
    base: None,
};
const CALLER: Cursor = Cursor {
    kind: AddressKind::Return,
    drap: None,
    link: None,
    ..LEAF
};
/// `cfa = sp + 16`, return address below it, frame pointer kept.
const PLAIN: Rule = Rule {
    cfa_offset: 16,
    fp_offset: 0,
    ra_offset: -8,
    cfa: CfaKind::Sp,
    fp: FpKind::Same,
    ra: RaKind::AtCfa,
    flags: 0,
};

/// A stack of 16 words; the word at address a is a + 0x40 (so that words are stack addresses).
fn on_stack<T>(is_cut: bool, look: impl FnOnce(&mut Stack<'_>) -> T) -> T {
    let bytes: Vec<u8> = (0..16u64)
        .flat_map(|slot| word(SP + 8 * slot).to_le_bytes())
        .collect();
    let registers = Registers {
        pc: PC,
        sp: SP,
        fp: FP,
        drap: 0,
        link: 0,
        base: 0,
        in_syscall: false,
    };
    let copy = StackCopy {
        bytes: &bytes,
        is_cut,
    };
    look(&mut Stack::new(&registers, &copy))
}

fn word(address: u64) -> u64 {
    address + 0x40
}

fn check(rule: Rule, frame: Cursor, expected: Result<(u64, u64, u64), Ended>) {
    let caller = on_stack(false, |stack| by_rule(rule, &frame, stack));
    let got = caller.map(|caller| (caller.pc, caller.sp, caller.fp));
    assert_eq!(got, expected, "{rule:?}");
}

#[test]
fn each_cfa_kind_finds_its_cfa() {
    let at = |cfa: u64| Ok((word(cfa - 8), cfa, FP));
    check(PLAIN, LEAF, at(SP + 16));
    let rule = |cfa, cfa_offset, flags| Rule {
        cfa,
        cfa_offset,
        flags,
        ..PLAIN
    };
    check(rule(CfaKind::Fp, 16, 0), LEAF, at(FP + 16));
    check(rule(CfaKind::DerefSp, 8, 0), LEAF, at(word(SP + 8)));
    check(rule(CfaKind::DerefSp, 8, 8), LEAF, at(word(SP + 8) + 8));
    check(rule(CfaKind::DerefFp, -8, 0), LEAF, at(word(FP - 8)));
    check(rule(CfaKind::Drap, 0, 0), LEAF, at(SP + 0x18));
    check(rule(CfaKind::Drap, 0, 0), CALLER, Err(Ended::NoRegister));
}

#[test]
fn an_entry_of_a_procedure_linkage_table_has_pushed_from_its_threshold_on() {
    let rule = Rule {
        cfa: CfaKind::Plt,
        flags: 11,
        ..PLAIN
    };
    let at = |pc| Cursor { pc, ..LEAF };
    check(rule, at(0x100a), Ok((word(SP), SP + 8, FP)));
    check(rule, at(0x100b), Ok((word(SP + 8), SP + 16, FP)));
}

#[test]
fn each_fp_kind_finds_the_frame_pointer() {
    let with = |fp, fp_offset| Rule {
        fp,
        fp_offset,
        ..PLAIN
    };
    let is = |fp: u64| Ok((word(SP + 8), SP + 16, fp));
    check(with(FpKind::Same, 0), LEAF, is(FP));
    check(with(FpKind::AtCfa, -16), LEAF, is(word(SP)));
    check(with(FpKind::AtFp, 8), CALLER, is(word(FP + 8)));
    check(with(FpKind::AtSp, 24), LEAF, is(word(SP + 24)));
    check(with(FpKind::Undefined, 0), LEAF, is(UNKNOWN));
}

#[test]
fn a_frame_pointer_that_an_epilogue_has_popped_is_in_its_register() {
    let rule = Rule {
        cfa_offset: 8,
        fp: FpKind::AtCfa,
        fp_offset: -16,
        ..PLAIN
    };
    check(rule, LEAF, Ok((word(SP), SP + 8, FP)));
    check(rule, CALLER, Err(Ended::BadFrame));
}

#[test]
fn a_frame_pointer_that_leads_out_of_its_frame_is_the_callers_already() {
    // The last instructions of a function that has realigned its stack.
    let rule = |cfa_offset| Rule {
        cfa_offset,
        fp: FpKind::AtFp,
        ..PLAIN
    };
    check(rule(8), LEAF, Ok((word(SP), SP + 8, FP)));
    check(rule(0x20), LEAF, Ok((word(SP + 0x18), FP, FP)));
    check(rule(0x28), LEAF, Ok((word(FP), FP + 8, word(FP))));
    check(rule(8), CALLER, Ok((word(SP), SP + 8, word(FP))));
}

#[test]
fn the_caller_of_a_signal_frame_was_interrupted() {
    let rule = Rule {
        cfa: CfaKind::DerefSp,
        cfa_offset: 8,
        ra: RaKind::AtSp,
        ra_offset: 16,
        fp: FpKind::AtSp,
        fp_offset: 24,
        flags: Rule::SIGNAL,
    };
    let caller = on_stack(false, |stack| by_rule(rule, &CALLER, stack));
    let expected = Cursor {
        pc: word(SP + 16),
        kind: AddressKind::Interrupted,
        sp: word(SP + 8),
        sp_is_exact: true,
        fp: word(SP + 24),
        drap: None,
        link: None,
        base: None,
    };
    assert_eq!(caller, Ok(expected));
}

#[test]
fn a_link_register_is_known_in_the_leaf_alone_and_needs_no_frame() {
    let rule = Rule {
        cfa_offset: 0,
        ra: RaKind::Link,
        ..PLAIN
    };
    check(rule, LEAF, Ok((SP + 0x18, SP, FP)));
    check(rule, CALLER, Err(Ended::NoRegister));
}

#[test]
fn the_link_register_of_what_a_signal_interrupted_is_known() {
    let rule = Rule {
        cfa: CfaKind::DerefSp,
        cfa_offset: 8,
        ra: RaKind::AtSp,
        ra_offset: 16,
        fp: FpKind::AtSpWithLink,
        fp_offset: 24,
        flags: Rule::SIGNAL,
    };
    let caller = on_stack(false, |stack| by_rule(rule, &CALLER, stack)).expect("a caller");
    assert_eq!(
        (caller.fp, caller.link),
        (word(SP + 24), Some(word(SP + 32)))
    );
}

#[test]
fn a_bound_of_the_stack_pointer_is_not_taken_for_it_unless_the_frame_record_is_where_the_rule_says()
{
    let frame = Cursor {
        sp_is_exact: false,
        ..CALLER
    };
    check(PLAIN, frame, Err(Ended::NoRegister));
    let by_fp = Rule {
        cfa: CfaKind::Fp,
        ..PLAIN
    };
    check(by_fp, frame, Ok((word(FP + 8), FP + 16, FP)));
    let with_record = Rule {
        cfa_offset: 0x30,
        fp: FpKind::AtCfa,
        fp_offset: -16,
        ..PLAIN
    };
    let cfa = SP + 0x30;
    check(with_record, frame, Ok((word(cfa - 8), cfa, word(FP))));
    // The stack pointer is above its bound: the record tells the frame's end all the same.
    let smaller = Rule {
        cfa_offset: 0x18,
        ..with_record
    };
    check(smaller, frame, Ok((word(cfa - 8), cfa, word(FP))));
    let below = Cursor {
        fp: SP - 8,
        ..frame
    };
    check(with_record, below, Err(Ended::NoRegister));
    let elsewhere = Rule {
        fp_offset: -24,
        ..with_record
    };
    check(elsewhere, frame, Err(Ended::NoRegister));
}

#[test]
fn a_base_is_known_from_where_a_callee_saved_it() {
    let saving = Rule { flags: 2, ..PLAIN };
    let keeping = Rule {
        flags: Rule::BASE_SAME,
        ..PLAIN
    };
    let based = Rule {
        cfa: CfaKind::Base,
        cfa_offset: 8,
        ..PLAIN
    };
    check(based, LEAF, Err(Ended::NoRegister));
    let step = |rule, frame| on_stack(false, |stack| by_rule(rule, &frame, stack));
    let saved = step(saving, LEAF).expect("a caller");
    assert_eq!(saved.base, Some(word(SP)));
    let kept = step(keeping, saved).expect("a caller");
    assert_eq!(kept.base, Some(word(SP)));
    check(based, kept, Ok((word(word(SP)), word(SP) + 8, FP)));
    assert_eq!(step(PLAIN, saved).expect("a caller").base, None);
}

#[test]
fn the_outermost_frame_and_unsupported_rows_have_no_caller() {
    check(Rule::END, LEAF, Err(Ended::Root));
    check(Rule::UNSUPPORTED, LEAF, Err(Ended::UnsupportedRow));
    let rule = Rule {
        ra: RaKind::Undefined,
        ..PLAIN
    };
    check(rule, LEAF, Err(Ended::Root));
}

#[test]
fn a_caller_is_above_its_callee_and_aligned() {
    for cfa_offset in [0, -8, 12, i32::MIN] {
        let rule = Rule {
            cfa_offset,
            ..PLAIN
        };
        check(rule, LEAF, Err(Ended::BadFrame));
    }
}

#[test]
fn an_unknown_frame_pointer_is_not_used_but_may_be_restored() {
    let leaf = Cursor {
        fp: UNKNOWN,
        ..LEAF
    };
    let rule = Rule {
        cfa: CfaKind::Fp,
        ..PLAIN
    };
    check(rule, leaf, Err(Ended::NoRegister));
    check(PLAIN, leaf, Ok((word(SP + 8), SP + 16, UNKNOWN)));
    let rule = Rule {
        fp: FpKind::AtCfa,
        fp_offset: -16,
        ..PLAIN
    };
    check(rule, leaf, Ok((word(SP + 8), SP + 16, word(SP))));
    assert_eq!(
        on_stack(false, |stack| by_frame_pointer(&leaf, stack)),
        Err(Ended::NoRegister)
    );
}

#[test]
fn what_lies_above_a_full_copy_was_not_copied_and_above_a_short_one_was_not_in_memory() {
    let rule = Rule {
        cfa_offset: 0x1000,
        ..PLAIN
    };
    for (is_cut, expected) in [(true, Ended::CopyTooShort), (false, Ended::NotInMemory)] {
        let caller = on_stack(is_cut, |stack| by_rule(rule, &LEAF, stack));
        assert_eq!(caller, Err(expected));
    }
}

#[test]
fn the_highest_byte_read_is_remembered() {
    let used = on_stack(false, |stack| {
        let rule = Rule {
            cfa_offset: 0x20,
            ..PLAIN
        };
        assert!(by_rule(rule, &LEAF, stack).is_ok());
        assert!(by_rule(PLAIN, &LEAF, stack).is_ok());
        stack.used()
    });
    assert_eq!(used, 0x20);
}

#[test]
fn a_frame_pointer_step_follows_the_chain_and_refuses_what_is_no_frame() {
    let step = |fp: u64| {
        let frame = Cursor { fp, ..CALLER };
        let caller = on_stack(false, |stack| by_frame_pointer(&frame, stack));
        caller.map(|caller| (caller.pc, caller.sp, caller.fp))
    };
    assert_eq!(step(FP), Ok((word(FP + 8), FP + 16, word(FP))));
    assert_eq!(step(SP), Ok((word(SP + 8), SP + 16, word(SP))));
    let implausible = [0, SP - 8, FP + 4, SP + LARGEST_FRAME, UNKNOWN - 15];
    for fp in implausible {
        assert_eq!(step(fp), Err(Ended::NoRow), "{fp:#x}");
    }
    assert_eq!(step(SP + 0x800), Err(Ended::NoRow), "not on the stack");
}
