//! Names as in the source (`-C`).
//!
//! Demanglers differ in spaces, in how they write lambdas and literals, and in whether they show parameters; so that of a C++ name only its path is compared:
//! what stands outside of parentheses and angle brackets, without the type that it returns. llvm 14 does not demangle names of Rust in the old scheme:
//! there the reference is what `rustc-demangle`, without the hash, makes of the name as the linker has it.

use crate::addresses::addresses;
use crate::answers::{Chain, Names, ask_llvm, ask_perfd};
use crate::programs;
use crate::support::skip;

#[test]
fn names_of_cpp_have_the_path_that_llvm_gives_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(program) = programs::cpp(folder.path(), ["gcc", "g++"], &["-gdwarf-5"]) else {
        return skip("no g++");
    };
    let of_reference = |_: &str, demangled: &str| path_of(demangled);
    check(&program, of_reference, path_of);
}

#[test]
fn names_of_rust_are_demangled_without_their_hash() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(program) = programs::rust(folder.path(), &["-Ccodegen-units=4"]) else {
        return skip("no rustc");
    };
    let of_reference = |linked: &str, _: &str| format!("{:#}", rustc_demangle::demangle(linked));
    check(&program, of_reference, str::to_owned);
}

/// Compares all names; the reference's are made of both its answers, perfd's of the one with `-C`.
fn check(
    program: &std::path::Path,
    of_reference: impl Fn(&str, &str) -> String,
    of_judged: impl Fn(&str) -> String,
) {
    let bytes = std::fs::read(program).expect("readable");
    let elf = object::File::parse(&*bytes).expect("an ELF file");
    let addresses = addresses(&elf, 20_000);
    let ask = |names| ask_llvm(program, &addresses, names);
    let (Some(linked), Some(demangled)) = (ask(Names::Linked), ask(Names::Demangled)) else {
        return skip("no llvm-symbolizer");
    };
    let ask = |names| ask_perfd(program, &addresses, names, &["--no-cache"]);
    let (linked_judged, judged) = (ask(Names::Linked), ask(Names::Demangled));
    let mut n_compared = 0;
    let mut wrong = std::collections::BTreeSet::new();
    let all = linked
        .iter()
        .zip(&demangled)
        .zip(&linked_judged)
        .zip(&judged);
    for (((linked, demangled), linked_judged), judged) in all {
        // Chains of other lengths and addresses without a function are the other tests' business.
        if linked.len() != judged.len() || linked.iter().any(|frame| !frame.is_named()) {
            continue;
        }
        n_compared += 1;
        let name = |chain: &Chain, depth: usize| chain[depth].name.clone();
        for depth in 0..linked.len() {
            // Another symbol of the same code: that it is one, the other tests see.
            if name(linked, depth) != name(linked_judged, depth) {
                continue;
            }
            // llvm 14 leaves names with some expressions in their types as they are: what is no answer judges none.
            let is_rust = |name: &str| rustc_demangle::try_demangle(name).is_ok();
            let unanswered = name(demangled, depth);
            if unanswered.starts_with("_Z") && !is_rust(&unanswered) {
                continue;
            }
            let expected = of_reference(&name(linked, depth), &name(demangled, depth));
            let found = of_judged(&name(judged, depth));
            if expected != found {
                wrong.insert(format!("{expected}\n  is     {}", name(judged, depth)));
            }
        }
    }
    assert!(n_compared * 10 > addresses.len() * 9, "{n_compared}");
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(
        wrong.is_empty(),
        "{} names:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// `a::f` of `void a::f<int>(int) const [clone .cold]`.
fn path_of(name: &str) -> String {
    // A symbol that is not mangled has its suffix as it is: `main.cold`.
    let name = name.split(" [clone").next().unwrap_or(name);
    let name = name.strip_suffix(".cold").unwrap_or(name);
    let outside = outside_of_brackets(name);
    let mut path = outside.trim_end();
    for qualifier in ["&", "const", "volatile"] {
        path = path.trim_end_matches(qualifier).trim_end();
    }
    let (before, operator) = path.split_at(path.find("operator").unwrap_or(path.len()));
    let start = before.rfind(' ').map_or(0, |space| space + 1);
    format!("{}{operator}", &before[start..])
}

/// Without parentheses, angle brackets and what is in them; lambdas without their number; operators whole.
fn outside_of_brackets(name: &str) -> String {
    let mut outside = String::new();
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        if outside.ends_with("operator") {
            let symbol = rest.starts_with("()").then_some(2);
            let is_symbol = |c: char| "<>=!+-*/%&|^~,[]".contains(c);
            let mut end = symbol
                .or_else(|| rest.find(|c| !is_symbol(c)))
                .unwrap_or(rest.len());
            // `operator<<char>`, which is `operator<` of characters.
            if rest[..end].ends_with('<') && rest[end..].starts_with(char::is_alphanumeric) {
                end -= 1;
            }
            if end > 0 {
                outside += &rest[..end];
                // Else what follows were a part of the operator too.
                outside.push(' ');
                rest = &rest[end..];
                continue;
            }
        }
        match next {
            '<' | '(' => rest = behind(rest),
            '{' => {
                outside += "lambda";
                rest = behind(rest);
            }
            '\'' => {
                outside += "lambda";
                rest = rest[1..].split_once('\'').map_or("", |(_, rest)| rest);
            }
            _ => {
                outside.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    outside
}

/// What follows the bracket that `text` begins with, and all that it encloses.
fn behind(text: &str) -> &str {
    let mut depth = 0;
    for (at, char) in text.char_indices() {
        depth += match char {
            '(' | '<' | '{' => 1,
            // `->` closes nothing.
            '>' if text[..at].ends_with('-') => 0,
            ')' | '>' | '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return &text[at + char.len_utf8()..];
        }
    }
    ""
}

#[test]
fn of_a_name_of_cpp_the_path_remains() {
    let check = |name: &str, expected: &str| assert_eq!(path_of(name), expected, "{name}");
    check("main", "main");
    check("void a::f<int, b<c> >(int (*)(d)) const", "a::f");
    check("(anonymous namespace)::f(int) [clone .cold]", "::f");
    check("a::f(b&) (.cold)", "a::f");
    check("a::operator()(int) const &", "a::operator()");
    check(
        "bool std::operator< <char>(std::a<char> const&)",
        "std::operator<",
    );
    check(
        "bool std::operator<<char>(std::a<char> const&)",
        "std::operator<",
    );
    check(
        "std::ostream& std::operator<<(std::ostream&, char)",
        "std::operator<<",
    );
    check("a::b::operator bool() const", "a::b::operator bool");
    check(
        "main::{lambda(int)#2}::operator()(int) const",
        "main::lambda::operator()",
    );
    check(
        "main::'lambda0'(int)::operator()(int) const",
        "main::lambda::operator()",
    );
}
