//! jitdump: records of code that was made, moved and left at run time, each with its time.
//!
//! The format is perf's (tools/perf/Documentation/jitdump-specification.txt), little endian here as the machines that perfd runs on. Lengths in it are
//! the target's word: they are checked before they are believed, and code itself is never read. Lines of source (`JIT_CODE_DEBUG_INFO`) and
//! unwind tables (`JIT_CODE_UNWINDING_INFO`) are passed over like records that are not known. Pure: bytes in, records out.

/// Bytes of a file's header that are looked at.
pub(super) const HEADER: usize = 40;
/// Bytes of a record, code included.
const MAX_RECORD: u32 = 16 << 20;
/// Bytes of a name; a longer one is none.
const MAX_NAME: usize = 4 << 10;
/// The most of a record that is looked at: all that stands before the name, the name and its end.
pub(super) const LOOKED_AT: usize = 16 + 40 + MAX_NAME + 1;

const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
/// Times are of the processor's own counter.
const ARCH_TIMESTAMP: u64 = 1;

/// Why a file is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is no jitdump of this machine")]
    NotJitdump,
    #[error("it is another process's")]
    OtherProcess,
    #[error("a record contradicts itself")]
    Record,
}

/// What stands at the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the first record is.
    pub(super) size: u32,
    /// The process, in its own pid namespace.
    pub(super) pid: u32,
    pub(super) clock: Clock,
}

/// What the times of records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// As the runtime says, those of `CLOCK_MONOTONIC`.
    Monotonic,
    /// The processor's counter, which means nothing here.
    Processor,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    Load {
        start: u64,
        size: u64,
        /// `None` if it has none, or one that is too long.
        name: Option<&'a [u8]>,
    },
    Move {
        from: u64,
        to: u64,
        size: u64,
    },
    /// No more records follow.
    Close,
    Other,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Bytes to the next one.
    pub(super) size: u32,
    pub(super) time: u64,
    pub(super) body: Body<'a>,
}

/// Reads a file's header; `None` as long as not all of it is written.
pub(super) fn header(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let mut fields = Fields(bytes);
    let Some(magic) = fields.u32() else {
        return Ok(None);
    };
    if magic != MAGIC {
        return Err(Malformed::NotJitdump);
    }
    let parse = || {
        let version = fields.u32()?;
        let size = fields.u32()?;
        let _machine = fields.u32()?;
        let _padding = fields.u32()?;
        let pid = fields.u32()?;
        let _time = fields.u64()?;
        Some((version, size, pid, fields.u64()?))
    };
    let Some((version, size, pid, flags)) = { parse }() else {
        return Ok(None);
    };
    if version != VERSION || (size as usize) < HEADER || size > MAX_RECORD {
        return Err(Malformed::NotJitdump);
    }
    Ok(Some(Header {
        size,
        pid,
        clock: match flags & ARCH_TIMESTAMP {
            0 => Clock::Monotonic,
            _ => Clock::Processor,
        },
    }))
}

/// Reads the record at the beginning of `bytes`, which are all up to the end of the file, or [`LOOKED_AT`] of them; `left` are the bytes up to the end. `None`
/// as long as not all of it is written. `pid`: the process, in its own pid namespace.
pub(super) fn record(bytes: &[u8], left: u64, pid: u32) -> Result<Option<Record<'_>>, Malformed> {
    let mut fields = Fields(bytes);
    let (Some(kind), Some(size), Some(time)) = (fields.u32(), fields.u32(), fields.u64()) else {
        return Ok(None);
    };
    if !(16..=MAX_RECORD).contains(&size) {
        return Err(Malformed::Record);
    }
    if u64::from(size) > left {
        return Ok(None);
    }
    let within = bytes.get(16..bytes.len().min(size as usize));
    let mut fields = Fields(within.ok_or(Malformed::Record)?);
    let body = match kind {
        0 => load(&mut fields, size, pid)?,
        1 => moved(&mut fields, pid)?,
        3 => Body::Close,
        _ => Body::Other,
    };
    Ok(Some(Record { size, time, body }))
}

/// `pid tid vma code_addr code_size code_index name\0 code`
fn load<'a>(fields: &mut Fields<'a>, record: u32, pid: u32) -> Result<Body<'a>, Malformed> {
    let mut parse = || {
        let of = fields.u32()?;
        let _tid = fields.u32()?;
        let _vma = fields.u64()?;
        let start = fields.u64()?;
        let size = fields.u64()?;
        let _index = fields.u64()?;
        Some((of, start, size))
    };
    let (of, start, size) = parse().ok_or(Malformed::Record)?;
    if of != pid {
        return Err(Malformed::OtherProcess);
    }
    if size > u64::from(record) {
        return Err(Malformed::Record);
    }
    let text = fields.0;
    let name = text.iter().position(|byte| *byte == 0);
    let name = name
        .map(|end| &text[..end])
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
    Ok(Body::Load { start, size, name })
}

/// `pid tid vma old_code_addr new_code_addr code_size code_index`
fn moved<'a>(fields: &mut Fields<'_>, pid: u32) -> Result<Body<'a>, Malformed> {
    let mut parse = || {
        let of = fields.u32()?;
        let _tid = fields.u32()?;
        let _vma = fields.u64()?;
        let from = fields.u64()?;
        let to = fields.u64()?;
        Some((of, from, to, fields.u64()?))
    };
    let (of, from, to, size) = parse().ok_or(Malformed::Record)?;
    match of == pid {
        true => Ok(Body::Move { from, to, size }),
        false => Err(Malformed::OtherProcess),
    }
}

/// Numbers one behind the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn halves(low: u32, high: u32) -> u64 {
        u64::from(low) | u64::from(high) << 32
    }

    fn a_record(kind: u32, time: u64, content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(16 + content.len()).expect("small");
        [words(&[halves(kind, size), time]), content.to_vec()].concat()
    }

    fn a_load(pid: u32, start: u64, size: u64, name: &[u8]) -> Vec<u8> {
        let numbers = words(&[halves(pid, 1), start, start, size, 0]);
        let code = vec![0x90; usize::try_from(size.min(64)).expect("small")];
        a_record(0, 77, &[&numbers, name, b"\0", &code].concat())
    }

    fn read(bytes: &[u8]) -> Result<Option<Record<'_>>, Malformed> {
        record(bytes, bytes.len() as u64, 9)
    }

    #[test]
    fn a_header_says_whose_it_is_and_by_which_clock() {
        let of = |flags| words(&[halves(MAGIC, 1), halves(40, 62), halves(0, 9), 0, flags]);
        let clock = |flags| {
            header(&of(flags))
                .expect("well formed")
                .expect("whole")
                .clock
        };
        assert_eq!((clock(0), clock(1)), (Clock::Monotonic, Clock::Processor));
        let whole = of(0);
        for cut in 0..whole.len() {
            assert_eq!(header(&whole[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(header(b"ELF is not one"), Err(Malformed::NotJitdump));
        let small = words(&[halves(MAGIC, 1), halves(39, 62), halves(0, 9), 0, 0]);
        assert_eq!(header(&small), Err(Malformed::NotJitdump));
    }

    #[test]
    fn code_is_loaded_and_moved() {
        let bytes = a_load(9, 0x1000, 16, b"f");
        let Record { size, time, body } = read(&bytes).expect("well formed").expect("whole");
        assert_eq!((size as usize, time), (bytes.len(), 77));
        let name: Option<&[u8]> = Some(b"f");
        let expected = Body::Load {
            start: 0x1000,
            size: 16,
            name,
        };
        assert_eq!(body, expected);
        let bytes = a_record(1, 78, &words(&[halves(9, 9), 0, 0x1000, 0x2000, 16, 0]));
        let expected = Body::Move {
            from: 0x1000,
            to: 0x2000,
            size: 16,
        };
        assert_eq!(
            read(&bytes).expect("well formed").expect("whole").body,
            expected
        );
    }

    #[test]
    fn a_record_that_is_not_all_written_is_waited_for() {
        let whole = a_load(9, 0x1000, 16, b"f");
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn lengths_that_lie_are_no_lengths() {
        let sized = |size| words(&[halves(0, size), 0]);
        for size in [0, 15, MAX_RECORD + 1, u32::MAX] {
            assert_eq!(
                record(&sized(size), u64::MAX, 9),
                Err(Malformed::Record),
                "{size}"
            );
        }
        // The numbers of a load do not fit.
        let short = a_record(0, 1, &[0; 39]);
        assert_eq!(read(&short), Err(Malformed::Record));
        assert_eq!(read(&a_record(1, 1, &[0; 8])), Err(Malformed::Record));
        assert_eq!(read(&a_load(9, 1, u64::MAX, b"f")), Err(Malformed::Record));
        assert_eq!(read(&a_load(8, 1, 4, b"f")), Err(Malformed::OtherProcess));
    }

    #[test]
    fn names_without_an_end_or_too_long_are_none() {
        let name_of = |bytes: &[u8]| match read(bytes).expect("well formed").expect("whole").body {
            Body::Load { name, .. } => name.map(<[u8]>::to_vec),
            other => panic!("{other:?}"),
        };
        let numbers = words(&[halves(9, 1), 0, 0x1000, 4, 0]);
        let endless = a_record(0, 1, &[numbers.as_slice(), b"no end"].concat());
        assert_eq!(name_of(&endless), None);
        assert_eq!(name_of(&a_load(9, 1, 4, &[b'x'; MAX_NAME + 1])), None);
        let longest = [b'x'; MAX_NAME];
        assert_eq!(
            name_of(&a_load(9, 1, 4, &longest)).as_deref(),
            Some(&longest[..])
        );
    }

    #[test]
    fn records_of_other_kinds_are_passed_over_by_their_size() {
        for kind in [2, 4, 5, 99] {
            let bytes = a_record(kind, 1, &[1; 24]);
            let found = read(&bytes).expect("well formed").expect("whole");
            assert_eq!((found.size, found.body), (40, Body::Other));
        }
        let close = a_record(3, 1, &[]);
        assert_eq!(
            read(&close).expect("well formed").expect("whole").body,
            Body::Close
        );
    }
}
