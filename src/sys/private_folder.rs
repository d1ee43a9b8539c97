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
    /// There is something else in its place.
    #[error("there is something that is no folder")]
    NoFolder,
    /// Somebody else could write into it.
    #[error(
        "it belongs to user {owner} with mode {mode:04o}; only its owner may be able to write to it, and that must be user {own}"
    )]
    NotOurs {
        /// Its owner.
        owner: u32,
        /// Its permissions.
        mode: u32,
        /// The user who asked.
        own: u32,
    },
}

/// Opens the folder, which is made with mode 0700 if it is not there.
///
/// # Errors
/// It cannot be had, belongs to somebody else, or others may write to it.
pub fn private_folder(path: &Path) -> Result<File, PrivateFolderError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(no_folder)?;
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
        .map_err(no_folder)?;
    let found = folder.metadata()?;
    let (owner, own) = (found.uid(), geteuid().as_raw());
    match owner == own && found.mode() & 0o022 == 0 {
        true => Ok(folder),
        false => Err(PrivateFolderError::NotOurs {
            owner,
            mode: found.mode() & 0o7777,
            own,
        }),
    }
}

/// The system's word for what is in the way says little of it.
fn no_folder(error: io::Error) -> PrivateFolderError {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => PrivateFolderError::NoFolder,
        _ => PrivateFolderError::Io(error),
    }
}
