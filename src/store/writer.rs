//! Writing: windows in, files out.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::disk::{Disk, Names, NewFile, RealDisk, is_leftover};
use super::name::{self, FileName};
use super::pending::Pending;
use super::retention::{self, Inventory};
use super::{Limits, StoreError};
use crate::model::{EventIdx, Profile};
use crate::sink::pprof::{self, Labels};
use crate::sink::{Measure, View};

const BUFFER: usize = 1 << 16;
/// The least that a file takes of a disk, whatever its bytes.
const BLOCK: u64 = 4096;
/// Targets that have ended and still wait to be written.
const MOST_ENDED: usize = 256;
/// Names that are tried for a file, if others have its sequence.
const MOST_NAMES: usize = 100;
/// What readers show first.
const VIEW: View = View {
    event: EventIdx(0),
    measure: Measure::Weight,
};

/// What a call did, as far as somebody should know.
#[derive(Debug, Default)]
pub struct Done {
    /// Files that were written.
    pub written: u64,
    /// Files that were taken away.
    pub removed: usize,
    /// What began to go wrong: told once, and again when it is another trouble.
    pub failed: Vec<StoreError>,
    /// Whether files are written again, after they could not be.
    pub recovered: bool,
}

/// A folder of continuous files, open for writing.
pub struct Store {
    disk: Box<dyn Disk>,
    limits: Limits,
    /// By target.
    pending: BTreeMap<String, Pending>,
    /// The next number, of all folders.
    sequence: u64,
    inventory: Inventory,
    /// Why nothing can be written at present, as it was told.
    cannot_write: Option<io::ErrorKind>,
    /// Why nothing can be taken away at present.
    cannot_remove: Option<io::ErrorKind>,
    forgotten: u64,
}

impl Store {
    /// Opens a folder, which is made if it is not there, and takes away what a perfd that ended at the wrong moment left.
    ///
    /// # Errors
    /// Another perfd has it open; it cannot be made, listed or locked. A read-only folder can be opened.
    pub fn open(root: &Path, limits: Limits) -> Result<Store, StoreError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::Taken {
                root: root.to_owned(),
            },
            _ => StoreError::Folder {
                root: root.to_owned(),
                source,
            },
        };
        let disk = RealDisk::open(root, Names::NoneYet).map_err(failed)?;
        Store::on(Box::new(disk), limits).map_err(failed)
    }

    /// Opens a store on any disk.
    ///
    /// # Errors
    /// Its folders cannot be listed.
    pub fn on(mut disk: Box<dyn Disk>, limits: Limits) -> io::Result<Store> {
        let mut sequence = 0;
        for folder in disk.folders()? {
            for file in disk.files(&folder)? {
                if is_leftover(&file.name) {
                    // Where nothing can be removed, nothing will be written either, and that is told then.
                    let _ = disk.remove(&folder, &file.name);
                } else if let Some(name) = FileName::parse(&file.name) {
                    sequence = sequence.max(name.sequence.saturating_add(1));
                }
            }
        }
        Ok(Store {
            inventory: Inventory::of(&mut *disk)?,
            disk,
            limits,
            pending: BTreeMap::new(),
            sequence,
            cannot_write: None,
            cannot_remove: None,
            forgotten: 0,
        })
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Adds a window of the target that its labels name, and writes what has become due.
    pub fn add(&mut self, window: &Profile, labels: &Labels, now_unix_ns: u64) -> Done {
        let mut done = Done::default();
        let target = labels.target.as_ref().unwrap_or(&window.run.target).clone();
        let has_other_labels = |pending: &Pending| pending.labels != *labels;
        if self.pending.get(&target).is_some_and(has_other_labels) {
            // A new phase: files hold one each.
            self.write(&target, &mut done);
        }
        let pending = self.pending.entry(target.clone()).or_default();
        if pending.labels != *labels {
            let earlier = std::mem::replace(pending, Pending::new(labels.clone()));
            pending.inherit(earlier);
        }
        pending.has_ended = false;
        pending.add(window);
        let window_ns = u64::try_from(self.limits.window.as_nanos()).unwrap_or(u64::MAX);
        if pending.length_ns() >= window_ns || pending.bytes >= self.limits.max_bytes {
            self.write(&target, &mut done);
            self.keep_to_size(&target);
        }
        self.keep_to_memory(&mut done);
        self.keep_to_retention(now_unix_ns, &mut done);
        done
    }

    /// A target has ended: writes what there is of it. What cannot be written now is tried again at each [`Store::tick`].
    pub fn end(&mut self, target: &str) -> Done {
        let mut done = Done::default();
        if let Some(pending) = self.pending.get_mut(target) {
            pending.has_ended = true;
            self.write(target, &mut done);
            self.forget(target);
            self.keep_to_targets();
        }
        done
    }

    /// What is due without a new window: files of targets that are silent or have ended, and what has become too old. To be called
    /// every some seconds.
    pub fn tick(&mut self, now_unix_ns: u64) -> Done {
        let mut done = Done::default();
        let window = u64::try_from(self.limits.window.as_nanos()).unwrap_or(u64::MAX);
        // Twice the time: windows that are on their way still come into the file.
        let is_silent = |pending: &Pending| {
            let age = now_unix_ns.saturating_sub(pending.start_unix_ns());
            !pending.is_empty() && age / 2 >= window
        };
        let due = self.pending.iter();
        let due = due.filter(|(_, pending)| pending.has_ended || is_silent(pending));
        let due: Vec<String> = due.map(|(target, _)| target.clone()).collect();
        for target in due {
            self.write(&target, &mut done);
            self.forget(&target);
        }
        self.keep_to_retention(now_unix_ns, &mut done);
        done
    }

    /// Writes all that waits.
    pub fn flush(&mut self) -> Done {
        let mut done = Done::default();
        let targets: Vec<String> = self.pending.keys().cloned().collect();
        for target in targets {
            self.write(&target, &mut done);
        }
        done
    }

    /// Targets that ended while nothing could be written, and of which then nothing was kept, because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Bytes of stacks that wait to be written.
    pub fn pending_bytes(&self) -> u64 {
        self.pending.values().map(|pending| pending.bytes).sum()
    }

    /// Bytes that the files take, at least.
    pub fn kept_bytes(&self) -> u64 {
        self.inventory.bytes
    }

    fn write(&mut self, target: &str, done: &mut Done) {
        let Some(pending) = self.pending.get(target) else {
            return;
        };
        let Some(profile) = pending.to_write() else {
            return;
        };
        let name = FileName {
            start_ms: pending.start_unix_ns() / 1_000_000,
            sequence: self.sequence,
        };
        match write_file(&mut *self.disk, target, name, &profile, &pending.labels) {
            Ok((name, bytes)) => {
                self.sequence = name.sequence.saturating_add(1);
                self.inventory
                    .add(name.start_ms, bytes.next_multiple_of(BLOCK));
                if let Some(pending) = self.pending.get_mut(target) {
                    pending.written();
                }
                done.written += 1;
                done.recovered |= self.cannot_write.take().is_some();
            }
            Err(source) => {
                if self.cannot_write.replace(source.kind()) != Some(source.kind()) {
                    let target = target.to_owned();
                    done.failed.push(StoreError::Write { target, source });
                }
            }
        }
    }

    /// A target that has ended and is written needs no place any more.
    fn forget(&mut self, target: &str) {
        let is_done = |pending: &Pending| pending.has_ended && pending.is_empty();
        if self.pending.get(target).is_some_and(is_done) {
            self.pending.remove(target);
        }
    }

    fn keep_to_targets(&mut self) {
        let ended = self.pending.iter().filter(|(_, pending)| pending.has_ended);
        let oldest = ended
            .clone()
            .min_by_key(|(_, pending)| pending.start_unix_ns());
        if let (true, Some((target, _))) = (ended.count() > MOST_ENDED, oldest) {
            let target = target.clone();
            self.pending.remove(&target);
            self.forgotten += 1;
        }
    }

    /// What could not be written and is too large to wait is dropped.
    fn keep_to_size(&mut self, target: &str) {
        if let Some(pending) = self.pending.get_mut(target)
            && pending.bytes >= self.limits.max_bytes
        {
            pending.drop_stacks();
        }
    }

    fn keep_to_memory(&mut self, done: &mut Done) {
        while self.pending_bytes() > self.limits.memory {
            let largest = self.pending.iter().max_by_key(|(_, pending)| pending.bytes);
            let Some((target, _)) = largest else {
                return;
            };
            let target = target.clone();
            self.write(&target, done);
            if let Some(pending) = self.pending.get_mut(&target) {
                pending.drop_stacks();
            }
        }
    }

    fn keep_to_retention(&mut self, now_unix_ns: u64, done: &mut Done) {
        let keep_for = u64::try_from(self.limits.keep_for.as_millis()).unwrap_or(u64::MAX);
        let before_ms = (now_unix_ns / 1_000_000).saturating_sub(keep_for);
        let keep_bytes = self.limits.keep_bytes;
        if !self.inventory.is_due(before_ms, keep_bytes) {
            return;
        }
        match retention::enforce(&mut *self.disk, before_ms, keep_bytes) {
            Ok((inventory, removed)) => {
                self.inventory = inventory;
                done.removed += removed;
                self.cannot_remove = None;
            }
            Err(source) => {
                if self.cannot_remove.replace(source.kind()) != Some(source.kind()) {
                    done.failed.push(StoreError::Remove(source));
                }
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("limits", &self.limits)
            .field("targets", &self.pending.len())
            .field("inventory", &self.inventory)
            .finish_non_exhaustive()
    }
}

/// Writes a file whole or not at all; returns its name and its bytes.
fn write_file(
    disk: &mut dyn Disk,
    target: &str,
    mut name: FileName,
    profile: &Profile,
    labels: &Labels,
) -> io::Result<(FileName, u64)> {
    let folder = name::folder(target);
    disk.make_folder(&folder)?;
    let mut file = disk.create(&folder)?;
    let mut counted = Counted {
        file: &mut *file,
        bytes: 0,
    };
    let mut buffer = BufWriter::with_capacity(BUFFER, &mut counted);
    let written = pprof::encode(profile, labels, VIEW, &mut buffer).and_then(|()| buffer.flush());
    // Taken apart, because a buffer that is dropped would write once more what has just failed.
    let _ = buffer.into_parts();
    written?;
    let bytes = counted.bytes;
    for _ in 0..MOST_NAMES {
        match file.publish(&name.text()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                name.sequence = name.sequence.saturating_add(1);
            }
            published => return published.map(|()| (name, bytes)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

struct Counted<'a> {
    file: &'a mut dyn NewFile,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
