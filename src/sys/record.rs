//! The records of a perf ring: words in, values out.
//!
//! Speaks the layouts of `perf_event_open(2)` for exactly the `sample_type` that [`super::open_sampling`] and
//! [`super::open_side_band`] set. Every record can be cut short or lie: that gives `None`, never a panic.

use std::borrow::Cow;

use crate::model::{Avma, FileOffset, MonoNs, Pid, Registers, StackCopy, Tid};

use super::event::SampleContent;

const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const THROTTLE: u32 = 5;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const MMAP2: u32 = 10;

/// `PERF_RECORD_MISC_COMM_EXEC`: the name changed because of an exec.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_CPUMODE_MASK` and its value for user mode.
const MISC_CPUMODE: u16 = 7;
const MISC_USER: u16 = 2;
/// Values of a call chain from here on are context markers (`PERF_CONTEXT_MAX` = −4095).
const CONTEXT_MAX: u64 = 0xffff_ffff_ffff_f001;
/// `PERF_CONTEXT_USER` = −512: what follows are user addresses.
const CONTEXT_USER: u64 = 0xffff_ffff_ffff_fe00;
/// Every record but samples ends in {pid, tid}, time, identifier.
const TRAILER: usize = 3;

/// Size in bytes that a `struct perf_event_header` claims: type u32, misc u16, size u16.
pub(super) fn size_of(header: u64) -> usize {
    usize::try_from(header >> 48).expect("16 bits")
}

fn kind(words: &[u64]) -> Option<u32> {
    words.first().map(|header| low(*header))
}

fn misc(words: &[u64]) -> u16 {
    words.first().map_or(0, |header| {
        u16::try_from(header >> 32 & 0xffff).expect("16 bits")
    })
}

fn low(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).expect("32 bits")
}

fn high(word: u64) -> u32 {
    u32::try_from(word >> 32).expect("32 bits")
}

/// When the record was made.
pub fn time_of(words: &[u64]) -> Option<MonoNs> {
    let time = match kind(words)? {
        SAMPLE => words.get(4)?,
        _ => words.get(words.len().checked_sub(TRAILER)? + 1)?,
    };
    Some(MonoNs(*time))
}

/// The identifier of the event that a sample belongs to, if the record is one.
pub fn sample_id(words: &[u64]) -> Option<u64> {
    (kind(words)? == SAMPLE).then(|| words.get(1).copied())?
}

/// A record about something other than a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideBand<'a> {
    /// An executable mapping appeared.
    Mmap {
        /// Process.
        pid: Pid,
        /// First address.
        start: Avma,
        /// Bytes.
        length: u64,
        /// Where in the file.
        file_offset: FileOffset,
        /// Device number as `stat` gives it.
        dev: u64,
        /// Inode.
        inode: u64,
        /// Path, or a bracketed or `//anon` name.
        path: Cow<'a, [u8]>,
        /// Whether it can be executed.
        executable: bool,
    },
    /// A thread was named.
    Comm {
        /// Process.
        pid: Pid,
        /// Thread.
        tid: Tid,
        /// The new name.
        comm: Cow<'a, [u8]>,
        /// Whether an exec did it.
        by_exec: bool,
    },
    /// A thread or process was created.
    Fork {
        /// Its process.
        pid: Pid,
        /// The process that created it; the same for a thread.
        parent_pid: Pid,
        /// Its thread.
        tid: Tid,
        /// The thread that created it.
        parent_tid: Tid,
    },
    /// A thread ended.
    Exit {
        /// Process.
        pid: Pid,
        /// Thread.
        tid: Tid,
    },
    /// The ring had no room for so many records of any kind.
    Lost {
        /// Number.
        n_records: u64,
        /// The event whose record came after the loss.
        id: u64,
    },
    /// The kernel has paused an event that fired too often.
    Throttled {
        /// The event.
        id: u64,
    },
    /// Nothing perfd asked for.
    Other,
}

impl SideBand<'_> {
    /// The same, no longer borrowed from the ring.
    pub fn into_owned(self) -> SideBand<'static> {
        match self {
            SideBand::Mmap {
                pid,
                start,
                length,
                file_offset,
                dev,
                inode,
                path,
                executable,
            } => {
                let path = Cow::Owned(path.into_owned());
                SideBand::Mmap {
                    pid,
                    start,
                    length,
                    file_offset,
                    dev,
                    inode,
                    path,
                    executable,
                }
            }
            SideBand::Comm {
                pid,
                tid,
                comm,
                by_exec,
            } => SideBand::Comm {
                pid,
                tid,
                comm: Cow::Owned(comm.into_owned()),
                by_exec,
            },
            SideBand::Fork {
                pid,
                parent_pid,
                tid,
                parent_tid,
            } => SideBand::Fork {
                pid,
                parent_pid,
                tid,
                parent_tid,
            },
            SideBand::Exit { pid, tid } => SideBand::Exit { pid, tid },
            SideBand::Lost { n_records, id } => SideBand::Lost { n_records, id },
            SideBand::Throttled { id } => SideBand::Throttled { id },
            SideBand::Other => SideBand::Other,
        }
    }
}

/// Parses a record that is no sample.
pub fn side_band(words: &[u64]) -> Option<SideBand<'_>> {
    let kind = kind(words)?;
    let body = words.get(1..words.len().checked_sub(TRAILER)?)?;
    Some(match kind {
        MMAP2 => mmap(body)?,
        COMM => SideBand::Comm {
            pid: Pid(low(*body.first()?)),
            tid: Tid(high(*body.first()?)),
            comm: Cow::Borrowed(text(body.get(1..)?)),
            by_exec: misc(words) & MISC_COMM_EXEC != 0,
        },
        FORK => SideBand::Fork {
            pid: Pid(low(*body.first()?)),
            parent_pid: Pid(high(*body.first()?)),
            tid: Tid(low(*body.get(1)?)),
            parent_tid: Tid(high(*body.get(1)?)),
        },
        EXIT => SideBand::Exit {
            pid: Pid(low(*body.first()?)),
            tid: Tid(low(*body.get(1)?)),
        },
        LOST => SideBand::Lost {
            id: *body.first()?,
            n_records: *body.get(1)?,
        },
        THROTTLE => SideBand::Throttled { id: *body.get(1)? },
        _ => SideBand::Other,
    })
}

/// MMAP2: {pid, tid}, addr, len, pgoff, {maj, min}, ino, ino_generation, {prot, flags}, filename.
fn mmap(body: &[u64]) -> Option<SideBand<'_>> {
    const PROT_EXEC: u32 = 4;
    let &[
        task,
        start,
        length,
        file_offset,
        device,
        inode,
        _,
        protection,
        ..,
    ] = body
    else {
        return None;
    };
    Some(SideBand::Mmap {
        pid: Pid(low(task)),
        start: Avma(start),
        length,
        file_offset: FileOffset(file_offset),
        dev: libc::makedev(low(device), high(device)),
        inode,
        path: Cow::Borrowed(text(body.get(8..)?)),
        executable: low(protection) & PROT_EXEC != 0,
    })
}

/// A sample's parts, borrowed from the ring.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Process; −1 as u32 for one that is gone.
    pub pid: Pid,
    /// Thread.
    pub tid: Tid,
    /// Time.
    pub time: MonoNs,
    /// The sampled address.
    pub pc: u64,
    /// Whether it was taken in user mode.
    pub in_user_mode: bool,
    /// The period, if the record carries it.
    pub period: Option<u64>,
    /// Kernel addresses, leaf first; without a call chain the sampled address, if it is the kernel's.
    pub kernel_chain: &'a [u64],
    /// User addresses, leaf first.
    pub user_chain: &'a [u64],
    /// User registers, if there is a user context.
    pub registers: Option<Registers>,
    /// The copied stack.
    pub stack: StackCopy<'a>,
}

/// Parses a sample of an event opened with `content`.
pub fn sample<'a>(words: &'a [u64], content: &SampleContent) -> Option<Sample<'a>> {
    let &[_, _, pc, task, time, ref rest @ ..] = words else {
        return None;
    };
    let in_user_mode = misc(words) & MISC_CPUMODE == MISC_USER;
    let mut rest = Words(rest);
    let period = if content.period {
        Some(rest.next()?)
    } else {
        None
    };
    let (kernel_chain, user_chain) = if content.has_callchain() {
        rest.chain()?
    } else {
        (
            words
                .get(2..3)
                .filter(|_| !in_user_mode)
                .unwrap_or_default(),
            &[][..],
        )
    };
    let registers = if content.registers {
        rest.registers()?
    } else {
        None
    };
    let stack = if content.stack_bytes > 0 {
        rest.stack()?
    } else {
        StackCopy {
            bytes: &[],
            is_cut: false,
        }
    };
    Some(Sample {
        pid: Pid(low(task)),
        tid: Tid(high(task)),
        time: MonoNs(time),
        pc,
        in_user_mode,
        period,
        kernel_chain,
        user_chain,
        registers,
        stack,
    })
}

struct Words<'a>(&'a [u64]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<u64> {
        Some(self.take(1)?[0])
    }

    fn take(&mut self, n: usize) -> Option<&'a [u64]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// `nr`, then addresses with a context marker before each part.
    fn chain(&mut self) -> Option<(&'a [u64], &'a [u64])> {
        let n = usize::try_from(self.next()?).ok()?;
        let chain = self.take(n)?;
        let user_marker = chain.iter().position(|address| *address == CONTEXT_USER);
        let (kernel, user) = chain.split_at(user_marker.unwrap_or(chain.len()));
        Some((without_marker(kernel), without_marker(user)))
    }

    /// `abi`, then one word per register of the mask, in the order of their bits; no words if `abi` is 0 (none).
    fn registers(&mut self) -> Option<Option<Registers>> {
        if self.next()? == 0 {
            return Some(None);
        }
        Some(Some(super::event::registers_of(
            self.take(super::event::N_USER_REGISTERS)?,
        )))
    }

    /// `size`, the bytes, and how many of them hold stack; the rest is what the ring held before.
    fn stack(&mut self) -> Option<StackCopy<'a>> {
        let size = usize::try_from(self.next()?).ok()?;
        if size == 0 {
            return Some(StackCopy {
                bytes: &[],
                is_cut: false,
            });
        }
        let bytes = bytes_of(self.take(size / 8)?);
        let copied = usize::try_from(self.next()?).ok()?;
        Some(StackCopy {
            bytes: bytes.get(..copied)?,
            is_cut: copied == size,
        })
    }
}

fn without_marker(chain: &[u64]) -> &[u64] {
    match chain {
        [marker, rest @ ..] if *marker >= CONTEXT_MAX => rest,
        _ => chain,
    }
}

/// The bytes up to the first NUL.
fn text(words: &[u64]) -> &[u8] {
    let bytes = bytes_of(words);
    &bytes[..bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len())]
}

fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: u64s are initialized bytes without padding; the length in bytes is that of the slice itself.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u32, misc: u16, n_words: usize) -> u64 {
        u64::from(kind) | u64::from(misc) << 32 | (8 * n_words as u64) << 48
    }

    const CONTENT: SampleContent = SampleContent {
        period: true,
        callchain: super::super::Callchain::Kernel,
        registers: true,
        stack_bytes: 16,
    };

    fn a_sample() -> Vec<u64> {
        let mut words = vec![
            0,
            77,
            0x1000,
            5 | 6 << 32,
            1234,
            99,
            3,
            CONTEXT_MAX + 5,
            0xaa,
            0xbb,
            2,
        ];
        words.extend((1..=super::super::event::N_USER_REGISTERS as u64).collect::<Vec<_>>());
        words.extend([16, 0x0102, 0x0304, 8]);
        words[0] = header(SAMPLE, MISC_USER, words.len());
        words
    }

    #[test]
    fn a_sample_gives_back_what_the_kernel_wrote() {
        let words = a_sample();
        let sample = sample(&words, &CONTENT).unwrap();
        assert_eq!(
            (sample.pid, sample.tid, sample.time),
            (Pid(5), Tid(6), MonoNs(1234))
        );
        assert_eq!(
            (sample.pc, sample.period, sample.in_user_mode),
            (0x1000, Some(99), true)
        );
        assert_eq!(sample.kernel_chain, [0xaa, 0xbb]);
        assert_eq!(sample.stack.bytes, [2, 1, 0, 0, 0, 0, 0, 0]);
        assert!(!sample.stack.is_cut, "8 of 16 bytes were copied");
        assert_eq!(
            (time_of(&words), sample_id(&words)),
            (Some(MonoNs(1234)), Some(77))
        );
    }

    #[test]
    fn a_record_cut_anywhere_gives_nothing_and_does_not_panic() {
        let words = a_sample();
        for n in 0..words.len() {
            assert!(sample(&words[..n], &CONTENT).is_none(), "{n} words");
            side_band(&words[..n]);
        }
    }

    #[test]
    fn lying_counts_give_nothing() {
        for lie in [4, 1 << 20, u64::MAX] {
            let mut words = a_sample();
            words[6] = lie;
            assert!(sample(&words, &CONTENT).is_none());
        }
    }

    #[test]
    fn a_mapping_is_parsed_with_its_path() {
        let mut words = vec![
            0,
            5 | 6 << 32,
            0x7000,
            0x2000,
            0x1000,
            8 | 1 << 32,
            42,
            0,
            5,
        ];
        words.extend([
            u64::from_le_bytes(*b"/lib/x.s"),
            u64::from_le_bytes(*b"o\0\0\0\0\0\0\0"),
        ]);
        words.extend([5 | 6 << 32, 1234, 77]);
        words[0] = header(MMAP2, 0, words.len());
        let Some(SideBand::Mmap {
            pid,
            start,
            length,
            path,
            executable,
            inode,
            ..
        }) = side_band(&words)
        else {
            unreachable!("an MMAP2 record");
        };
        assert_eq!(
            (pid, start, length, inode),
            (Pid(5), Avma(0x7000), 0x2000, 42)
        );
        assert_eq!((path, executable), (Cow::Borrowed(&b"/lib/x.so"[..]), true));
        assert_eq!(time_of(&words), Some(MonoNs(1234)));
    }
}
