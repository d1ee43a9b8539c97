//! Whom to profile: what the user named, checked against `/proc`.

use std::io;
use std::path::Path;

use crate::model::{Pid, Tid};
use crate::procfs::tasks;

/// What the user asked to profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Whole processes, with what they fork from now on.
    Processes {
        /// The processes.
        pids: Vec<Pid>,
        /// Their living descendants too.
        with_tree: bool,
    },
    /// Single threads.
    Threads(Vec<Tid>),
    /// Everything on every CPU.
    Host,
}

/// A running process to profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The process.
    pub pid: Pid,
    /// The threads that are meant; `None` for all.
    pub threads: Option<Vec<Tid>>,
}

/// Why a process or thread cannot be a target.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Nothing has that number.
    #[error("no such process: {0}")]
    NoSuchProcess(Pid),
    /// No thread has that number.
    #[error("no such thread: {0}")]
    NoSuchThread(Tid),
    /// It has ended and waits for its parent to take note.
    #[error("process {0} is a zombie: it has ended and its parent has not waited for it")]
    Zombie(Pid),
    /// `/proc` does not show it.
    #[error("read /proc/{pid}")]
    Unreadable {
        /// The process.
        pid: Pid,
        /// Why.
        source: io::Error,
    },
}

/// The processes of a selection, each once, with the threads if not all of them are meant.
pub fn find(proc_root: &Path, selection: &Selection) -> Result<Vec<Found>, FindError> {
    match selection {
        Selection::Host => Ok(Vec::new()),
        Selection::Processes { pids, with_tree } => {
            let mut found = Vec::new();
            for &pid in pids {
                check(proc_root, pid)?;
                found.push(pid);
                if *with_tree {
                    let children = tasks::descendants(proc_root, pid);
                    found.extend(children.map_err(|source| FindError::Unreadable { pid, source })?);
                }
            }
            let mut seen = std::collections::BTreeSet::new();
            found.retain(|pid| seen.insert(*pid));
            Ok(found
                .into_iter()
                .map(|pid| Found { pid, threads: None })
                .collect())
        }
        Selection::Threads(tids) => {
            let mut found: Vec<Found> = Vec::new();
            for &tid in tids {
                let pid =
                    tasks::process_of(proc_root, tid).map_err(|_| FindError::NoSuchThread(tid))?;
                match found.iter_mut().find(|known| known.pid == pid) {
                    Some(Found {
                        threads: Some(threads),
                        ..
                    }) => threads.push(tid),
                    _ => found.push(Found {
                        pid,
                        threads: Some(vec![tid]),
                    }),
                }
            }
            Ok(found)
        }
    }
}

fn check(proc_root: &Path, pid: Pid) -> Result<(), FindError> {
    match tasks::stat(proc_root, pid) {
        Ok(stat) if stat.state == 'Z' => Err(FindError::Zombie(pid)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FindError::NoSuchProcess(pid)),
        Err(source) => Err(FindError::Unreadable { pid, source }),
    }
}
