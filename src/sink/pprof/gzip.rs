//! gzip: what packs a pprof file. A file without it is one too.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::DecodeError;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Packs what `write` writes. The bytes are the same for the same content: no time, no name.
pub(super) fn pack<W: Write>(
    out: W,
    write: impl FnOnce(&mut GzEncoder<W>) -> io::Result<()>,
) -> io::Result<()> {
    let mut encoder = GzEncoder::new(out, Compression::default());
    write(&mut encoder)?;
    encoder.finish()?;
    Ok(())
}

/// Unpacks bytes, at most `most` of them; bytes that are not packed are as they are.
pub(super) fn unpack(bytes: &[u8], most: u64) -> Result<Vec<u8>, DecodeError> {
    let mut unpacked = Vec::new();
    let too_large = || DecodeError::TooLarge("unpacked bytes");
    match bytes.starts_with(&MAGIC) {
        true => MultiGzDecoder::new(bytes)
            .take(most.saturating_add(1))
            .read_to_end(&mut unpacked)
            .map_err(DecodeError::Packed)?,
        false if bytes.len() as u64 > most => return Err(too_large()),
        false => bytes
            .take(most)
            .read_to_end(&mut unpacked)
            .map_err(DecodeError::Packed)?,
    };
    if unpacked.len() as u64 > most {
        return Err(too_large());
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_stops_at_the_limit_and_a_cut_is_told() {
        let mut packed = Vec::new();
        pack(&mut packed, |out| out.write_all(&[0; 1 << 20])).unwrap();
        assert!(packed.len() < 4096);
        assert_eq!(unpack(&packed, 1 << 20).unwrap().len(), 1 << 20);
        assert!(matches!(
            unpack(&packed, (1 << 20) - 1),
            Err(DecodeError::TooLarge(_))
        ));
        for cut in 2..packed.len() {
            assert!(matches!(
                unpack(&packed[..cut], 1 << 20),
                Err(DecodeError::Packed(_))
            ));
        }
    }
}
