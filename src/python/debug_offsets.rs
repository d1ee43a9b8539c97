//! The table by which CPython describes its structs to debuggers, from 3.13 on: `_Py_DebugOffsets` at the beginning of `_PyRuntime`.
//!
//! `"xdebugpy"`, the version as `PY_VERSION_HEX`, and then words of 64 bits: whether it is built without the lock, and for each struct its
//! size and the offsets of some fields. Which fields these are is a version's own: `Include/internal/pycore_runtime.h` in 3.13,
//! `pycore_debug_offsets.h` later.

use super::layout::Known;
use crate::bpf::PythonLayout;

/// Bytes of the table that are needed.
pub(super) const SIZE: usize = 16 + 8 * N_WORDS;
const N_WORDS: usize = 80;
const COOKIE: &[u8; 8] = b"xdebugpy";

/// Frames end with one without code at the beginning of each call of the evaluation function: `FRAME_OWNED_BY_CSTACK` of 3.13, and
/// `FRAME_OWNED_BY_INTERPRETER` of 3.14, behind which others of the kind follow.
const OWNER_WITHOUT_CODE: u8 = 3;
/// Behind `PyASCIIObject` a `PyCompactUnicodeObject` has the length and the address of its UTF-8.
const COMPACT_BEHIND_ASCII: u16 = 16;

/// Why a table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is none, or its offsets cannot be.
    Damaged,
    /// It is that of a build without the lock.
    FreeThreaded,
    /// Its fields are not known.
    OtherVersion,
}

/// Where the words of a version's table are, counted from the one behind the version.
struct Places {
    interpreters_head: usize,
    interpreter_next: usize,
    interpreter_threads: usize,
    thread_next: usize,
    thread_frame: usize,
    thread_native_id: usize,
    frame_previous: usize,
    frame_code: usize,
    frame_owner: usize,
    code_filename: usize,
    code_qualname: usize,
    code_first_line: usize,
    object_type: usize,
    string_state: usize,
    string_length: usize,
    ascii_size: usize,
}

const PLACES_3_13: Places = Places {
    interpreters_head: 3,
    interpreter_next: 6,
    interpreter_threads: 7,
    thread_next: 19,
    thread_frame: 21,
    thread_native_id: 23,
    frame_previous: 27,
    frame_code: 28,
    frame_owner: 31,
    code_filename: 33,
    code_qualname: 35,
    code_first_line: 37,
    object_type: 43,
    string_state: 66,
    string_length: 67,
    ascii_size: 68,
};

const PLACES_3_14: Places = Places {
    interpreters_head: 3,
    interpreter_next: 6,
    interpreter_threads: 7,
    thread_next: 22,
    thread_frame: 24,
    thread_native_id: 26,
    frame_previous: 30,
    frame_code: 31,
    frame_owner: 34,
    code_filename: 38,
    code_qualname: 40,
    code_first_line: 42,
    object_type: 49,
    string_state: 76,
    string_length: 77,
    ascii_size: 78,
};

/// Takes the layout out of the table, which begins with `bytes`. `version`: that of the file, as `PY_VERSION_HEX`, which the table must
/// have too.
pub(super) fn parse(bytes: &[u8], version: u32) -> Result<Known, Unusable> {
    let word = |at: usize| -> Result<u64, Unusable> {
        let bytes = bytes.get(at..at + 8).ok_or(Unusable::Damaged)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
    };
    if !bytes.starts_with(COOKIE) || word(8)? != u64::from(version) {
        return Err(Unusable::Damaged);
    }
    let places = match version >> 16 {
        0x030d => PLACES_3_13,
        0x030e => PLACES_3_14,
        _ => return Err(Unusable::OtherVersion),
    };
    if word(16)? != 0 {
        return Err(Unusable::FreeThreaded);
    }
    // The structs are smaller than the reach of 16 bits, which ends with the offset that no field has.
    let offset = |place: usize| match u16::try_from(word(16 + 8 * place)?) {
        Ok(offset) if offset != u16::MAX => Ok(offset),
        _ => Err(Unusable::Damaged),
    };
    let ascii_text = offset(places.ascii_size)?;
    Ok(Known {
        interpreters_head: offset(places.interpreters_head)?.into(),
        layout: PythonLayout {
            interpreter_next: offset(places.interpreter_next)?,
            interpreter_threads: offset(places.interpreter_threads)?,
            thread_next: offset(places.thread_next)?,
            thread_native_id: offset(places.thread_native_id)?,
            thread_frame: offset(places.thread_frame)?,
            frame_in_holder: None,
            frame_previous: offset(places.frame_previous)?,
            frame_code: offset(places.frame_code)?,
            frame_owner: offset(places.frame_owner)?,
            frame_is_entry: None,
            owner_without_code: Some(OWNER_WITHOUT_CODE),
            object_type: offset(places.object_type)?,
            code_filename: offset(places.code_filename)?,
            code_qualname: offset(places.code_qualname)?,
            code_first_line: offset(places.code_first_line)?,
            string_length: offset(places.string_length)?,
            string_state: offset(places.string_state)?,
            ascii_text,
            other_text: ascii_text.saturating_add(COMPACT_BEHIND_ASCII),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table whose words are known where `at` says.
    fn table(version: u32, at: &[(usize, u64)]) -> Vec<u8> {
        let mut words = vec![0u64; N_WORDS];
        at.iter().for_each(|(place, word)| words[*place] = *word);
        let mut bytes = COOKIE.to_vec();
        bytes.extend(u64::from(version).to_le_bytes());
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    /// As Debian's python3.14 3.14.8 has them.
    const OF_3_14: [(usize, u64); 16] = [
        (3, 808),
        (6, 7272),
        (7, 7344),
        (22, 8),
        (24, 72),
        (26, 160),
        (30, 8),
        (31, 0),
        (34, 74),
        (38, 112),
        (40, 128),
        (42, 68),
        (49, 8),
        (76, 32),
        (77, 16),
        (78, 40),
    ];

    #[test]
    fn the_table_of_3_14_gives_its_layout() {
        let known = parse(&table(0x030e_08f0, &OF_3_14), 0x030e_08f0).expect("usable");
        assert_eq!(known.interpreters_head, 808);
        let layout = known.layout;
        assert_eq!(
            (layout.interpreter_next, layout.interpreter_threads),
            (7272, 7344)
        );
        assert_eq!((layout.thread_frame, layout.thread_native_id), (72, 160));
        assert_eq!((layout.frame_previous, layout.frame_owner), (8, 74));
        assert_eq!((layout.code_filename, layout.code_qualname), (112, 128));
        assert_eq!((layout.ascii_text, layout.other_text), (40, 56));
    }

    #[test]
    fn a_table_that_cannot_be_trusted_is_refused() {
        let check = |bytes: &[u8], version, why| assert_eq!(parse(bytes, version), Err(why));
        let good = table(0x030e_08f0, &OF_3_14);
        check(&good[..300], 0x030e_08f0, Unusable::Damaged);
        check(&good, 0x030e_07f0, Unusable::Damaged);
        check(&[0; SIZE], 0x030e_08f0, Unusable::Damaged);
        check(
            &table(0x030f_00f0, &OF_3_14),
            0x030f_00f0,
            Unusable::OtherVersion,
        );
        let mut words = OF_3_14.to_vec();
        words[0].1 = 1 << 16;
        check(&table(0x030e_08f0, &words), 0x030e_08f0, Unusable::Damaged);
        let locked = [OF_3_14.as_slice(), &[(0, 1)]].concat();
        check(
            &table(0x030e_08f0, &locked),
            0x030e_08f0,
            Unusable::FreeThreaded,
        );
    }
}
