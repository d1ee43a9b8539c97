//! The encoding below profile.proto: fields of a message as a number, a wire type and a value, one after the other.
//!
//! ```text
//! field    varint(number × 8 + type) value
//! type 0   varint: seven bits a byte, low ones first, the top bit says that more follow
//!      1   eight bytes          2   varint length, bytes: text, a message, or packed varints          5   four bytes
//! ```
//!
//! Negative numbers of 64 bits are their two's complement. <https://protobuf.dev/programming-guides/encoding/>

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;
/// The largest number that a field may have.
const MAX_NUMBER: u64 = (1 << 29) - 1;

/// Appends a varint.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a number, unless it is 0: a field that is not there is 0.
pub(super) fn put_number(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put_varint(u64::from(field) << 3 | VARINT, out);
        put_varint(value, out);
    }
}

/// Appends text or a message, also an empty one.
pub(super) fn put_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(field) << 3 | BYTES, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends numbers as packed varints; `scratch` is emptied first.
pub(super) fn put_packed(
    field: u32,
    numbers: impl IntoIterator<Item = u64>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    scratch.clear();
    for number in numbers {
        put_varint(number, scratch);
    }
    if !scratch.is_empty() {
        put_bytes(field, scratch, out);
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Of wire type 0, 1 or 5.
    Number(u64),
    /// Of wire type 2.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A number; 0 where the field has another type, as other readers of these files take it.
    pub(super) fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }

    /// Bytes; none where the field has another type.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Value::Number(_) => &[],
            Value::Bytes(bytes) => bytes,
        }
    }

    /// The numbers of a repeated field: one by itself, or packed.
    pub(super) fn numbers(self) -> Numbers<'a> {
        match self {
            Value::Number(number) => Numbers {
                alone: Some(number),
                packed: &[],
            },
            Value::Bytes(packed) => Numbers {
                alone: None,
                packed,
            },
        }
    }
}

/// The fields of a message, in the order in which they stand there; ends after the first that is no field.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// Bytes that are no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoField;

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let head = take_varint(&mut self.rest)?;
        let number = head >> 3;
        if number == 0 || number > MAX_NUMBER {
            return None;
        }
        let value = match head & 7 {
            VARINT => Value::Number(take_varint(&mut self.rest)?),
            FIXED64 => {
                let (bytes, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Value::Number(u64::from_le_bytes(*bytes))
            }
            BYTES => {
                let len = usize::try_from(take_varint(&mut self.rest)?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            FIXED32 => {
                let (bytes, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Value::Number(u32::from_le_bytes(*bytes).into())
            }
            _ => return None,
        };
        Some((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), NoField>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(NoField))
    }
}

/// The numbers of a repeated field; ends after the first that is none.
#[derive(Clone, Debug)]
pub(super) struct Numbers<'a> {
    alone: Option<u64>,
    packed: &'a [u8],
}

impl Iterator for Numbers<'_> {
    type Item = Result<u64, NoField>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(number) = self.alone.take() {
            return Some(Ok(number));
        }
        if self.packed.is_empty() {
            return None;
        }
        let number = take_varint(&mut self.packed);
        if number.is_none() {
            self.packed = &[];
        }
        Some(number.ok_or(NoField))
    }
}

/// Takes a varint of at most ten bytes; bits beyond the 64th are dropped.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).unbounded_shl(shift);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut bytes = Vec::new();
                put_varint(value, &mut bytes);
                assert!(bytes.len() <= 10);
                assert_eq!(take_varint(&mut bytes.as_slice()), Some(value));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        // The examples of the encoding's page: {1: 150}, {2: "testing"}, {4: [3, 270, 86942]}.
        let mut out = Vec::new();
        put_number(1, 150, &mut out);
        put_bytes(2, b"testing", &mut out);
        put_packed(4, [3, 270, 86942], &mut Vec::new(), &mut out);
        let expected = b"\x08\x96\x01\x12\x07testing\x22\x06\x03\x8e\x02\x9e\xa7\x05";
        assert_eq!(out, expected);
        let fields: Vec<_> = Fields::of(&out).map(|field| field.unwrap()).collect();
        assert_eq!(fields[0], (1, Value::Number(150)));
        assert_eq!(fields[1], (2, Value::Bytes(b"testing")));
        let packed: Result<Vec<u64>, _> = fields[2].1.numbers().collect();
        assert_eq!(packed, Ok(vec![3, 270, 86942]));
    }

    #[test]
    fn what_is_no_field_ends_the_message() {
        for bytes in [
            &b"\x00\x01"[..],
            b"\x0b",
            b"\x08",
            b"\x08\x80",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\x05abcd",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x09abc",
        ] {
            let fields: Vec<_> = Fields::of(bytes).collect();
            assert_eq!(fields, [Err(NoField)], "{bytes:?}");
        }
    }
}
