//! Code made at run time: what runtimes write of it, in files that perfd opens.

use std::fs::File;
use std::sync::Arc;

use super::super::message::{Answer, Ask, MAX_NOTES, Reply, Request, SaidFacts, Temporary};
use super::asker::Asker;
use crate::model::{JitFileNote, MonoNs, Pid, Span};
use crate::procfs::jit_file::{self, Refused};
use crate::symbolize::jit::{Jit, JitFacts, Root, Roots};

/// Answers requests that are about it.
pub(super) struct Code {
    jit: Jit,
}

impl Code {
    /// Half of the memory of a child is for what it has read.
    pub(super) fn new(asker: &Arc<Asker>, memory: u64) -> Code {
        let roots = AskedRoots {
            asker: Arc::clone(asker),
        };
        let budget = usize::try_from(memory / 2).unwrap_or(usize::MAX);
        Code {
            jit: Jit::within(Box::new(roots), budget),
        }
    }

    /// `None` for a request that is not about code, or may not be.
    pub(super) fn answer(&self, request: Request, file: Option<File>) -> Option<Answer> {
        match request {
            Request::Watch { pid, code } => self.jit.watch(Pid(pid), code),
            Request::AddDump { pid, refused } => {
                let dump = match (refused, file) {
                    (Some(why), _) => Err(why),
                    (None, file) => Ok(file?),
                };
                self.jit.add_opened_dump(Pid(pid), dump);
            }
            Request::BeganAnew { pid, at } => self.jit.began_anew(Pid(pid), MonoNs(at)),
            // Who it is was perfd's to find out.
            Request::ForgetCode { pid } => self.jit.forget(&[Pid(pid)], MonoNs(u64::MAX)),
            Request::ReadCode { pid, asks } => {
                let changed = match asks {
                    true => self.jit.read(&[Pid(pid)]),
                    false => {
                        self.jit.read_files(&[Pid(pid)]);
                        Vec::new()
                    }
                };
                return Some(Answer::CodeRead(changed.first().map(|(_, at)| at.0)));
            }
            Request::CodeFacts => {
                let facts = self.jit.facts().into_iter().map(said_facts).collect();
                return Some(Answer::CodeFacts(facts));
            }
            Request::NameCode(asked) => {
                let name = |(pid, address, first, last): (u32, u64, u64, u64)| {
                    let span = Span {
                        first: MonoNs(first),
                        last: MonoNs(last),
                    };
                    let name = self.jit.name(Pid(pid), address, span)?;
                    Ok(name.as_ref().to_owned())
                };
                return Some(Answer::CodeNamed(asked.into_iter().map(name).collect()));
            }
            _ => return None,
        }
        Some(Answer::Done)
    }
}

fn said_facts(facts: JitFacts) -> SaidFacts {
    let place = |note: &JitFileNote| {
        let at = JitFileNote::FILES
            .iter()
            .position(|file| *file == note.file);
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
    };
    let notes = facts.notes.iter();
    SaidFacts {
        pid: facts.pid.0,
        figures: facts.figures,
        rates: facts.rates,
        notes: notes
            .take(MAX_NOTES)
            .map(|note| (place(note), note.reason.clone()))
            .collect(),
    }
}

/// Roots in which perfd opens files for the child.
#[derive(Debug)]
struct AskedRoots {
    asker: Arc<Asker>,
}

impl Roots for AskedRoots {
    fn open(&self, pid: Pid) -> Option<Box<dyn Root>> {
        match self.asker.ask(Ask::Root(pid.0)) {
            Ok((Reply::Root { root, own_pid }, _)) => Some(Box::new(AskedRoot {
                asker: Arc::clone(&self.asker),
                root,
                own_pid,
            })),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct AskedRoot {
    asker: Arc<Asker>,
    root: u32,
    own_pid: u32,
}

impl Root for AskedRoot {
    fn own_pid(&self) -> u32 {
        self.own_pid
    }

    fn is_alive(&self) -> bool {
        matches!(self.asker.ask(Ask::IsAlive(self.root)), Ok((Reply::Yes, _)))
    }

    fn open_temporary(
        &mut self,
        name: &str,
        max_size: u64,
    ) -> Result<Option<jit_file::Temporary>, Refused> {
        let kinds = [Temporary::PerfMap, Temporary::Report];
        let mut kinds = kinds.into_iter();
        let kind = kinds.find(|kind| kind.name(self.own_pid) == name);
        let asked = self.asker.ask(Ask::Temporary {
            root: self.root,
            kind: kind.ok_or(Refused::Unreadable)?,
            max_size,
        });
        match asked {
            Ok((Reply::Temporary { is_stale }, mut files)) => {
                let file = File::from(files.pop().ok_or(Refused::Unreadable)?);
                Ok(Some(jit_file::Temporary { file, is_stale }))
            }
            Ok((Reply::No, _)) => Ok(None),
            Ok((Reply::Refused(refused), _)) => Err(refused),
            _ => Err(Refused::Unreadable),
        }
    }

    /// perfd has checked what it handed over.
    fn check(&self, _file: &File) -> Result<(), Refused> {
        Ok(())
    }
}

impl Drop for AskedRoot {
    fn drop(&mut self) {
        let _ = self.asker.ask(Ask::LetGo(self.root));
    }
}
