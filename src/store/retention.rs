//! Which files are taken away: those that are too old, and the oldest of too many.

use std::io;

use super::disk::Disk;
use super::name::FileName;

/// What is left below `keep_bytes` when files are taken away, so that not every new file costs a look at all of them: a sixteenth.
const SLACK: u64 = 16;

/// What is known of the files there are.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Of all files together; at least what they take.
    pub(super) bytes: u64,
    /// When the oldest began; `None` if there is none.
    oldest_ms: Option<u64>,
}

impl Inventory {
    /// Looks at all files.
    pub(super) fn of(disk: &mut dyn Disk) -> io::Result<Inventory> {
        let mut found = Inventory::default();
        for folder in disk.folders()? {
            for file in disk.files(&folder)? {
                if let Some(name) = FileName::parse(&file.name) {
                    found.add(name.start_ms, file.bytes);
                }
            }
        }
        Ok(found)
    }

    /// There is one more.
    pub(super) fn add(&mut self, start_ms: u64, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let oldest = self.oldest_ms.get_or_insert(start_ms);
        *oldest = start_ms.min(*oldest);
    }

    /// Whether something is to be taken away.
    pub(super) fn is_due(&self, before_ms: u64, keep_bytes: u64) -> bool {
        self.bytes > keep_bytes || self.oldest_ms.is_some_and(|oldest| oldest < before_ms)
    }
}

/// Takes away the files that began before `before_ms`, and the oldest of all targets until there is room; then folders that became empty.
/// What is none of ours stays and is not counted.
pub(super) fn enforce(
    disk: &mut dyn Disk,
    before_ms: u64,
    keep_bytes: u64,
) -> io::Result<(Inventory, usize)> {
    let folders = disk.folders()?;
    let mut files = Vec::new();
    for (idx, folder) in folders.iter().enumerate() {
        for file in disk.files(folder)? {
            if let Some(name) = FileName::parse(&file.name) {
                files.push((name, idx, file.bytes));
            }
        }
    }
    files.sort_unstable();
    let mut bytes: u64 = files.iter().map(|file| file.2).sum();
    let room = match bytes > keep_bytes {
        true => keep_bytes - keep_bytes / SLACK,
        false => keep_bytes,
    };
    let n_gone = files
        .iter()
        .take_while(|(name, _, size)| {
            let goes = name.start_ms < before_ms || bytes > room;
            bytes -= if goes { *size } else { 0 };
            goes
        })
        .count();
    let mut emptied = vec![false; folders.len()];
    for (name, idx, _) in &files[..n_gone] {
        disk.remove(&folders[*idx], &name.text())?;
        emptied[*idx] = true;
    }
    let (mut left, mut in_use) = (Inventory::default(), vec![false; folders.len()]);
    for (name, idx, size) in &files[n_gone..] {
        left.add(name.start_ms, *size);
        in_use[*idx] = true;
    }
    for (idx, folder) in folders.iter().enumerate() {
        if emptied[idx] && !in_use[idx] {
            // Something else may be in it.
            let _ = disk.remove_folder(folder);
        }
    }
    Ok((left, n_gone))
}
