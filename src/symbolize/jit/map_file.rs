//! The `perf-PID.map` of one process, read as it grows.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::history::{Full, History, Origin, When};
use super::perf_map::Lines;
use super::roots::Root;
use crate::model::MonoNs;
use crate::procfs::jit_file::{Refused, Temporary};

/// Bytes of a file.
const MAX_SIZE: u64 = 64 << 20;
/// Lines of a file.
const MAX_LINES: u64 = 1_000_000;
/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// What is known of the file.
#[derive(Debug, Default)]
pub(super) struct MapFile {
    open: Option<Open>,
    pub(super) history: History,
    /// Why it gives no names, if so.
    pub(super) refused: Option<Refused>,
    /// Nothing more is read: the process has ended, or what was read is more than is kept.
    is_done: bool,
    /// When it was last looked at: what is new since was written since.
    looked_at: Option<MonoNs>,
    /// What an earlier process of the same number has left in the file.
    stale: Option<Stale>,
}

/// The end of what an earlier process has written: the runtime writes over it, or on behind it.
#[derive(Debug)]
struct Stale {
    size: u64,
    tail: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: File,
    offset: u64,
    lines: Lines,
    n_lines: u64,
}

impl MapFile {
    /// Reads what is new; `now` tells the time.
    pub(super) fn read(&mut self, root: &mut dyn Root, now: &impl Fn() -> MonoNs) {
        if self.is_done {
            return;
        }
        let before = now();
        let name = format!("perf-{}.map", root.own_pid());
        let found = match root.open_temporary(&name, MAX_SIZE) {
            Ok(Some(Temporary {
                file,
                is_stale: true,
            })) => {
                self.stale = Some(Stale::of(&file));
                return self.refuse(Refused::Stale, before);
            }
            Ok(found) => found,
            Err(refused) => return self.refuse(refused, before),
        };
        self.refused = None;
        let earliest = self.looked_at.replace(before).unwrap_or(MonoNs(0));
        let is_read = match found {
            Some(Temporary { file, .. }) => self.read_new(file, earliest, now),
            // There is none, or it was taken away: then nobody means it any more.
            None => Ok(()),
        };
        if is_read.is_err() {
            self.give_up();
        }
    }

    /// The process has begun anew, by exec: what stands in the file is another program's.
    pub(super) fn began_anew(&mut self, at: MonoNs) {
        if let Some(open) = &mut self.open {
            open.lines = Lines::default();
            let size = open.file.metadata().map_or(0, |found| found.len());
            open.offset = open.offset.max(size);
        }
        match self.history.forget_all(When::exactly(at)) {
            Ok(()) => self.history.settle(),
            Err(Full) => self.give_up(),
        }
    }

    /// Whether it can say anything of the process's code.
    pub(super) fn is_known(&self) -> bool {
        self.open.is_some() && self.refused.is_none()
    }

    /// Lets go of the file; what was read stays.
    pub(super) fn close(&mut self) {
        self.is_done = true;
    }

    /// What it said until now cannot be held against what it may say.
    fn refuse(&mut self, refused: Refused, at: MonoNs) {
        if self.refused.replace(refused).is_some() {
            return;
        }
        self.open = None;
        match self.history.forget_all(When::exactly(at)) {
            Ok(()) => self.history.settle(),
            Err(Full) => self.give_up(),
        }
    }

    /// Half of what it says is not to be believed: what replaced it may be in the other half.
    fn give_up(&mut self) {
        *self = MapFile {
            refused: Some(Refused::TooLarge),
            is_done: true,
            ..MapFile::default()
        };
    }

    fn read_new(
        &mut self,
        file: File,
        earliest: MonoNs,
        now: &impl Fn() -> MonoNs,
    ) -> Result<(), Full> {
        let (Ok(found), latest) = (file.metadata(), now()) else {
            return Ok(());
        };
        let when = When { earliest, latest };
        let is_same = self.open.as_ref().is_some_and(|open| {
            let known = open.file.metadata();
            let is_file =
                known.is_ok_and(|known| (known.dev(), known.ino()) == (found.dev(), found.ino()));
            is_file && open.offset <= found.len()
        });
        if !is_same {
            if self.open.is_some() {
                self.history.forget_all(when)?;
            }
            let offset = self.stale.take().map_or(0, |stale| stale.end_in(&file));
            self.open = Some(Open {
                file,
                offset,
                lines: Lines::default(),
                n_lines: 0,
            });
        }
        if let Some(open) = &mut self.open {
            open.read_to(found.len(), &mut self.history, when)?;
        }
        self.history.settle();
        Ok(())
    }
}

impl Stale {
    /// Bytes by which it is known again: the addresses in them are of that process alone.
    const TAIL: u64 = 4096;

    fn of(file: &File) -> Stale {
        let size = file.metadata().map_or(0, |found| found.len());
        Stale {
            size,
            tail: Stale::tail(file, size),
        }
    }

    /// Where the process's own lines begin.
    fn end_in(&self, file: &File) -> u64 {
        match Stale::tail(file, self.size) == self.tail {
            true => self.size,
            false => 0,
        }
    }

    fn tail(file: &File, end: u64) -> Vec<u8> {
        let n_bytes = end.min(Stale::TAIL);
        let mut tail = vec![0; usize::try_from(n_bytes).unwrap_or_default()];
        match file.read_exact_at(&mut tail, end - n_bytes) {
            Ok(()) => tail,
            Err(_) => Vec::new(),
        }
    }
}

impl Open {
    fn read_to(&mut self, end: u64, history: &mut History, when: When) -> Result<(), Full> {
        let mut chunk = vec![0; CHUNK];
        while self.offset < end {
            let left = usize::try_from(end - self.offset).unwrap_or(CHUNK);
            let n_bytes = match self
                .file
                .read_at(&mut chunk[..left.min(CHUNK)], self.offset)
            {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // It has become shorter: that is seen the next time.
                Ok(0) | Err(_) => break,
                Ok(n_bytes) => n_bytes,
            };
            self.offset += n_bytes as u64;
            let n_lines = &mut self.n_lines;
            self.lines.feed(&chunk[..n_bytes], |line| {
                *n_lines += 1;
                if *n_lines > MAX_LINES {
                    return Err(Full);
                }
                history.load(line.start, line.size, line.name, when, Origin::Compiled)
            })?;
        }
        Ok(())
    }
}
