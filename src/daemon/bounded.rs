//! What is encoded for a client, up to as many bytes as the client may be given at once.

use std::io;

/// Bytes that are refused beyond a number: the encoder ends there, and no memory is taken for what nobody would get.
#[derive(Debug)]
pub(super) struct Bounded {
    pub(super) bytes: Vec<u8>,
    most: usize,
}

impl Bounded {
    /// Room for `most` bytes, none of them taken yet.
    pub(super) fn new(most: usize) -> Bounded {
        Bounded {
            bytes: Vec::new(),
            most,
        }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
