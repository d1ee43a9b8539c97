//! A folder that belongs to the user perfd runs as, and that nobody else may write to: what is kept there from run to run is believed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::unistd::geteuid;

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFolderError {
    /// It cannot be made or opened; a link is not followed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody else could write into it.
    #[error("not a folder that only its owner, this user, may write to")]
    NotOurs,
}

/// Opens the folder, which is made with mode 0700 if it is not there.
///
/// # Errors
/// It cannot be had, belongs to somebody else, or others may write to it.
pub fn private_folder(path: &Path) -> Result<File, PrivateFolderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)?;
    let found = folder.metadata()?;
    match found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0 {
        true => Ok(folder),
        false => Err(PrivateFolderError::NotOurs),
    }
}
