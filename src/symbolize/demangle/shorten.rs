//! The short form of a full name: no parameters, no generic arguments.
//!
//! | full | short |
//! | --- | --- |
//! | `std::vector<int, std::allocator<int> >::push_back(int const&)` | `std::vector::push_back` |
//! | `f(int)::{lambda(int)#1}::operator()(int) const` | `f::{lambda(int)#1}::operator()` |
//! | `<alloc::vec::Vec<T> as core::ops::drop::Drop>::drop` | `<alloc::vec::Vec as core::ops::drop::Drop>::drop` |
//! | `core::fmt::num::<impl core::fmt::Debug for u32>::fmt` | `<u32 as core::fmt::Debug>::fmt` |
//!
//! A lambda keeps its parameters, since their numbers count among those that have the same. Names of other languages,
//! and what does not follow the rules, stay as they are.

use std::borrow::Cow;

use super::{cpp, rust};

/// The short form of a full name.
pub(in crate::symbolize) fn shorten(full: &str) -> Cow<'_, str> {
    if !full.contains(['<', '(']) || is_of_another_language(full) {
        return Cow::Borrowed(full);
    }
    let (name, behind) = split_marks(full);
    let is_rust = name.starts_with('<') || name.contains("::<");
    let short = match is_rust {
        true => rust::shorten(name),
        false => cpp::shorten(name),
    };
    match short {
        Some(short) if !short.is_empty() && short != name => Cow::Owned(short + behind),
        _ => Cow::Borrowed(full),
    }
}

/// Go's methods (`main.(*T).f`), Python's `<module>`: brackets that are part of a name.
fn is_of_another_language(name: &str) -> bool {
    let is_one_bracket = name.starts_with('<') && !name.contains("::");
    name.contains(".(") || is_one_bracket
}

/// What is appended to a name: ` [clone .part.0]`, `@plt`.
fn split_marks(full: &str) -> (&str, &str) {
    let end = full.find(" [clone ").unwrap_or(full.len());
    let end = match full[..end].strip_suffix("@plt") {
        Some(name) => name.len(),
        None => end,
    };
    full.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::super::demangle;
    use super::*;

    fn check(full: &str, expected: &str) {
        assert_eq!(shorten(full), expected, "{full}");
    }

    #[test]
    fn cpp_loses_parameters_and_template_arguments() {
        check("f(int)", "f");
        check("A::f(int) const", "A::f");
        check("A<int>::f<char>(A<int>&&) &&", "A::f");
        check(
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
            "std::vector::push_back",
        );
        check("f(int (*)(char), A<(1 > 0)>)", "f");
        check("A<(B)1>::~A()", "A::~A");
        check("unsigned long f<int>(int)::g()", "f::g");
        check("f(int)::g(int)::h", "f::g::h");
        check(
            "a::(anonymous namespace)::f(int)",
            "a::(anonymous namespace)::f",
        );
        check(
            "(anonymous namespace)::A<int>::f()",
            "(anonymous namespace)::A::f",
        );
        check("A::f[abi:cxx11](int) const", "A::f[abi:cxx11]");
        check("f(A<int>) [clone .part.0]", "f [clone .part.0]");
        check("A<int>::f(int)@plt", "A::f@plt");
        check(
            "non-virtual thunk to A<int>::f(int)",
            "non-virtual thunk to A::f",
        );
    }

    #[test]
    fn operators_keep_their_symbols() {
        for symbol in [
            "<",
            ">",
            "<=",
            ">=",
            "<=>",
            "<<",
            ">>",
            "<<=",
            ">>=",
            "->",
            "->*",
            "()",
            "[]",
            "+",
            "==",
            "!",
            ",",
            "~",
            " new",
            " new[]",
            " delete",
            " delete[]",
            " co_await",
            "\"\" _km",
        ] {
            check(
                &format!("A<int>::operator{symbol}(A<int> const&)"),
                &format!("A::operator{symbol}"),
            );
        }
        check("bool operator< <int>(A<int>, A<int>)", "operator<");
        check(
            "operator<< <std::char_traits<char> >(std::ostream&, char)",
            "operator<<",
        );
        check("A::operator()<int>(int) const", "A::operator()");
        check("A<&B::operator<>::f()", "A::f");
        check("operators::f(int)", "operators::f");
        check("my_operator<int>::f(int)", "my_operator::f");
    }

    #[test]
    fn a_conversion_operator_is_called_by_its_type() {
        check("A::operator int()", "A::operator int");
        check(
            "A::operator unsigned long() const",
            "A::operator unsigned long",
        );
        check(
            "A<B>::operator std::vector<int>() const",
            "A::operator std::vector",
        );
        check(
            "A::operator int (*)(char)() const",
            "A::operator int (*)(char)",
        );
        check("A::operator B const&() const", "A::operator B const&");
    }

    #[test]
    fn a_lambda_stays_what_it_is() {
        check(
            "f(int)::{lambda(int)#1}::operator()(int) const",
            "f::{lambda(int)#1}::operator()",
        );
        check("A<int>::{lambda()#2}::f(int)", "A::{lambda()#2}::f");
        check("f()::{unnamed type#1}::g<int>()", "f::{unnamed type#1}::g");
        check(
            "auto f()::{lambda(auto:1)#1}::operator()<int>(int) const",
            "f::{lambda(auto:1)#1}::operator()",
        );
    }

    #[test]
    fn rust_loses_generic_arguments() {
        check(
            "core::ptr::drop_in_place::<alloc::vec::Vec<u8>>",
            "core::ptr::drop_in_place",
        );
        check(
            "core::ptr::drop_in_place<alloc::vec::Vec<u8>>",
            "core::ptr::drop_in_place",
        );
        check("<alloc::vec::Vec<u8>>::push", "alloc::vec::Vec::push");
        check(
            "<alloc::vec::Vec<T,A> as core::ops::drop::Drop>::drop",
            "<alloc::vec::Vec as core::ops::drop::Drop>::drop",
        );
        check("<T as Trait>::f", "<T as Trait>::f");
        check(
            "<&mut I as core::iter::Iterator<Item=A<B>>>::next::<C>",
            "<&mut I as core::iter::Iterator>::next",
        );
        check("<[T]>::sort::<fn(A) -> B>", "<[T]>::sort");
        check("<(A<B>, C) as D>::f", "<(A, C) as D>::f");
        check(
            "core::fmt::num::<impl core::fmt::Debug for u32>::fmt",
            "<u32 as core::fmt::Debug>::fmt",
        );
        check("alloc::slice::<impl [T]>::sort_by", "<[T]>::sort_by");
        check("a::<impl b::C<T>>::f", "b::C::f");
        check(
            "<a::B<T> as c::D>::f::{{closure}}",
            "<a::B as c::D>::f::{{closure}}",
        );
        check("a::f::<T>::{closure#0}", "a::f::{closure#0}");
        check("<a::{impl#3} as b::C<T>>::f", "<a::{impl#3} as b::C>::f");
        check(
            "<<a::B<T> as c::D>::E as f::G>::h",
            "<<a::B as c::D>::E as f::G>::h",
        );
        check(
            "<dyn a::B<C> + d::E as f::G>::h",
            "<dyn a::B + d::E as f::G>::h",
        );
    }

    #[test]
    fn other_names_stay() {
        for name in [
            "main",
            "",
            "<module>",
            "<lambda>",
            "main.(*T).f",
            "net/http.(*conn).serve",
            "main.F[...]",
            "f.part.0",
            "a::b::c",
            "a::{closure#0}",
            "<unfinished::f",
            "f(unfinished",
            "()",
            "<>",
            "::<>",
            "operator",
            "operator()",
        ] {
            assert!(
                matches!(shorten(name), Cow::Borrowed(same) if same == name),
                "{name}: {}",
                shorten(name)
            );
        }
    }

    #[test]
    fn what_the_demanglers_write_is_understood() {
        let mangled = |symbol: &str, expected: &str| check(&demangle(symbol.as_bytes()), expected);
        mangled("_ZN1AltERKS_", "A::operator<");
        mangled("_ZlsIcEvT_", "operator<<");
        mangled("_ZN1AcvSt6vectorIiSaIiEEEv", "A::operator std::vector");
        mangled("_ZN1AcvT_IiEEv", "A::operator int");
        mangled("_ZZ1fvENKUliE_clEi", "f::{lambda(int)#1}::operator()");
        mangled("_ZN12_GLOBAL__N_11fEv", "(anonymous namespace)::f");
        mangled("_ZThn16_N1A1fEv", "{virtual override thunk(A::f)}");
        mangled("_ZN1A1fB5cxx11Ev", "A::f[abi:cxx11]");
        mangled("_Z1fIiEvT_.part.0", "f [clone .part.0]");
        mangled(
            "_ZNSt3mapIiSsE4findB5cxx11ERKi",
            "std::map::find[abi:cxx11]",
        );
        mangled(
            "_RINvNtC4core3ptr13drop_in_placeINtC5alloc3VechEEC1a",
            "core::ptr::drop_in_place",
        );
        mangled("_ZZ1fIiEiT_ENKUlvE_clEv", "f::{lambda()#1}::operator()");
    }

    #[test]
    fn no_name_is_too_long_or_too_deep() {
        let _ = shorten(&"<".repeat(4096));
        let _ = shorten(&"a<".repeat(2000));
        let _ = shorten(&format!(
            "{}a{}::f",
            "<".repeat(2000),
            " as b>".repeat(2000)
        ));
        let _ = shorten(&"(".repeat(4096));
        let _ = shorten(&"::<impl ".repeat(500));
    }
}
