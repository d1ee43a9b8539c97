//! C++ and Rust names as people write them.
//!
//! C++ with parameters and without the return type (`ns::f<int>(char const*)`), Rust without its hash
//! (`core::ptr::drop_in_place<T>`); what is neither stays as it is. That is the full name; [`shorten()`] takes parameters and
//! generic arguments from it, [`fold_suffixes`] what tells a compiler's copies of a function apart.

mod brackets;
mod cpp;
mod rust;
mod shorten;
mod suffixes;

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

pub(in crate::symbolize) use shorten::shorten;
pub(in crate::symbolize) use suffixes::fold_suffixes;

use super::confine::confined;

/// How names are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Demangle {
    /// Demangled, all of it.
    #[default]
    Full,
    /// Demangled, without parameters and generic arguments.
    Short,
    /// As the linker knows them.
    None,
}

/// Longest name that is shown; a few bytes of mangled name can stand for gigabytes.
pub(in crate::symbolize) const MAX_NAME: usize = 4 << 10;
/// Nesting of templates and the like; a level takes about 1 KiB of our stack.
const MAX_DEPTH: u32 = 160;
/// Ends of a name that are tried.
const MAX_ENDS: usize = 64;
const CUT: &str = "…";

/// A name that is not mangled, or is to stay so.
pub(in crate::symbolize) fn as_it_is(name: &[u8]) -> String {
    Capped::of(&String::from_utf8_lossy(name))
}

/// The full name that `mangled` stands for.
pub(in crate::symbolize) fn demangle(mangled: &[u8]) -> String {
    let name = String::from_utf8_lossy(mangled);
    rust(&name)
        .or_else(|| cpp(&name))
        .unwrap_or_else(|| Capped::of(&name))
}

fn rust(name: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    let mut capped = Capped::default();
    // An error says that the cap was reached, and the part up to there is what is wanted.
    let _ = confined(|| write!(capped, "{demangled:#}"));
    Some(capped.finish())
}

fn cpp(name: &str) -> Option<String> {
    // `foo@plt`: the stub's own mark stays behind the demangled name.
    let (name, stub) = match name.strip_suffix("@plt") {
        Some(name) => (name, "@plt"),
        None => (name, ""),
    };
    if !name.starts_with("_Z") || name.len() > MAX_NAME {
        return None;
    }
    let mut demangled = whole_cpp(name).or_else(|| cpp_without_parameters(name))?;
    let _ = demangled.write_str(stub);
    Some(demangled.finish())
}

fn whole_cpp(name: &str) -> Option<Capped> {
    let mut capped = Capped::default();
    confined(|| {
        let parse = ParseOptions::default().recursion_limit(MAX_DEPTH);
        let symbol = Symbol::new_with_options(name, &parse).ok()?;
        let options = DemangleOptions::new()
            .no_return_type()
            .recursion_limit(MAX_DEPTH);
        let outcome = symbol.structured_demangle(&mut capped, &options);
        (outcome.is_ok() || capped.is_full).then_some(())
    })
    .ok()??;
    Some(capped)
}

/// Names whose types have an expression that cpp_demangle does not know (`enable_if<X::value>`, as in `std::swap`): what is in front of the
/// types is a name by itself, and ends with the first `E` behind which all brackets are closed.
fn cpp_without_parameters(name: &str) -> Option<Capped> {
    let ends = name.match_indices('E').map(|(at, _)| at + 1);
    // An expression begins with an `X`.
    let ends = ends.take_while(|end| name[*end..].contains('X'));
    ends.take(MAX_ENDS).find_map(|end| whole_cpp(&name[..end]))
}

/// Text up to [`MAX_NAME`] bytes; writing more is an error.
#[derive(Default)]
struct Capped {
    text: String,
    is_full: bool,
}

impl Capped {
    fn of(name: &str) -> String {
        let mut capped = Capped::default();
        let _ = capped.write_str(name);
        capped.finish()
    }

    fn finish(mut self) -> String {
        if self.is_full {
            self.text.push_str(CUT);
        }
        self.text
    }
}

impl Write for Capped {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.is_full {
            return Err(fmt::Error);
        }
        let room = MAX_NAME - CUT.len() - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let cut = (0..=room).rev().find(|at| more.is_char_boundary(*at));
        self.text.push_str(&more[..cut.unwrap_or(0)]);
        self.is_full = true;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mangled: &str, expected: &str) {
        assert_eq!(demangle(mangled.as_bytes()), expected);
    }

    #[test]
    fn names_of_c_stay_as_they_are() {
        check("main", "main");
        check("_start", "_start");
        check("read@plt", "read@plt");
        check("foo.part.0", "foo.part.0");
        check("_Zebra", "_Zebra");
        check("", "");
    }

    #[test]
    fn names_of_cpp_have_parameters_and_no_return_type() {
        check("_ZN1A3fooEi", "A::foo(int)");
        check("_Z3maxIiET_S0_S0_", "max<int>(int, int)");
        check(
            "_ZNSt6vectorIiSaIiEE9push_backERKi",
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
        );
        check("_ZN1AC1Ev", "A::A()");
        check("_ZL6staticv", "static()");
        check(
            "_ZSt4swapIiENSt9enable_ifIXsrSt6__and_IJSt6__not_ISt15__is_tuple_likeIT_EEEE5valueEvE4typeERS3_SC_",
            "std::swap<int>",
        );
        check("_ZN1A3fooE$", "_ZN1A3fooE$");
        check("_ZN1A3fooEi@plt", "A::foo(int)@plt");
    }

    #[test]
    fn names_of_rust_lose_their_hash() {
        check("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write");
        check(
            "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
            "<Test + 'static as foo::Bar<Test>>::bar",
        );
        check("_RNvCs1234_7mycrate3foo", "mycrate::foo");
    }

    #[test]
    fn a_name_that_explodes_is_cut() {
        // Each S_ doubles what came before.
        let mut bomb = String::from("_Z1fSt4pairIiiE");
        for level in 0..30 {
            let id = level.to_string();
            let reference = if level == 0 {
                "S_".to_owned()
            } else {
                format!("S{}_", id)
            };
            bomb.push_str(&format!("St4pairI{reference}{reference}E"));
        }
        assert!(demangle(bomb.as_bytes()).len() <= MAX_NAME);
        let long = "x".repeat(100_000);
        assert_eq!(demangle(long.as_bytes()).len(), MAX_NAME);
        let deep = format!("_Z1f{}i", "P".repeat(50_000));
        assert!(demangle(deep.as_bytes()).len() <= MAX_NAME);
        let deep = format!("_Z1f{}iE", "N1a".repeat(1300));
        assert!(demangle(deep.as_bytes()).len() <= MAX_NAME);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        assert_eq!(demangle(b"a\xffb"), "a\u{fffd}b");
    }
}
