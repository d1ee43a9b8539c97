//! Compressed sections: `SHF_COMPRESSED` with zlib or zstd, and the older `.zdebug_*` with zlib.
//!
//! The declared size is checked before anything is decompressed, and never exceeded while it is: 8 KiB of zstd can
//! stand for 256 MiB of zeros.

use std::io::Read;

use object::read::{CompressedData, CompressionFormat};

use super::ElfError;
use super::headers::Class;

/// The largest section that is loaded, compressed or not: 1 GiB.
pub(super) const MAX_SECTION: u64 = 1 << 30;
/// Deflate cannot do better than 1032 to 1; what declares more is lying.
const MAX_ZLIB_RATIO: u64 = 1100;
/// Debug information compresses to a third; long runs of zeros explain some hundreds.
const MAX_ZSTD_RATIO: u64 = 4096;

const ELFCOMPRESS_ZLIB: u32 = 1;
const ELFCOMPRESS_ZSTD: u32 = 2;

/// What the header of a compressed section declares.
pub(super) struct Declared {
    method: u32,
    pub(super) size: u64,
    header_len: usize,
}

impl Declared {
    pub(super) fn parse(class: Class, raw: &[u8]) -> Result<Declared, ElfError> {
        let word =
            |at: usize| -> Option<u32> { Some(u32::from_le_bytes(*raw[at..].first_chunk()?)) };
        let parsed = match class {
            Class::Bits64 if raw.len() >= 24 => word(0).and_then(|method| {
                Some((method, u64::from_le_bytes(*raw[8..].first_chunk()?), 24))
            }),
            Class::Bits32 if raw.len() >= 12 => {
                word(0).and_then(|method| Some((method, u64::from(word(4)?), 12)))
            }
            _ => None,
        };
        let (method, size, header_len) = parsed.ok_or(ElfError::Malformed("compression header"))?;
        Ok(Declared {
            method,
            size,
            header_len,
        })
    }
}

/// Decompresses a section that begins with a compression header.
pub(super) fn section(class: Class, raw: &[u8]) -> Result<Vec<u8>, ElfError> {
    let declared = Declared::parse(class, raw)?;
    let data = raw.get(declared.header_len..).unwrap_or_default();
    match declared.method {
        ELFCOMPRESS_ZLIB => zlib(data, declared.size),
        ELFCOMPRESS_ZSTD => zstd(data, declared.size),
        other => Err(ElfError::UnknownCompression(other)),
    }
}

/// Decompresses a `.zdebug_*` section: `ZLIB`, the size as eight bytes big endian, the stream.
pub(super) fn old_style(raw: &[u8]) -> Result<Vec<u8>, ElfError> {
    let (size, data) = split_old_style(raw)?;
    zlib(data, size)
}

/// The size that the start of a `.zdebug_*` section declares.
pub(super) fn old_style_size(raw: &[u8]) -> Result<u64, ElfError> {
    split_old_style(raw).map(|(size, _)| size)
}

fn split_old_style(raw: &[u8]) -> Result<(u64, &[u8]), ElfError> {
    raw.strip_prefix(b"ZLIB")
        .and_then(|rest| rest.split_first_chunk::<8>())
        .map(|(size, data)| (u64::from_be_bytes(*size), data))
        .ok_or(ElfError::Malformed("compression header"))
}

fn check_size(data: &[u8], size: u64, max_ratio: u64) -> Result<(), ElfError> {
    let believable = (data.len() as u64).saturating_mul(max_ratio);
    if size > MAX_SECTION || size > believable {
        return Err(ElfError::TooLarge(size));
    }
    Ok(())
}

fn zlib(data: &[u8], size: u64) -> Result<Vec<u8>, ElfError> {
    check_size(data, size, MAX_ZLIB_RATIO)?;
    let compressed = CompressedData {
        format: CompressionFormat::Zlib,
        data,
        uncompressed_size: size,
    };
    let bytes = compressed.decompress().map_err(ElfError::Compression)?;
    Ok(bytes.into_owned())
}

/// One frame, read no further than the declared size: `object` would follow the frame wherever it leads.
fn zstd(data: &[u8], size: u64) -> Result<Vec<u8>, ElfError> {
    check_size(data, size, MAX_ZSTD_RATIO)?;
    let decoder = ruzstd::decoding::StreamingDecoder::new(data)
        .map_err(|_| ElfError::Malformed("zstd frame"))?;
    let mut bytes = Vec::new();
    decoder.take(size + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(ElfError::Malformed("zstd frame"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(method: u32, size: u64) -> Vec<u8> {
        let mut raw = Vec::new();
        raw.extend_from_slice(&method.to_le_bytes());
        raw.extend_from_slice(&[0; 4]);
        raw.extend_from_slice(&size.to_le_bytes());
        raw.extend_from_slice(&1u64.to_le_bytes());
        raw
    }

    /// A zlib stream with one stored block.
    fn stored(data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(data.len()).expect("short");
        let (mut a, mut b) = (1u32, 0u32);
        for byte in data {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        let mut stream = vec![0x78, 0x01, 0x01];
        stream.extend_from_slice(&len.to_le_bytes());
        stream.extend_from_slice(&(!len).to_le_bytes());
        stream.extend_from_slice(data);
        stream.extend_from_slice(&((b << 16) | a).to_be_bytes());
        stream
    }

    #[test]
    fn a_zlib_section_is_decompressed_to_its_declared_size() {
        let mut raw = header(ELFCOMPRESS_ZLIB, 5);
        raw.extend(stored(b"hello"));
        assert_eq!(section(Class::Bits64, &raw).expect("good"), b"hello");
        let old = [b"ZLIB".as_slice(), &5u64.to_be_bytes(), &stored(b"hello")].concat();
        assert_eq!(old_style(&old).expect("good"), b"hello");
    }

    #[test]
    fn a_zstd_section_that_is_longer_than_declared_is_refused() {
        // One raw block of three bytes in a frame without checksum.
        let frame = [
            0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x03, 0x19, 0x00, 0x00, b'a', b'b', b'c',
        ];
        let with = |size| [header(ELFCOMPRESS_ZSTD, size), frame.to_vec()].concat();
        assert_eq!(section(Class::Bits64, &with(3)).expect("good"), b"abc");
        assert!(section(Class::Bits64, &with(2)).is_err());
        assert!(section(Class::Bits64, &with(4)).is_err());
    }

    #[test]
    fn a_size_beyond_the_cap_or_beyond_belief_is_refused_before_decompressing() {
        for (method, size) in [
            (ELFCOMPRESS_ZLIB, 1 << 40),
            (ELFCOMPRESS_ZSTD, u64::MAX),
            (ELFCOMPRESS_ZLIB, 1 << 29),
        ] {
            let mut raw = header(method, size);
            raw.extend(stored(b"hello"));
            let error = section(Class::Bits64, &raw).expect_err("too large");
            assert!(matches!(error, ElfError::TooLarge(_)), "{error}");
        }
        assert!(section(Class::Bits64, &[1, 0, 0]).is_err());
        assert!(section(Class::Bits64, &header(77, 5)).is_err());
    }
}
