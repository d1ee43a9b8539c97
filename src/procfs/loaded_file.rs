//! A file as a process has it in memory: what tells whether the file at its path is the one that runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::maps::{self, MapsLine};
use crate::model::{BuildId, SeenIn};
use crate::object::{ReadAt, loaded_build_id};

/// The mapped parts of a file, at their offsets in the file.
struct LoadedFile {
    memory: File,
    /// Of one file, in the order of their addresses.
    parts: Vec<MapsLine>,
}

/// The build id that is in memory of the file `inode` on `dev`, which was seen in a process; `None` if it has none there, or we may not
/// look.
pub(super) fn build_id(proc_root: &Path, seen_in: SeenIn, dev: u64, inode: u64) -> Option<BuildId> {
    let is_of_file = |line: &MapsLine| line.inode == inode && line.dev == dev;
    let parts = maps::mappings(proc_root, seen_in.pid, is_of_file).ok()?;
    let memory = File::open(proc_root.join(seen_in.pid.to_string()).join("mem")).ok()?;
    loaded_build_id(&LoadedFile { memory, parts }).ok()?
}

impl ReadAt for LoadedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let behind = |part: &MapsLine| offset.checked_sub(part.file_offset.0);
        let covering = self.parts.iter().find_map(|part| {
            let size = part.end.0.saturating_sub(part.start.0);
            let distance = behind(part).filter(|distance| *distance < size)?;
            Some((part.start.0.checked_add(distance)?, size - distance))
        });
        let Some((address, size)) = covering else {
            return Ok(0);
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(buf.len());
        FileExt::read_at(&self.memory, &mut buf[..size], address)
    }

    fn len(&self) -> u64 {
        let end = |part: &MapsLine| {
            let size = part.end.0.saturating_sub(part.start.0);
            part.file_offset.0.saturating_add(size)
        };
        self.parts.iter().map(end).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pid;
    use crate::object::Elf;

    #[test]
    fn our_own_memory_has_the_build_id_of_our_file() {
        let proc_root = Path::new("/proc");
        let pid = Pid(std::process::id());
        let lines = maps::executable(proc_root, pid).expect("our mappings");
        let exe = std::env::current_exe().expect("ourselves");
        let own = lines.iter().find(|line| line.path == exe).expect("mapped");
        let seen_in = SeenIn {
            pid,
            start: own.start.0,
            end: own.end.0,
            version: None,
        };
        let file = File::open(&exe).expect("ourselves");
        let of_file = Elf::parse(Box::new(file)).expect("is elf").build_id();
        assert!(of_file.is_some());
        assert_eq!(build_id(proc_root, seen_in, own.dev, own.inode), of_file);
        assert_eq!(build_id(proc_root, seen_in, own.dev, own.inode + 1), None);
    }
}
