//! Debug files, which perfd opens.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::message::{Ask, Bytes, Reply, WhyNot};
use super::asker::Asker;
use crate::debug_files::{Found, NotFound, Tree, Trees};
use crate::model::Pid;

/// Trees in which perfd opens files for the child.
pub(super) struct AskedTrees {
    asker: Arc<Asker>,
}

impl AskedTrees {
    pub(super) fn new(asker: Arc<Asker>) -> AskedTrees {
        AskedTrees { asker }
    }
}

impl Trees for AskedTrees {
    fn of_process(&self, pid: Pid) -> Option<Box<dyn Tree + '_>> {
        let reply = self.asker.ask(Ask::HasOwnTree(pid.0));
        let tree = AskedTree {
            asker: &self.asker,
            pid: Some(pid),
        };
        matches!(reply, Ok((Reply::Yes, _))).then(|| Box::new(tree) as Box<dyn Tree>)
    }

    fn host(&self) -> Option<Box<dyn Tree + '_>> {
        Some(Box::new(AskedTree {
            asker: &self.asker,
            pid: None,
        }))
    }
}

struct AskedTree<'a> {
    asker: &'a Asker,
    pid: Option<Pid>,
}

impl Tree for AskedTree<'_> {
    fn open(&self, path: &Path) -> Result<Found, NotFound> {
        let asked = self.asker.ask(Ask::Open {
            pid: self.pid.map(|pid| pid.0),
            path: Bytes::of_path(path),
        });
        let errno = |number| NotFound::Unreadable(io::Error::from_raw_os_error(number));
        match asked {
            Ok((Reply::Opened { real_path }, mut files)) => Ok(Found {
                file: File::from(files.pop().ok_or_else(|| errno(libc::EMFILE))?),
                real_path: real_path.map(Bytes::into_path),
            }),
            Ok((Reply::NotOpened(WhyNot::Errno(number)), _)) => Err(errno(number)),
            Ok((Reply::NotOpened(WhyNot::NotRegular), _)) => Err(NotFound::NotRegular),
            Ok((Reply::NotOpened(WhyNot::NotElf), _)) => Err(NotFound::NotElf),
            // The connection is broken, which the next request will find.
            Ok(_) | Err(_) => Err(errno(libc::EIO)),
        }
    }
}
