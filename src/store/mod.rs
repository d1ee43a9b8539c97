//! Continuous files: the windows of targets in a folder, as pprof files, for as long as there is room.
//!
//! ```text
//! ROOT/TARGET/20261127T040210.702Z-000012.pb.gz       UTC at the start of its first window; a number that counts on
//! ROOT/TARGET/.perfd-new-…                            being written, only where the file system has no files without a name
//! ```
//!
//! **What is whole.** A file has no name until all of it is written and on the medium, so that whatever ends perfd, at whatever
//! byte, every file there is can be read. The name itself is not synced: after a power failure the newest files may be missing,
//! but none is cut. What is not written yet, at most `window` of each target, is in memory and lost with perfd.
//!
//! **What is counted.** Windows that could not be written (a full disk, a read-only one) are kept in memory up to the limits;
//! beyond that their stacks are dropped, and their ledger stands in the next file that can be written, with the samples under
//! [`LossReason::NotStored`](crate::model::LossReason::NotStored) and a note of how many windows they were in.
//!
//! [`Store`] writes, [`Archive`] reads; both may be at the same folder at once.

mod archive;
mod disk;
mod name;
mod pending;
mod retention;
mod writer;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use archive::{Archive, Damaged, Found, Kept, ReadError, Selection};
pub use disk::{Disk, Entry, Names, NewFile, RealDisk};
pub use writer::{Done, Store};

/// How much a store keeps, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file is written when its windows are of as much time.
    pub window: Duration,
    /// It is written before that if its stacks take as many bytes in memory; packed they are about a tenth.
    pub max_bytes: u64,
    /// Bytes of stacks of all targets together that wait to be written: the largest file is written when there are more.
    pub memory: u64,
    /// Files that began longer ago are taken away.
    pub keep_for: Duration,
    /// The oldest files are taken away when all together take more of the disk.
    pub keep_bytes: u64,
}

impl Default for Limits {
    /// A minute; 8 MiB each and 16 MiB together in memory; a week; 1 GiB.
    fn default() -> Limits {
        Limits {
            window: Duration::from_secs(60),
            max_bytes: 8 << 20,
            memory: 16 << 20,
            keep_for: Duration::from_secs(7 * 24 * 3600),
            keep_bytes: 1 << 30,
        }
    }
}

/// What goes wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another perfd keeps its files there.
    #[error("keep files in {}: another perfd does so already", root.display())]
    Taken {
        /// The folder.
        root: PathBuf,
    },
    /// The folder cannot be made, opened or listed.
    #[error("keep files in {}", root.display())]
    Folder {
        /// The folder.
        root: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write a file of {target:?}")]
    Write {
        /// The target.
        target: String,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Old files cannot be taken away.
    #[error("take away old files")]
    Remove(#[source] io::Error),
}

#[cfg(test)]
mod tests;
