//! Whom to profile: what the user named, checked against `/proc`.

use std::io;
use std::path::Path;

use crate::model::{Fault, FaultClass, Pid, Tid};
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
    /// The number is that of a thread which is not its process's first.
    #[error("{tid} is a thread of process {pid}, not a process")]
    IsThread {
        /// The number.
        tid: Tid,
        /// Its process.
        pid: Pid,
    },
    /// `/proc` does not show it.
    #[error("read /proc/{pid}")]
    Unreadable {
        /// The process.
        pid: Pid,
        /// Why.
        source: io::Error,
    },
}

impl FindError {
    /// The error with its class and remedies, to be shown to the user.
    pub fn fault(&self) -> Fault {
        let class = match self {
            FindError::Unreadable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                FaultClass::Permission
            }
            _ => FaultClass::NoSuchTarget,
        };
        let remedy = match self {
            FindError::NoSuchThread(_) => "try: ps -eL   for the threads there are".to_owned(),
            FindError::Zombie(pid) => format!("try: ps -o ppid= -p {pid}   for that parent"),
            FindError::IsThread { tid, pid } => {
                format!("try: perfd attach -t {tid}   or all of it: {pid}")
            }
            FindError::NoSuchProcess(_) | FindError::Unreadable { .. } => {
                "try: ps -e   for the processes there are".to_owned()
            }
        };
        let text = match self {
            FindError::Unreadable { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        };
        Fault::new(class, text).hint(remedy)
    }
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
                let pid = process_of_living(proc_root, tid)?;
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
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FindError::NoSuchProcess(pid),
        // What `/proc` says of a number between its opening and its reading.
        _ if error.raw_os_error() == Some(libc::ESRCH) => FindError::NoSuchProcess(pid),
        _ => FindError::Unreadable { pid, source: error },
    };
    let tid = pid.main_thread();
    match tasks::process_of(proc_root, tid).map_err(explain)? {
        process if process != pid => Err(FindError::IsThread { tid, pid: process }),
        _ => match tasks::stat(proc_root, pid).map_err(explain)?.state {
            // So stands a main thread that has ended before the others, too.
            'Z' if tasks::threads(proc_root, pid).map_err(explain)?.len() < 2 => {
                Err(FindError::Zombie(pid))
            }
            _ => Ok(()),
        },
    }
}

/// The process of a thread, which may be a main thread that has ended before the others.
fn process_of_living(proc_root: &Path, tid: Tid) -> Result<Pid, FindError> {
    let gone = |_| FindError::NoSuchThread(tid);
    let pid = tasks::process_of(proc_root, tid).map_err(gone)?;
    if tid == pid.main_thread() {
        check(proc_root, pid)?;
    }
    match tasks::stat(proc_root, Pid(tid.0)).map_err(gone)?.state {
        'Z' => Err(FindError::NoSuchThread(tid)),
        _ => Ok(pid),
    }
}
