//! Base64 with the usual alphabet and padding (RFC 4648, section 4): how bytes stand in JSON.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct NotBase64;

/// The text of some bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |idx: usize| u32::from(group.get(idx).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            match digit <= group.len() {
                true => text.push(char::from(
                    ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize],
                )),
                false => text.push('='),
            }
        }
    }
    text
}

/// The bytes of a text.
///
/// # Errors
/// A character that is none of the alphabet, or a length that no bytes have.
pub fn decode(text: &str) -> Result<Vec<u8>, NotBase64> {
    let digits = text.trim_end_matches('=').as_bytes();
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return Err(NotBase64);
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        if group.len() == 1 {
            return Err(NotBase64);
        }
        let mut bits = 0;
        for digit in group {
            bits = bits << 6 | value(*digit)?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, first, second, third] = u32::to_be_bytes(bits);
        bytes.extend([first, second, third].into_iter().take(group.len() - 1));
    }
    Ok(bytes)
}

fn value(digit: u8) -> Result<u32, NotBase64> {
    Ok(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return Err(NotBase64),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_hold_both_ways() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
        for text in [
            "Z",
            "Zg",
            "Zg=",
            "Zg===",
            "====",
            "Z-==",
            "Zg==Zg==",
            "Zm9\u{e9}",
        ] {
            assert_eq!(decode(text), Err(NotBase64), "{text}");
        }
    }
}
