//! What compilers append to the names of their copies and parts of functions.
//!
//! A demangler shows it as ` [clone .part.0]`; names of C keep it as it is (`f.part.0`).

use std::borrow::Cow;

/// gcc: `.cold`, `.part.N`, `.isra.N`, `.constprop.N`, `.lto_priv.N`, `.localalias`; LLVM: `.llvm.N`, `.cold.N`, `.specialized.N`,
/// `.__uniq.N`, `.warm`.
const MARKS: [&str; 10] = [
    "cold",
    "part",
    "isra",
    "constprop",
    "lto_priv",
    "llvm",
    "localalias",
    "specialized",
    "__uniq",
    "warm",
];
const CLONE: &str = " [clone ";

/// The name of the function that `name` is a copy or a part of.
pub(in crate::symbolize) fn fold_suffixes(name: &str) -> Cow<'_, str> {
    // `f() [clone .cold]@plt`: the stub's own mark stays.
    let (rest, stub) = match name.strip_suffix("@plt") {
        Some(rest) => (rest, "@plt"),
        None => (name, ""),
    };
    let mut folded = match rest.find(CLONE) {
        Some(at) => &rest[..at],
        None => rest,
    };
    while let Some(shorter) = without_mark(folded) {
        folded = shorter;
    }
    match (folded.len() == rest.len(), stub) {
        (true, _) => Cow::Borrowed(name),
        (false, "") => Cow::Borrowed(folded),
        (false, stub) => Cow::Owned(format!("{folded}{stub}")),
    }
}

/// `f` of `f.mark` and `f.mark.7`.
fn without_mark(name: &str) -> Option<&str> {
    let (rest, last) = name.rsplit_once('.')?;
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let (function, mark) = match is_number {
        true => rest.rsplit_once('.')?,
        false => (rest, last),
    };
    (MARKS.contains(&mark) && !function.is_empty()).then_some(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_parts_have_their_functions_name() {
        let check = |name: &str, expected: &str| assert_eq!(fold_suffixes(name), expected);
        check("f.cold", "f");
        check("f.part.0", "f");
        check("f.part.0.cold", "f");
        check("f.constprop.0.isra.12", "f");
        check("f.lto_priv.3.llvm.1234567890", "f");
        check("ns::f(int) [clone .isra.0] [clone .cold]", "ns::f(int)");
        check("core::fmt::write.llvm.123", "core::fmt::write");
        check("f.cold@plt", "f@plt");
    }

    #[test]
    fn other_names_stay() {
        for name in [
            "main",
            "f.0",
            "f.",
            ".cold",
            "f.partial.0",
            "main.main.func1",
            "f@plt",
            "a.b.c",
            "",
        ] {
            assert!(
                matches!(fold_suffixes(name), Cow::Borrowed(same) if same == name),
                "{name}"
            );
        }
    }
}
