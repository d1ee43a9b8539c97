//! The cache on disk, whose files perfd opens.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::super::message::{Ask, Reply};
use super::asker::Asker;
use crate::symbolize::Shelf;

/// A cache in which perfd opens files for the child.
#[derive(Debug)]
pub(super) struct AskedShelf {
    asker: Arc<Asker>,
}

impl AskedShelf {
    pub(super) fn new(asker: Arc<Asker>) -> AskedShelf {
        AskedShelf { asker }
    }
}

impl Shelf for AskedShelf {
    fn files(&self, key: &str) -> Vec<(usize, File)> {
        let key = key.to_owned();
        let Ok((Reply::Files(numbers), files)) = self.asker.ask(Ask::Files { key }) else {
            return Vec::new();
        };
        let numbers = numbers
            .into_iter()
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        numbers.zip(files.into_iter().map(File::from)).collect()
    }

    fn create(&self) -> Option<File> {
        match self.asker.ask(Ask::Create) {
            Ok((Reply::Created, mut files)) => files.pop().map(File::from),
            _ => None,
        }
    }

    fn keep(&self, file: &File, key: &str) {
        if let Ok(found) = file.metadata() {
            let (inode, key) = (found.ino(), key.to_owned());
            let _ = self.asker.ask(Ask::Keep { inode, key });
        }
    }

    fn remove(&self, key: &str, number: usize) {
        if let Ok(number) = u32::try_from(number) {
            let key = key.to_owned();
            let _ = self.asker.ask(Ask::Remove { key, number });
        }
    }
}
