//! `.gnu_debugdata`: a small ELF file inside a file, compressed with xz, with symbols that `strip` has taken away
//! ("MiniDebugInfo" in gdb's manual).
//!
//! A stream of 39 KB can stand for 256 MiB of zeros, so that its own size bounds nothing. Symbol tables are compressed to
//! a third; where long names repeat each other, to a twentieth. So what comes out may be [`RATIO`] times what went in, and
//! [`SMALL`] on top, for which no ratio matters: 18 MiB for those 39 KB; and never more than [`MAX_SIZE`]. It is
//! decompressed in steps, and given up at the first byte too many.

use std::io::{self, Read};

use lzma_rust2::XzReader;

use crate::object::{Elf, ElfError};

/// The largest result: 512 MiB.
const MAX_SIZE: u64 = 512 << 20;
/// The largest section: 64 MiB. Those of distributions have some 10 KB.
const MAX_COMPRESSED: u64 = 64 << 20;
/// How much larger the result may be, beyond [`SMALL`].
const RATIO: u64 = 64;
/// What the result may have in any case: 16 MiB.
const SMALL: u64 = 16 << 20;
/// KiB that the decoder may take for its dictionary. `xz -9` wants 64 MiB.
const MAX_DECODER: u32 = 72 << 10;
/// Bytes that are decompressed at once.
const STEP: usize = 64 << 10;

/// Why the symbols cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MiniError {
    /// The section cannot be read, or what it holds is no ELF file.
    #[error("read .gnu_debugdata")]
    Elf(#[from] ElfError),
    /// The stream is damaged, or wants more memory than it may have.
    #[error("decompress .gnu_debugdata")]
    Xz(#[source] io::Error),
    /// There is more in it than is believable.
    #[error(".gnu_debugdata has more than {0} bytes")]
    TooLarge(u64),
}

/// The file inside `elf`, in memory; `None` if there is none.
pub fn mini(elf: &Elf) -> Result<Option<Elf>, MiniError> {
    let Some(compressed) = elf.mini_debug_info(MAX_COMPRESSED)? else {
        return Ok(None);
    };
    let bytes = decompress(&compressed)?;
    Ok(Some(Elf::parse(Box::new(bytes))?))
}

fn decompress(compressed: &[u8]) -> Result<Vec<u8>, MiniError> {
    let believable = SMALL + RATIO.saturating_mul(compressed.len() as u64);
    let max_size = believable.min(MAX_SIZE);
    let mut reader = XzReader::new_mem_limit(compressed, true, MAX_DECODER);
    let mut bytes = Vec::new();
    let mut step = vec![0; STEP];
    loop {
        match reader.read(&mut step).map_err(MiniError::Xz)? {
            0 => break,
            n_bytes if (bytes.len() + n_bytes) as u64 > max_size => {
                return Err(MiniError::TooLarge(max_size));
            }
            n_bytes => bytes.extend_from_slice(&step[..n_bytes]),
        }
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}
