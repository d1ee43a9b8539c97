//! Where names of files are kept from run to run: the flags, and the folder where none is given.

use std::path::PathBuf;

use clap::Args;

use super::cache_folder::cache_folder;
use crate::model::{Fault, FaultClass};
use crate::symbolize::CacheFolder;

/// Flags of the cache of names.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Names")]
pub struct CacheArgs {
    /// Where names of large files are kept from run to run [default: ~/.cache/perfd/names]
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_cache")]
    cache_dir: Option<PathBuf>,

    /// Keep no names from run to run
    #[arg(long)]
    no_cache: bool,
}

impl CacheArgs {
    /// The folder, made if need be. One that was not asked for and cannot be used is done without.
    ///
    /// # Errors
    /// The folder that was asked for cannot be used.
    pub(super) fn folder(&self) -> Result<Option<CacheFolder>, Fault> {
        if self.no_cache {
            return Ok(None);
        }
        let Some(path) = &self.cache_dir else {
            return Ok(cache_folder().and_then(|path| CacheFolder::open(&path.join("names")).ok()));
        };
        CacheFolder::open(path).map(Some).map_err(|error| {
            let what = format!("--cache-dir: {:#}", anyhow::Error::new(error));
            Fault::new(FaultClass::CannotCreate, what)
                .hint("the folder must belong to the user that runs perfd, with mode 0755 or less")
        })
    }
}
