//! Records about processes and about the ring itself.

use std::borrow::Cow;

use super::header::{TRAILER, bytes_of, high, kind, low, misc};
use crate::model::{Avma, FileOffset, Pid, Tid};

const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const THROTTLE: u32 = 5;
const FORK: u32 = 7;
const MMAP2: u32 = 10;

/// `PERF_RECORD_MISC_COMM_EXEC`: the name changed because of an exec.
const MISC_COMM_EXEC: u16 = 1 << 13;

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

/// The bytes up to the first NUL.
fn text(words: &[u64]) -> &[u8] {
    let bytes = bytes_of(words);
    &bytes[..bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MonoNs;
    use crate::sys::record::time_of;

    fn header(kind: u32, misc: u16, n_words: usize) -> u64 {
        u64::from(kind) | u64::from(misc) << 32 | (8 * n_words as u64) << 48
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
