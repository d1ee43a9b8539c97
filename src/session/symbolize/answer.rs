//! Answers as `addr2line` writes them.

use crate::symbolize::{Function, Functions, Place};

/// What is written of each address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The address itself, first.
    pub addresses: bool,
    /// Names of functions, before their places.
    pub functions: bool,
    /// The functions that the one at the address was inlined into.
    pub inlines: bool,
    /// Demangled names.
    pub demangle: bool,
    /// All of a function in one line.
    pub pretty: bool,
    /// Files without their folders.
    pub basenames: bool,
}

impl Style {
    /// Appends the answer for `address`; without functions it is `??`.
    pub(super) fn write(self, address: u64, functions: &Functions, out: &mut Vec<u8>) {
        if self.addresses {
            out.extend_from_slice(format!("{address:#018x}").as_bytes());
            out.extend_from_slice(if self.pretty { b": " } else { b"\n" });
        }
        if functions.is_empty() {
            let unknown = Function {
                name: None,
                place: None,
                is_inlined: false,
            };
            return self.function(&unknown, out);
        }
        let n_shown = if self.inlines { usize::MAX } else { 1 };
        for (idx, function) in functions.iter().take(n_shown).enumerate() {
            if idx > 0 && self.pretty {
                out.extend_from_slice(b" (inlined by) ");
            }
            self.function(&function, out);
        }
    }

    fn function(self, function: &Function<'_>, out: &mut Vec<u8>) {
        if self.functions {
            match &function.name {
                Some(name) if self.demangle => out.extend_from_slice(name.shown.as_bytes()),
                Some(name) => out.extend_from_slice(name.linkage),
                None => out.extend_from_slice(b"??"),
            }
            out.extend_from_slice(if self.pretty { b" at " } else { b"\n" });
        }
        self.place(function.place, out);
        out.push(b'\n');
    }

    fn place(self, place: Option<Place<'_>>, out: &mut Vec<u8>) {
        let Some(place) = place else {
            out.extend_from_slice(b"??:0");
            return;
        };
        let file = match self.basenames {
            true => place.file.rsplit(|byte| *byte == b'/').next(),
            false => Some(place.file),
        };
        out.extend_from_slice(file.unwrap_or_default());
        out.push(b':');
        match place.line {
            0 => out.push(b'?'),
            line => push_decimal(line, out),
        }
    }
}

fn push_decimal(mut number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_written_as_addr2line_does() {
        let check = |style: Style, expected: &str| {
            let mut out = Vec::new();
            style.write(0x1234, &Functions::default(), &mut out);
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        };
        let all = Style {
            addresses: true,
            functions: true,
            ..Style::default()
        };
        check(Style::default(), "??:0\n");
        check(all, "0x0000000000001234\n??\n??:0\n");
        let pretty = Style {
            pretty: true,
            ..all
        };
        check(pretty, "0x0000000000001234: ?? at ??:0\n");
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 4_294_967_295] {
            let mut out = Vec::new();
            push_decimal(number, &mut out);
            assert_eq!(String::from_utf8(out).expect("text"), number.to_string());
        }
    }
}
