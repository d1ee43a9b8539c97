//! The jitdump of one process, read as it grows.
//!
//! It is known by the mapping that the runtime makes of it for that, and opened as the file behind that mapping. V8 writes it through a buffer of
//! 2 MiB, so that the last records come when the process ends.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::history::{Full, History, Origin, When};
use super::jitdump::{self, Body, Clock, HEADER, Header, LOOKED_AT, Malformed};
use crate::model::MonoNs;

/// Records of a file.
const MAX_RECORDS: u64 = 1_000_000;
/// Bytes that are read at once: code stands between the records, of which little is read.
const CHUNK: usize = 64 << 10;

/// Why a dump gives no more names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GivenUp {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it is too large")]
    Full,
}

impl From<Full> for GivenUp {
    fn from(Full: Full) -> GivenUp {
        GivenUp::Full
    }
}

/// What is known of the file.
#[derive(Debug)]
pub(super) struct DumpFile {
    file: File,
    header: Option<Header>,
    offset: u64,
    n_records: u64,
    is_closed: bool,
    pub(super) history: History,
    /// Why it gives no names, if so.
    pub(super) given_up: Option<GivenUp>,
    /// When it was last looked at: what is new since was written since.
    looked_at: Option<MonoNs>,
    /// Of the last change: they stand in the file in order of time.
    last: MonoNs,
}

impl DumpFile {
    pub(super) fn new(file: File) -> DumpFile {
        DumpFile {
            file,
            header: None,
            offset: 0,
            n_records: 0,
            is_closed: false,
            history: History::default(),
            given_up: None,
            looked_at: None,
            last: MonoNs(0),
        }
    }

    /// Reads what is new; `own_pid`: the process in its pid namespace; `now` tells the time.
    pub(super) fn read(&mut self, own_pid: u32, now: &impl Fn() -> MonoNs) {
        if self.given_up.is_some() || self.is_closed {
            return;
        }
        if let Err(given_up) = self.read_new(own_pid, now) {
            self.given_up = Some(given_up);
            // Names that it gave before are no better.
            self.history = History::default();
        }
    }

    /// Nothing more is read of it.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    fn read_new(&mut self, own_pid: u32, now: &impl Fn() -> MonoNs) -> Result<(), GivenUp> {
        let earliest = self.looked_at.replace(now()).unwrap_or(MonoNs(0));
        let Ok(found) = self.file.metadata() else {
            return Ok(());
        };
        let (end, latest) = (found.len(), now());
        let mut chunk = vec![0; CHUNK];
        let header = match self.header {
            Some(header) => header,
            None => {
                let bytes = read_at(&self.file, &mut chunk[..HEADER], 0);
                let Some(header) = jitdump::header(bytes)? else {
                    return Ok(());
                };
                if header.pid != own_pid {
                    return Err(Malformed::OtherProcess.into());
                }
                self.offset = u64::from(header.size);
                *self.header.insert(header)
            }
        };
        if end < self.offset && self.n_records > 0 {
            return Err(Malformed::Record.into());
        }
        while self.offset < end && !self.is_closed {
            let at = self.offset;
            let left = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let bytes = read_at(&self.file, &mut chunk[..left], at);
            let between = When { earliest, latest };
            if self.take(bytes, end, own_pid, header.clock, between)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Takes the records that begin in `bytes`, as far as they stand in them; returns their number.
    fn take(
        &mut self,
        bytes: &[u8],
        end: u64,
        own_pid: u32,
        clock: Clock,
        between: When,
    ) -> Result<u64, GivenUp> {
        let (base, mut n_taken) = (self.offset, 0);
        while let Some(rest) = usize::try_from(self.offset - base)
            .ok()
            .and_then(|at| bytes.get(at..))
        {
            let left = end.saturating_sub(self.offset);
            // What is cut off here is read again from its beginning.
            let is_cut = rest.len() < LOOKED_AT && (rest.len() as u64) < left;
            if is_cut && n_taken > 0 {
                break;
            }
            let Some(record) = jitdump::record(rest, left, own_pid)? else {
                break;
            };
            n_taken += 1;
            self.n_records += 1;
            if self.n_records > MAX_RECORDS {
                return Err(GivenUp::Full);
            }
            let when = self.when(record.time, clock, between);
            match record.body {
                Body::Load { start, size, name } => {
                    self.history
                        .load(start, size, name, when, Origin::Compiled)?;
                }
                Body::Move { from, to, size } => self.moved(from, to, size, when)?,
                Body::Close => self.is_closed = true,
                Body::Other => (),
            }
            self.offset += u64::from(record.size);
        }
        Ok(n_taken)
    }

    fn moved(&mut self, from: u64, to: u64, size: u64, when: When) -> Result<(), Full> {
        let name = self.history.starts_at(from).map(|(name, _)| name);
        self.history.forget(from, size, when)?;
        let name = name.as_deref().map(str::as_bytes);
        self.history.load(to, size, name, when, Origin::Moved)
    }

    /// A record's own time, if it can be one of the clock that samples have; else it was written between two readings.
    fn when(&mut self, time: u64, clock: Clock, between: When) -> When {
        let is_time = clock == Clock::Monotonic && time > 0 && time <= between.latest.0;
        let when = match is_time {
            true => When::exactly(MonoNs(time).max(self.last)),
            false => When {
                earliest: between.earliest.max(self.last),
                latest: between.latest,
            },
        };
        self.last = when.earliest;
        when
    }
}

/// As much as there is.
fn read_at<'a>(file: &File, chunk: &'a mut [u8], at: u64) -> &'a [u8] {
    let mut n_read = 0;
    while n_read < chunk.len() {
        match file.read_at(&mut chunk[n_read..], at + n_read as u64) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            Ok(0) | Err(_) => break,
            Ok(n_bytes) => n_read += n_bytes,
        }
    }
    &chunk[..n_read]
}
