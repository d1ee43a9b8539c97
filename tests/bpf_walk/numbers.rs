//! The numbers and sizes that C and Rust share, asserted by the C compiler.

use std::fmt::Debug;
use std::mem::offset_of;
use std::process::Command;

use perfd::model::Ended;
use perfd::unwind::{CfaKind, Rule, Table};

use crate::kinds::{CFA, FP, RA};
use crate::scene::MAX_FRAMES;
use crate::walker::source;

#[test]
fn the_numbers_of_rules_and_ends_are_those_of_the_header() {
    let mut facts: Vec<(String, usize)> = Vec::new();
    facts.extend(CFA.map(|kind| (c_name("CFA", kind), kind as usize)));
    facts.extend(FP.map(|kind| (c_name("FP", kind), kind as usize)));
    facts.extend(RA.map(|kind| (c_name("RA", kind), kind as usize)));
    let ended = Ended::ALL.iter().enumerate();
    facts.extend(ended.map(|(number, ended)| (c_name("ENDED", ended), number)));
    let others = [
        ("ENDED_ASK_PERFD", Ended::ALL.len()),
        ("RULE_SIGNAL", Rule::SIGNAL.into()),
        ("RULE_PARAMETER", Rule::PARAMETER.into()),
        ("RULE_BASE_SAME", Rule::BASE_SAME.into()),
        ("MAX_USER_FRAMES", MAX_FRAMES),
        ("BLOCK / 4", Table::BLOCK_ROWS),
        (
            "offsetof(struct rule, cfa_offset)",
            offset_of!(Rule, cfa_offset),
        ),
        (
            "offsetof(struct rule, fp_offset)",
            offset_of!(Rule, fp_offset),
        ),
        (
            "offsetof(struct rule, ra_offset)",
            offset_of!(Rule, ra_offset),
        ),
        ("offsetof(struct rule, cfa)", offset_of!(Rule, cfa)),
        ("offsetof(struct rule, fp)", offset_of!(Rule, fp)),
        ("offsetof(struct rule, ra)", offset_of!(Rule, ra)),
        ("offsetof(struct rule, flags)", offset_of!(Rule, flags)),
        ("offsetof(struct rule, unused)", size_of::<Rule>()),
    ];
    facts.extend(others.map(|(name, number)| (name.to_owned(), number)));
    assert_eq!(said_of(&facts), "");

    // And the compiler does look.
    let wrong = vec![("CFA_PLT".to_owned(), CfaKind::Base as usize)];
    assert!(said_of(&wrong).contains("CFA_PLT"));
}

/// `DerefSp` of `CFA` is `CFA_DEREF_SP`.
fn c_name(prefix: &str, variant: impl Debug) -> String {
    let mut name = prefix.to_owned();
    for letter in format!("{variant:?}").chars() {
        if letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// What the compiler has to say against these expressions being these numbers.
fn said_of(facts: &[(String, usize)]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("facts.c");
    let text = facts.iter().fold(
        format!("#include <stddef.h>\n#include \"{}\"\n", source().display()),
        |text, (name, number)| {
            text + &format!("_Static_assert(({name}) == {number}, \"{name}\");\n")
        },
    );
    std::fs::write(&file, text).expect("the source is written");
    let output = Command::new("cc").arg("-fsyntax-only").arg(&file).output();
    let output = output.expect("cc is installed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
