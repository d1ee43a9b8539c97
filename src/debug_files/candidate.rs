//! A file that may be the one that is looked for: how it is checked, and why it is not taken.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::model::BuildId;
use crate::object::{DebugLink, Elf, ElfError, ReadAt};

/// The largest file that is read as a whole for its checksum: 4 GiB. The debug file of a browser has 3.
const MAX_CHECKED: u64 = 4 << 30;
/// Bytes of it that are in memory at once.
const WINDOW: usize = 1 << 20;

/// A file that is there and not taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) path: PathBuf,
    pub(super) why: Mismatch,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// Why a file is not the one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mismatch {
    /// We may not read it, or reading it failed.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A pipe, a device or the like.
    #[error("is not a regular file")]
    NotRegular,
    /// It is damaged, or something else altogether.
    #[error("cannot be used: {0}")]
    Elf(#[from] ElfError),
    /// It was stripped too, so that it is of no use even if it is the right one: a link by build id may lead back to the file that was
    /// asked for.
    #[error("has no debug information")]
    Stripped,
    /// It belongs to another build.
    #[error("is of another build")]
    BuildId,
    /// It is not the file that the link was made to.
    #[error("has another checksum than .gnu_debuglink says")]
    Checksum,
    /// It is too large to be read for its checksum.
    #[error("is too large to be checked: {0} bytes")]
    TooLarge(u64),
}

/// Takes a file by its build id.
pub(super) fn by_build_id(file: File, build_id: &BuildId) -> Result<Elf, Mismatch> {
    let elf = Elf::parse(Box::new(file))?;
    if elf.build_id().as_ref() != Some(build_id) {
        return Err(Mismatch::BuildId);
    }
    described(elf)
}

/// Takes a file by its checksum, and by the build id of the file that links to it where both have one.
pub(super) fn by_link(
    file: File,
    link: &DebugLink,
    build_id: Option<&BuildId>,
) -> Result<Elf, Mismatch> {
    // First what costs less.
    let elf = Elf::parse(Box::new(file.try_clone()?))?;
    if let (Some(own), Some(theirs)) = (elf.build_id().as_ref(), build_id)
        && own != theirs
    {
        return Err(Mismatch::BuildId);
    }
    if crc(&file)? != link.crc {
        return Err(Mismatch::Checksum);
    }
    described(elf)
}

fn described(elf: Elf) -> Result<Elf, Mismatch> {
    match elf.has_debug_info() || elf.has_symbol_table() {
        true => Ok(elf),
        false => Err(Mismatch::Stripped),
    }
}

fn crc(file: &File) -> Result<u32, Mismatch> {
    let len = file.metadata()?.len();
    if len > MAX_CHECKED {
        return Err(Mismatch::TooLarge(len));
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut window = vec![0; WINDOW];
    let mut at = 0;
    // Not to its end: it may grow for ever.
    while at < len {
        match ReadAt::read_at(file, &mut window, at) {
            Ok(0) => break,
            Ok(n_bytes) => {
                hasher.update(&window[..n_bytes]);
                at += n_bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_whole_file() {
        let mut file = tempfile::tempfile().expect("a file");
        io::Write::write_all(&mut file, b"123456789").expect("written");
        // The check value of CRC-32 in every catalogue.
        assert_eq!(crc(&file).expect("readable"), 0xcbf4_3926);
        let half = vec![7; WINDOW + 1];
        io::Write::write_all(&mut file, &half).expect("written");
        let whole = [b"123456789", &half[..]].concat();
        assert_eq!(crc(&file).expect("readable"), crc32fast::hash(&whole));
    }

    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(MAX_CHECKED + 1).expect("a sparse file");
        assert!(matches!(crc(&file), Err(Mismatch::TooLarge(_))));
    }
}
