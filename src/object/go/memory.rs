//! Words, numbers and strings out of a file's image, read in pages and kept for the next lookup.

use rustc_hash::FxHashMap;

use super::super::{Image, LinkedAddress};

/// Bytes that are read at once.
const PAGE: usize = 4096;
/// Pages that are kept: 2 MiB, more than the tables of most programs have.
const MAX_PAGES: usize = 512;
/// Longest string that is read; the longest names, of generic functions, have some hundred bytes.
const MAX_STRING: usize = 4096;

/// Random access to an image. `None` stands for what the file does not have.
pub(super) struct Memory {
    image: Image,
    /// By number; `None` for pages without a byte in the file.
    pages: FxHashMap<u64, Option<Box<[u8; PAGE]>>>,
}

impl Memory {
    pub(super) fn new(image: Image) -> Memory {
        Memory {
            image,
            pages: FxHashMap::default(),
        }
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.pages.len() * (PAGE + 32)
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    pub(super) fn u8(&mut self, address: u64) -> Option<u8> {
        self.read::<1>(address).map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self, address: u64) -> Option<u32> {
        self.read(address).map(u32::from_le_bytes)
    }

    /// A word of the file's pointer width in bytes: 4, or else 8.
    pub(super) fn pointer(&mut self, address: u64, width: u64) -> Option<u64> {
        match width {
            4 => self.u32(address).map(u64::from),
            _ => self.read(address).map(u64::from_le_bytes),
        }
    }

    /// A number of up to 32 bits, seven in each byte, low ones first; and the address behind it.
    pub(super) fn varint(&mut self, mut address: u64) -> Option<(u32, u64)> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8(address)?;
            address = address.checked_add(1)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value, address));
            }
        }
        None
    }

    /// A string that ends with a zero.
    pub(super) fn string(&mut self, address: u64) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < MAX_STRING {
            let (page, start) = self.page(at)?;
            let rest = &page[start..];
            if let Some(end) = rest.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&rest[..end]);
                return (text.len() <= MAX_STRING).then_some(text);
            }
            text.extend_from_slice(rest);
            at = address.checked_add(text.len() as u64)?;
        }
        None
    }

    fn read<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let (page, start) = self.page(address)?;
        if let Some(bytes) = page[start..].first_chunk() {
            return Some(*bytes);
        }
        let mut bytes = [0; N];
        for (idx, byte) in bytes.iter_mut().enumerate() {
            let (page, start) = self.page(address.checked_add(idx as u64)?)?;
            *byte = page[start];
        }
        Some(bytes)
    }

    /// The page that holds `address`, and where in it that is.
    fn page(&mut self, address: u64) -> Option<(&[u8; PAGE], usize)> {
        let number = address / PAGE as u64;
        if self.pages.len() >= MAX_PAGES && !self.pages.contains_key(&number) {
            self.pages.clear();
        }
        let image = &self.image;
        let page = self.pages.entry(number).or_insert_with(|| {
            let mut bytes = Box::new([0; PAGE]);
            let start = LinkedAddress(number * PAGE as u64);
            (image.read(start, bytes.as_mut_slice()) > 0).then_some(bytes)
        });
        let start = usize::try_from(address % PAGE as u64).unwrap_or(0);
        page.as_deref().map(|page| (page, start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: &[u8]) -> Memory {
        Memory::new(Image::of(bytes.to_vec(), 0x1ffe))
    }

    #[test]
    fn words_are_read_across_pages() {
        let mut memory = memory(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(memory.u32(0x1ffe), Some(0x0403_0201));
        assert_eq!(memory.pointer(0x1ffe, 8), Some(0x0807_0605_0403_0201));
        assert_eq!(memory.pointer(0x1fff, 4), Some(0x0504_0302));
        assert_eq!(memory.u8(0x9000), None);
        assert_eq!(memory.u32(u64::MAX), None);
    }

    #[test]
    fn a_string_ends_with_its_zero_and_within_the_limit() {
        let mut memory = memory(b"abcd\0");
        assert_eq!(memory.string(0x1ffe).as_deref(), Some(b"abcd".as_slice()));
        assert_eq!(memory.string(0x2001).as_deref(), Some(b"d".as_slice()));
        let mut long = self::memory(&vec![b'x'; 10 * PAGE]);
        assert_eq!(long.string(0x2000), None);
    }

    #[test]
    fn a_number_takes_as_many_bytes_as_it_says() {
        let mut memory = memory(&[0x05, 0x85, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xff]);
        assert_eq!(memory.varint(0x1ffe), Some((5, 0x1fff)));
        assert_eq!(memory.varint(0x1fff), Some((133, 0x2001)));
        assert_eq!(memory.varint(0x2001), Some((u32::MAX, 0x2006)));
        assert_eq!(self::memory(&[0xff; 6]).varint(0x1ffe), None);
    }
}
