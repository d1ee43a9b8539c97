//! What a child that parses files says to perfd.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::parser_answers(bytes));
