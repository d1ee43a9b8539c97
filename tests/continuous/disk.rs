//! Disks that are full or may not be written to.

use std::fs;
use std::path::Path;
use std::process::Command;

use perfd::store::{Limits, Store, StoreError};

use super::support::skip;
use super::windows::{end_of, files, labels, samples, window};

/// A file system of some KiB in memory, which goes with it.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    /// `None` if nothing may be mounted here, which has then been said.
    fn mount(options: &str) -> Option<Small> {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path())
            .output();
        if output.is_ok_and(|output| output.status.success()) {
            return Some(Small { folder });
        }
        skip("mount of a tmpfs is not permitted");
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())
            .status();
        assert!(status.expect("mount starts").success());
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a panic may have left a descriptor open.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

fn of_every_window() -> Limits {
    Limits {
        window: std::time::Duration::from_secs(10),
        max_bytes: 2000,
        memory: 2000,
        ..Limits::default()
    }
}

#[test]
fn a_full_disk_costs_what_does_not_fit_and_nothing_else() {
    let Some(disk) = Small::mount("size=64k") else {
        return;
    };
    let root = disk.path().join("windows");
    let mut store = Store::open(&root, of_every_window()).expect("room");
    let mut failed = Vec::new();
    for nth in 0..60 {
        failed.extend(
            store
                .add(&window(nth, 10), &labels("a"), end_of(nth))
                .failed,
        );
    }
    assert_eq!(failed.len(), 1, "{failed:?}");
    let StoreError::Write { source, .. } = &failed[0] else {
        panic!("{failed:?}");
    };
    assert_eq!(source.raw_os_error(), Some(libc::ENOSPC));
    let before = files(&root);
    assert!(before.len() > 5 && before.len() < 30, "{}", before.len());
    assert_eq!(samples(&before), (10 * before.len() as u64, 0));
    disk.remount("size=1m");
    let done = store.add(&window(60, 10), &labels("a"), end_of(60));
    assert!(done.recovered && done.written == 1, "{done:?}");
    let (in_rows, not_stored) = samples(&files(&root));
    assert_eq!(in_rows + u64::try_from(not_stored).expect("a number"), 610);
    assert!(not_stored > 200, "{not_stored}");
    drop(store);
}

#[test]
fn a_read_only_disk_is_told_once_and_goes_on_when_it_is_none() {
    let Some(disk) = Small::mount("size=1m") else {
        return;
    };
    let root = disk.path().join("windows");
    fs::create_dir(&root).expect("made");
    disk.remount("ro");
    let mut store = Store::open(&root, of_every_window()).expect("it can be read");
    let mut failed = Vec::new();
    for nth in 0..20 {
        failed.extend(store.add(&window(nth, 1), &labels("a"), end_of(nth)).failed);
    }
    assert_eq!(failed.len(), 1, "{failed:?}");
    let text = failed[0].to_string();
    assert_eq!(text, "write a file of \"a\"");
    disk.remount("rw");
    assert!(store.flush().recovered);
    let (in_rows, not_stored) = samples(&files(&root));
    assert_eq!(in_rows + u64::try_from(not_stored).expect("a number"), 20);
    drop(store);
}
