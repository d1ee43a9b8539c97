//! Lines out of a stream of bytes, each with the descriptors that came with it.
//!
//! Knows nothing of what is in a line. A line that is too long takes no memory: its bytes are passed over up to its end, and it is one error, which can be
//! seen before the end comes ([`Lines::is_too_long`]).

use super::{MAX_DESCRIPTORS, MAX_REQUEST};

/// Puts lines together. `D` is a descriptor; what is dropped is closed.
#[derive(Debug)]
pub struct Lines<D> {
    line: Vec<u8>,
    descriptors: Vec<D>,
    fault: Option<LineError>,
}

/// Why a line is none that a request can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has more bytes than a request may have.
    #[error("a request of more than {MAX_REQUEST} bytes")]
    TooLong,
    /// More descriptors came with it than may, or than there is room for.
    #[error("more than {MAX_DESCRIPTORS} descriptors came with the request; all were closed")]
    TooManyDescriptors,
}

/// A line without its newline, and what came with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<D> {
    /// Its bytes, which may be anything.
    pub bytes: Vec<u8>,
    /// What came with it.
    pub descriptors: Vec<D>,
}

impl<D> Default for Lines<D> {
    fn default() -> Lines<D> {
        Lines {
            line: Vec::new(),
            descriptors: Vec::new(),
            fault: None,
        }
    }
}

impl<D> Lines<D> {
    /// Takes in bytes and what came with the first of them; `heard` is called for each line that ends in them.
    pub fn take_in(
        &mut self,
        bytes: &[u8],
        descriptors: Vec<D>,
        mut heard: impl FnMut(Result<Line<D>, LineError>),
    ) {
        self.add_descriptors(descriptors);
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        // Never empty: `split` gives a piece behind the last separator too.
        let behind = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.add(piece);
            heard(self.end_line());
        }
        self.add(behind);
    }

    /// More descriptors came than may, and are closed: the line that they came with is an error when it ends.
    pub fn refuse_descriptors(&mut self) {
        self.descriptors.clear();
        self.fault.get_or_insert(LineError::TooManyDescriptors);
    }

    /// Whether a line has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !self.line.is_empty() || !self.descriptors.is_empty() || self.fault.is_some()
    }

    /// Whether the line that has begun is too long already, wherever it will end.
    pub fn is_too_long(&self) -> bool {
        self.fault == Some(LineError::TooLong)
    }

    fn add_descriptors(&mut self, descriptors: Vec<D>) {
        if self.fault.is_some() {
            return;
        }
        self.descriptors.extend(descriptors);
        if self.descriptors.len() > MAX_DESCRIPTORS {
            self.refuse_descriptors();
        }
    }

    fn add(&mut self, piece: &[u8]) {
        // With its newline.
        let is_too_long = self.line.len() + piece.len() >= MAX_REQUEST;
        if is_too_long {
            self.fault.get_or_insert(LineError::TooLong);
        }
        match self.fault {
            None => self.line.extend_from_slice(piece),
            Some(_) => {
                self.line = Vec::new();
                self.descriptors.clear();
            }
        }
    }

    fn end_line(&mut self) -> Result<Line<D>, LineError> {
        let line = Line {
            bytes: std::mem::take(&mut self.line),
            descriptors: std::mem::take(&mut self.descriptors),
        };
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    type Heard = Result<Line<u32>, LineError>;

    fn heard(lines: &mut Lines<u32>, bytes: &[u8], descriptors: &[u32]) -> Vec<Heard> {
        let mut heard = Vec::new();
        lines.take_in(bytes, descriptors.to_vec(), |line| heard.push(line));
        heard
    }

    fn line(bytes: &[u8], descriptors: &[u32]) -> Heard {
        Ok(Line {
            bytes: bytes.to_vec(),
            descriptors: descriptors.to_vec(),
        })
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let bytes = b"one\n\ntwo\nthree";
        for at in 0..bytes.len() {
            let mut lines = Lines::default();
            let mut all = heard(&mut lines, &bytes[..at], &[]);
            all.extend(heard(&mut lines, &bytes[at..], &[]));
            assert_eq!(all, [line(b"one", &[]), line(b"", &[]), line(b"two", &[])]);
            assert!(lines.is_inside());
        }
    }

    #[test]
    fn descriptors_stay_with_the_line_in_which_they_came() {
        let mut lines = Lines::default();
        assert_eq!(heard(&mut lines, b"fir", &[1]), []);
        assert_eq!(heard(&mut lines, b"st", &[2]), []);
        let both = heard(&mut lines, b"\nsecond\n", &[3]);
        assert_eq!(both, [line(b"first", &[1, 2, 3]), line(b"second", &[])]);
        assert!(!lines.is_inside());
    }

    #[test]
    fn a_line_that_is_too_long_is_one_error_and_takes_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert_eq!(heard(&mut lines, &[b'x'; 4096], &[7]), []);
        }
        assert!(lines.line.capacity() <= MAX_REQUEST * 2 && lines.descriptors.is_empty());
        let expected = [Err(LineError::TooManyDescriptors), line(b"next", &[])];
        assert_eq!(heard(&mut lines, b"\nnext\n", &[]), expected);
        assert_eq!(heard(&mut lines, &[b'x'; MAX_REQUEST - 1], &[]), []);
        assert!(!lines.is_too_long());
        assert_eq!(heard(&mut lines, b"x", &[]), []);
        assert!(lines.is_too_long());
        assert_eq!(heard(&mut lines, b"\n", &[]), [Err(LineError::TooLong)]);
        assert!(!lines.is_too_long());
        let longest = [vec![b'x'; MAX_REQUEST - 1], vec![b'\n']].concat();
        assert!(heard(&mut lines, &longest, &[])[0].is_ok());
        let longer = [vec![b'x'; MAX_REQUEST], vec![b'\n']].concat();
        assert_eq!(heard(&mut lines, &longer, &[]), [Err(LineError::TooLong)]);
    }

    #[test]
    fn too_many_descriptors_are_dropped_at_once() {
        let descriptor = Rc::new(());
        let mut lines = Lines::default();
        for _ in 0..3 {
            let two = vec![descriptor.clone(), descriptor.clone()];
            lines.take_in(b"x", two, |line| panic!("{line:?}"));
        }
        assert_eq!(Rc::strong_count(&descriptor), 1);
        let mut all = Vec::new();
        lines.take_in(b"\n", Vec::new(), |line| all.push(line));
        assert_eq!(all, [Err(LineError::TooManyDescriptors)]);
    }
}
