//! Sections in which a file names another one that holds its debug information, or a part of it.
//!
//! `.gnu_debuglink`: a file name, a zero byte, padding to a multiple of four, the CRC-32 of that file (gdb's manual,
//! "Debugging Information in Separate Files"). `.gnu_debugaltlink`, which `dwz -m` writes: a path, a zero byte, the build id of that file.

use super::note::MAX_BUILD_ID;
use super::{Elf, ElfError};
use crate::model::BuildId;

const DEBUG_LINK: &str = ".gnu_debuglink";
const ALTERNATE_LINK: &str = ".gnu_debugaltlink";
const MINI_DEBUG_INFO: &str = ".gnu_debugdata";
/// What the kernel takes for a file name, and for a path.
const MAX_FILE_NAME: usize = 255;
const MAX_PATH: usize = 4096;
/// Room for a path, a build id and what stands between.
const MAX_LINK: u64 = 8192;

/// What `.gnu_debuglink` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugLink {
    /// The name of a file: neither a path nor `.` or `..`.
    pub file_name: Vec<u8>,
    /// The CRC-32 of the whole file.
    pub crc: u32,
}

/// What `.gnu_debugaltlink` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternateLink {
    /// Where the file was when the link was written, seen from the file that has the link.
    pub path: Vec<u8>,
    /// Its build id.
    pub build_id: BuildId,
}

impl Elf {
    /// The separate debug file that the file names; `None` if it names none.
    pub fn debug_link(&self) -> Result<Option<DebugLink>, ElfError> {
        let bytes = self.link(DEBUG_LINK)?;
        bytes.map(|bytes| debug_link(&bytes)).transpose()
    }

    /// The file that holds what the debug information of several files has in common; `None` if the file names none.
    pub fn alternate_link(&self) -> Result<Option<AlternateLink>, ElfError> {
        let bytes = self.link(ALTERNATE_LINK)?;
        bytes.map(|bytes| alternate_link(&bytes)).transpose()
    }

    /// The xz stream in which a file carries an ELF file of further symbols; `None` if there is none.
    ///
    /// # Errors
    /// One that takes more than `max_size` bytes.
    pub fn mini_debug_info(&self, max_size: u64) -> Result<Option<Vec<u8>>, ElfError> {
        match self.section_size(MINI_DEBUG_INFO)? {
            0 => Ok(None),
            size if size > max_size => Err(ElfError::TooLarge(size)),
            _ => Ok(self.section(MINI_DEBUG_INFO)?.map(|section| section.bytes)),
        }
    }

    fn link(&self, name: &str) -> Result<Option<Vec<u8>>, ElfError> {
        match self.section_size(name)? {
            size if size > MAX_LINK => Err(ElfError::TooLarge(size)),
            _ => Ok(self.section(name)?.map(|section| section.bytes)),
        }
    }
}

fn debug_link(bytes: &[u8]) -> Result<DebugLink, ElfError> {
    let parse = || {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let crc = bytes.get((end + 1).next_multiple_of(4)..)?.first_chunk()?;
        let file_name = &bytes[..end];
        let is_name = (1..=MAX_FILE_NAME).contains(&end)
            && !file_name.contains(&b'/')
            && file_name != b"."
            && file_name != b"..";
        is_name.then(|| DebugLink {
            file_name: file_name.to_vec(),
            crc: u32::from_le_bytes(*crc),
        })
    };
    parse().ok_or(ElfError::Malformed("debug link"))
}

fn alternate_link(bytes: &[u8]) -> Result<AlternateLink, ElfError> {
    let parse = || {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let build_id = &bytes[end + 1..];
        let is_link = (1..=MAX_PATH).contains(&end) && (1..=MAX_BUILD_ID).contains(&build_id.len());
        is_link.then(|| AlternateLink {
            path: bytes[..end].to_vec(),
            build_id: BuildId(build_id.into()),
        })
    };
    parse().ok_or(ElfError::Malformed("alternate debug link"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_link_is_a_name_padded_to_four_bytes_and_a_crc() {
        for (bytes, name) in [
            (&b"abc\0\x78\x56\x34\x12"[..], &b"abc"[..]),
            (b"abcd\0\0\0\0\x78\x56\x34\x12", b"abcd"),
            (b"..a\0\x78\x56\x34\x12more", b"..a"),
        ] {
            let link = debug_link(bytes).expect("a link");
            assert_eq!((&*link.file_name, link.crc), (name, 0x1234_5678));
        }
    }

    #[test]
    fn a_debug_link_that_is_a_path_or_cut_off_is_refused() {
        for bytes in [
            &b""[..],
            b"\0\0\0\0\x78\x56\x34\x12",
            b"../../etc/shadow\0\0\0\0\x78\x56\x34\x12",
            b"/abc\0\0\0\0\x78\x56\x34\x12",
            b"..\0\0\x78\x56\x34\x12",
            b".\0\0\0\x78\x56\x34\x12",
            b"abcdefgh",
            b"abc\0\x78\x56\x34",
        ] {
            assert!(debug_link(bytes).is_err(), "{bytes:?}");
        }
        let mut long = vec![b'a'; MAX_FILE_NAME + 1];
        long.resize(long.len() + 8, 0);
        assert!(debug_link(&long).is_err());
        assert!(debug_link(&long[1..]).is_ok());
    }

    #[test]
    fn an_alternate_link_is_a_path_and_the_rest_a_build_id() {
        let link = alternate_link(b"../common\0\x01\0\x02").expect("a link");
        assert_eq!(link.path, b"../common");
        assert_eq!(link.build_id.to_string(), "010002");
        for bytes in [&b""[..], b"common", b"common\0", b"\0\x01\x02"] {
            assert!(alternate_link(bytes).is_err(), "{bytes:?}");
        }
        let too_long = [&b"common\0"[..], &[1; MAX_BUILD_ID + 1]].concat();
        assert!(alternate_link(&too_long).is_err());
    }
}
