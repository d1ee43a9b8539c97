//! A disk in memory that fails when it is told to.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sink::pprof::{self, Decoded, Writer};
use crate::store::{Disk, Entry, NewFile};

/// When operations fail, counted from 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) from: u64,
    pub(super) until: u64,
    /// Bytes that all files together may have; 0: any number.
    pub(super) room: usize,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) folders: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(super) n_operations: u64,
    pub(super) plan: Plan,
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

impl Memory {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn operation(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let n = state.n_operations;
        state.n_operations += 1;
        match (state.plan.from..state.plan.until).contains(&n) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(state),
        }
    }

    /// All files, read as they are; by folder and name.
    pub(super) fn decoded(&self) -> Vec<(String, Decoded)> {
        let state = self.state();
        let files = state.folders.iter().flat_map(|(folder, files)| {
            let path = move |name: &String| format!("{folder}/{name}");
            files.iter().map(move |(name, bytes)| (path(name), bytes))
        });
        let read = |(path, bytes): (String, &Vec<u8>)| {
            let decoded = pprof::decode(bytes, &pprof::Limits::default());
            let decoded = decoded.unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(decoded.writer, Writer::Perfd, "{path}");
            (path, decoded)
        };
        files.map(read).collect()
    }

    pub(super) fn n_files(&self) -> usize {
        self.state().folders.values().map(BTreeMap::len).sum()
    }
}

impl Disk for Memory {
    fn folders(&mut self) -> io::Result<Vec<String>> {
        Ok(self.operation()?.folders.keys().cloned().collect())
    }

    fn files(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        let state = self.operation()?;
        let files = state.folders.get(folder).ok_or(io::ErrorKind::NotFound)?;
        let entry = |(name, bytes): (&String, &Vec<u8>)| Entry {
            name: name.clone(),
            bytes: bytes.len() as u64,
        };
        Ok(files.iter().map(entry).collect())
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        self.operation()?
            .folders
            .entry(folder.to_owned())
            .or_default();
        Ok(())
    }

    fn create(&mut self, folder: &str) -> io::Result<Box<dyn NewFile>> {
        drop(self.operation()?);
        Ok(Box::new(InMemory {
            disk: self.clone(),
            folder: folder.to_owned(),
            bytes: Vec::new(),
        }))
    }

    fn remove(&mut self, folder: &str, name: &str) -> io::Result<()> {
        let mut state = self.operation()?;
        let files = state.folders.get_mut(folder);
        let removed = files.and_then(|files| files.remove(name));
        removed.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn remove_folder(&mut self, folder: &str) -> io::Result<()> {
        let mut state = self.operation()?;
        if !state.folders.get(folder).is_some_and(BTreeMap::is_empty) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.folders.remove(folder);
        Ok(())
    }
}

pub(super) struct InMemory {
    disk: Memory,
    folder: String,
    bytes: Vec<u8>,
}

impl Write for InMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let state = self.disk.operation()?;
        let files = state.folders.values().flat_map(BTreeMap::values);
        let taken: usize = files.map(Vec::len).sum::<usize>() + self.bytes.len();
        if state.plan.room > 0 && taken + bytes.len() > state.plan.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Little at a time, as a disk may take it.
        let n = bytes.len().min(200);
        self.bytes.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for InMemory {
    fn publish(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.disk.operation()?;
        let files = state
            .folders
            .get_mut(&self.folder)
            .ok_or(io::ErrorKind::NotFound)?;
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), std::mem::take(&mut self.bytes));
        Ok(())
    }
}
