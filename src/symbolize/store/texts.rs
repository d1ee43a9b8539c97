//! Texts: names of functions and paths of files, each once, in pieces.
//!
//! A text's number is its piece and its place in it, so that a text is found without an index. A name is kept as it is shown,
//! and names its linkage name, which is another text.

use super::super::table::NONE;

/// Bytes of a piece, as many as a number has room to tell apart.
pub(super) const PIECE: usize = 1 << 16;
/// Bytes in front of each text.
const HEAD: usize = 7;
/// Longest text: what is longer is cut. Shown names are shorter; this is for linkage names.
const LONGEST: usize = 16 << 10;

/// What is known of a text beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::symbolize) struct TextFlags {
    /// The name lacks the scope and the parameters that the function has.
    pub(in crate::symbolize) is_bare: bool,
}

/// A text as it lies in a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct Stored<'a> {
    pub(in crate::symbolize) text: &'a [u8],
    pub(in crate::symbolize) flags: TextFlags,
    /// The number of the linkage name; `None` if it is the text itself.
    pub(in crate::symbolize) linkage: Option<u32>,
}

/// The piece that a text's number is about.
pub(super) fn piece_of(number: u32) -> u32 {
    number >> 16
}

/// The text of that number in its piece.
pub(super) fn text_at(piece: &[u8], number: u32) -> Option<Stored<'_>> {
    let rest = piece.get((number & 0xffff) as usize..)?;
    let head: &[u8; HEAD] = rest.first_chunk()?;
    let len = u16::from_le_bytes([head[0], head[1]]);
    let linkage = u32::from_le_bytes([head[3], head[4], head[5], head[6]]);
    Some(Stored {
        text: rest.get(HEAD..HEAD + usize::from(len))?,
        flags: TextFlags {
            is_bare: head[2] & 1 != 0,
        },
        linkage: (linkage != NONE).then_some(linkage),
    })
}

/// Appends a text to a piece and returns its place there; `None` if the piece has no room for it.
pub(super) fn push(
    piece: &mut Vec<u8>,
    text: &[u8],
    flags: TextFlags,
    linkage: Option<u32>,
) -> Option<u32> {
    let text = &text[..text.len().min(LONGEST)];
    let place = piece.len();
    if place + HEAD + text.len() > PIECE {
        return None;
    }
    piece.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    piece.push(u8::from(flags.is_bare));
    piece.extend_from_slice(&linkage.unwrap_or(NONE).to_le_bytes());
    piece.extend_from_slice(text);
    u32::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_their_numbers_until_the_piece_is_full() {
        let mut piece = Vec::new();
        let bare = TextFlags { is_bare: true };
        let first = push(&mut piece, b"one", TextFlags::default(), None).expect("room");
        let second = push(&mut piece, b"", bare, Some(first)).expect("room");
        assert_eq!(
            text_at(&piece, first),
            Some(Stored {
                text: b"one",
                flags: TextFlags::default(),
                linkage: None
            })
        );
        let stored = text_at(&piece, second).expect("there");
        assert_eq!((stored.text, stored.linkage), (&b""[..], Some(first)));
        assert!(stored.flags.is_bare);
        let long = vec![b'x'; 100_000];
        let mut n_long = 0;
        while push(&mut piece, &long, bare, None).is_some() {
            n_long += 1;
        }
        assert_eq!(n_long, 3);
        assert!(piece.len() <= PIECE);
        for cut in 0..20 {
            text_at(&piece[..cut], first);
            text_at(&piece[..cut], second);
        }
    }
}
