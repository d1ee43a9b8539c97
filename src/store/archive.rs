//! Reading: the windows of a time, put together.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::name::FileName;
use super::{disk, name};
use crate::aggregate;
use crate::model::{MonoNs, Profile};
use crate::sink::pprof::{self, DecodeError, Decoded, Labels};

/// Bytes of the largest file that is read.
const MAX_FILE: u64 = 256 << 20;

/// What is looked for; what is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Nanoseconds since the Unix epoch from which windows count.
    pub since: Option<u64>,
    /// And before which they must begin.
    pub until: Option<u64>,
    /// Name of the target.
    pub target: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Phase.
    pub phase: Option<String>,
}

/// The time of files, in nanoseconds since the Unix epoch, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Name of the target, or of its folder where that is all that is known.
    pub target: String,
    /// Start of the first.
    pub start: u64,
    /// End of the last; where that was not read, its start.
    pub end: u64,
    /// How many.
    pub n_files: usize,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read {}", path.display())]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: ReadError,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system does not let it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What is in it is no profile.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// All of it; `None` if nothing is of that time.
    pub profile: Option<Profile>,
    /// The time of what was found, by target and in order.
    pub kept: Vec<Kept>,
    /// Labels that all of it has.
    pub labels: Labels,
    /// Files of that time, perhaps, that cannot be read.
    pub damaged: Vec<Damaged>,
}

/// A folder of continuous files, open for reading: nothing is locked or changed.
#[derive(Clone, Debug)]
pub struct Archive {
    root: PathBuf,
}

/// A file in order of time.
type Candidate = (FileName, PathBuf);

impl Archive {
    /// Files under `root`.
    pub fn at(root: &Path) -> Archive {
        Archive {
            root: root.to_owned(),
        }
    }

    /// What there is of each target, by the names of files. Of the first `n_read` targets the last file is read, for its end.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn kept(&self, n_read: usize) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for target in disk::folders_of(&self.root)? {
            let files = self.files_of(&target)?;
            if let (Some(first), Some(last)) = (files.first(), files.last()) {
                let last_start = last.0.start_ms.saturating_mul(1_000_000);
                let last = (kept.len() < n_read).then(|| read(&last.1));
                let end = last.and_then(|last| Some(end_of(&last.ok()?.profile)));
                kept.push(Kept {
                    target,
                    start: first.0.start_ms.saturating_mul(1_000_000),
                    end: end.unwrap_or(last_start),
                    n_files: files.len(),
                });
            }
        }
        Ok(kept)
    }

    /// Reads the files that a selection meets. Files are taken whole: of one that begins before the time or ends after it all windows
    /// are in the profile.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn find(&self, wanted: &Selection) -> io::Result<Found> {
        let mut found = Found::default();
        let mut folders = disk::folders_of(&self.root)?;
        if let Some(target) = &wanted.target {
            let folder = name::folder(target);
            folders.retain(|name| *name == folder);
        }
        for folder in folders {
            self.find_in(&folder, wanted, &mut found)?;
        }
        Ok(found)
    }

    fn find_in(&self, folder: &str, wanted: &Selection, found: &mut Found) -> io::Result<()> {
        let files = self.files_of(folder)?;
        let ms = |nanos: Option<u64>, none: u64| nanos.map_or(none, |nanos| nanos / 1_000_000);
        let (since, until) = (ms(wanted.since, 0), ms(wanted.until, u64::MAX));
        let first = files.partition_point(|(name, _)| name.start_ms < since);
        let behind = files.partition_point(|(name, _)| name.start_ms <= until);
        // Files follow each other: of those that begin before the time, only the last ones may reach into it.
        let mut early = Vec::new();
        for (_, path) in files[..first].iter().rev() {
            let Some(decoded) = read_into(path, found) else {
                continue;
            };
            if end_of(&decoded.profile) <= wanted.since.unwrap_or(0) {
                break;
            }
            early.push(decoded);
        }
        for decoded in early.into_iter().rev() {
            found.add(folder, decoded, wanted);
        }
        for (_, path) in &files[first..behind.max(first)] {
            if let Some(decoded) = read_into(path, found) {
                found.add(folder, decoded, wanted);
            }
        }
        Ok(())
    }

    /// The files of a folder, in order of time.
    fn files_of(&self, folder: &str) -> io::Result<Vec<Candidate>> {
        let folder = self.root.join(folder);
        let files = match disk::files_of(&folder) {
            Ok(files) => files,
            // Taken away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let named = files.into_iter().filter_map(|file| {
            let name = FileName::parse(&file.name)?;
            Some((name, folder.join(file.name)))
        });
        let mut named: Vec<Candidate> = named.collect();
        named.sort();
        Ok(named)
    }
}

impl Found {
    fn add(&mut self, folder: &str, decoded: Decoded, wanted: &Selection) {
        let Decoded {
            profile, labels, ..
        } = decoded;
        let (start, end) = (profile.span.start_unix_ns, end_of(&profile));
        let is_in_time = wanted.since.is_none_or(|since| end > since)
            && wanted.until.is_none_or(|until| start < until);
        if !is_in_time || !has(&labels, wanted) {
            return;
        }
        match self.profile {
            None => self.labels = labels.clone(),
            Some(_) => self.labels.keep_common(&labels),
        }
        let target = labels.target.unwrap_or_else(|| folder.to_owned());
        match self.kept.last_mut().filter(|kept| kept.target == target) {
            Some(kept) => {
                kept.end = end.max(kept.end);
                kept.n_files += 1;
            }
            None => self.kept.push(Kept {
                target,
                start,
                end,
                n_files: 1,
            }),
        }
        match &mut self.profile {
            None => self.profile = Some(profile),
            Some(all) => {
                // Targets come one after the other, and the clock of spans begins anew when the host does: the whole is as long as
                // the wall clock says from the first start to the last end.
                let (first, last) = (all.span.start_unix_ns.min(start), end_of(all).max(end));
                let origin = all.span.start;
                aggregate::merge_into(all, &profile);
                all.span.start = origin;
                all.span.start_unix_ns = first;
                all.span.end = MonoNs(origin.0.saturating_add(last.saturating_sub(first)));
            }
        }
    }
}

fn has(labels: &Labels, wanted: &Selection) -> bool {
    let is = |wanted: &Option<String>, label: &Option<String>| wanted.is_none() || wanted == label;
    is(&wanted.target, &labels.target)
        && is(&wanted.unit, &labels.unit)
        && is(&wanted.phase, &labels.phase)
}

/// Nanoseconds since the Unix epoch behind the last window.
fn end_of(profile: &Profile) -> u64 {
    let span = &profile.span;
    let length = span.end.0.saturating_sub(span.start.0);
    span.start_unix_ns.saturating_add(length)
}

/// Reads a file; what cannot be read is noted. A file that was taken away meanwhile was too old.
fn read_into(path: &Path, found: &mut Found) -> Option<Decoded> {
    match read(path) {
        Ok(decoded) => Some(decoded),
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => {
            let path = path.to_owned();
            found.damaged.push(Damaged { path, cause });
            None
        }
    }
}

fn read(path: &Path) -> Result<Decoded, ReadError> {
    let mut bytes = Vec::new();
    let n_read = File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if n_read as u64 > MAX_FILE {
        return Err(DecodeError::TooLarge("packed bytes").into());
    }
    Ok(pprof::decode(&bytes, &pprof::Limits::default())?)
}
