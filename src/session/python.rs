//! Which processes run Python (`--python`), and what became of the frames of their samples.
//!
//! A process is looked at whenever its mappings have changed, before they are told to the kernel: so a process that loads `libpython` late,
//! forks or becomes another program is as well known as one that ran before.
//!
//! Where foreign files are read in a child, samples do not wait for it: until it has answered, a process is told of without an interpreter, and
//! its samples are those of a native program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::python_reader::PythonReader;
use crate::bpf::PythonProcess;
use crate::model::{
    AddressSpace, Frame, Mapping, Module, ModuleId, ModuleKind, Modules, Pid, PythonLedger,
    PythonRead,
};
use crate::object::Elf;
use crate::procfs::module_file;
use crate::python::{Looked, PythonFile, Unreadable};
use crate::target::Processes;

/// A file that could not be looked into so often is left: each sample that comes through the ring would try it again.
const MOST_FAILURES: u32 = 8;

/// Who reads their files.
pub(super) enum Reading {
    /// This thread, at once. `/proc`, except in tests.
    Here(PathBuf),
    /// A child, by and by.
    InChild(PythonReader),
}

/// The interpreters of a run.
pub(super) struct Interpreters {
    reading: Reading,
    files: FxHashMap<ModuleId, Known>,
    /// How often a file could not be looked into.
    n_failed: FxHashMap<ModuleId, u32>,
    pub(super) ledger: PythonLedger,
    /// Names of Python functions by number, as far as they have been drained.
    pub(super) names: Vec<Option<Arc<str>>>,
}

/// What is known of a file.
enum Known {
    /// The child has been asked.
    Asked,
    NoInterpreter,
    Interpreter(Box<PythonFile>),
    Unreadable {
        why: Unreadable,
        is_told: bool,
    },
}

impl Known {
    fn of(looked: Looked) -> Known {
        match looked {
            Ok(None) => Known::NoInterpreter,
            Ok(Some(file)) => Known::Interpreter(Box::new(file)),
            Err(why) => Known::Unreadable {
                why,
                is_told: false,
            },
        }
    }
}

impl Interpreters {
    /// None yet.
    pub(super) fn new(reading: Reading) -> Interpreters {
        Interpreters {
            reading,
            files: FxHashMap::default(),
            n_failed: FxHashMap::default(),
            ledger: PythonLedger::default(),
            names: Vec::new(),
        }
    }

    /// The module that stands for all Python functions.
    pub(super) fn module(modules: &mut Modules) -> ModuleId {
        modules.intern(Module {
            kind: ModuleKind::Python,
            path: PathBuf::from("[python]"),
            seen_in: None,
        })
    }

    /// The interpreter of a process, if it has one whose frames can be read, as far as that is known. One that has another is noted.
    pub(super) fn of(
        &mut self,
        pid: Pid,
        space: &AddressSpace,
        modules: &Modules,
    ) -> Option<PythonProcess> {
        space
            .iter()
            .find_map(|mapping| self.in_mapping(pid, mapping, modules))
    }

    fn in_mapping(
        &mut self,
        pid: Pid,
        mapping: &Mapping,
        modules: &Modules,
    ) -> Option<PythonProcess> {
        match self.known(mapping.module, modules)? {
            Known::Asked | Known::NoInterpreter => None,
            Known::Interpreter(file) => file.in_process(mapping),
            Known::Unreadable { why, is_told } => {
                let line = (!*is_told).then(|| why.line(pid));
                *is_told = true;
                self.ledger.unreadable.extend(line);
                None
            }
        }
    }

    /// Counts a sample that came through the ring, if Python runs in its stack.
    pub(super) fn left_to_ring(&mut self, frames: &[Frame], modules: &Modules) {
        let mut runs_python = |frame: &Frame| match self.known(frame.module, modules) {
            Some(Known::Interpreter(file)) => file.runs_at(frame.lookup()),
            _ => false,
        };
        if frames.iter().any(&mut runs_python) {
            self.ledger.count(PythonRead::LeftToRing, 1);
        }
    }

    /// Takes in what children have found. The programs are told again of processes that have such a file mapped.
    pub(super) fn collect(&mut self, processes: &mut Processes) {
        let Interpreters {
            reading: Reading::InChild(reader),
            files,
            n_failed,
            ..
        } = self
        else {
            return;
        };
        while let Some((id, looked)) = reader.answer() {
            // What is still not known is asked again by who needs it next.
            match found(id, looked, n_failed) {
                None => drop(files.remove(&id)),
                Some(known) => {
                    if !matches!(known, Known::NoInterpreter) {
                        processes.tell_again_who_maps(id);
                    }
                    files.insert(id, known);
                }
            }
        }
    }

    /// What a module is, as far as that is known; `None` if its file cannot be opened, this time.
    fn known(&mut self, id: ModuleId, modules: &Modules) -> Option<&mut Known> {
        if !self.files.contains_key(&id) {
            let module = modules.get(id);
            let known = match &mut self.reading {
                _ if !may_be_interpreter(module) => Known::NoInterpreter,
                Reading::Here(proc_root) => {
                    let looked = look_into(proc_root, module);
                    found(id, looked, &mut self.n_failed)?
                }
                Reading::InChild(reader) => {
                    reader.want(id, module);
                    Known::Asked
                }
            };
            self.files.insert(id, known);
        }
        self.files.get_mut(&id)
    }
}

/// What is known of a file from now on; `None`: it is to be looked into once more.
fn found(
    id: ModuleId,
    looked: Option<Looked>,
    n_failed: &mut FxHashMap<ModuleId, u32>,
) -> Option<Known> {
    if let Some(looked) = looked {
        return Some(Known::of(looked));
    }
    let n_failed = n_failed.entry(id).or_default();
    *n_failed += 1;
    (*n_failed >= MOST_FAILURES).then_some(Known::NoInterpreter)
}

/// `None` if the file cannot be opened.
fn look_into(proc_root: &Path, module: &Module) -> Option<Looked> {
    let bytes = module_file::open(proc_root, module).ok()?;
    let read = || match Elf::parse(bytes) {
        Ok(elf) => PythonFile::read(&elf, &module.short_name()),
        Err(_) => Ok(None),
    };
    Some(catch_unwind(AssertUnwindSafe(read)).unwrap_or(Ok(None)))
}

/// Libraries other than `libpython` are not looked into.
fn may_be_interpreter(module: &Module) -> bool {
    matches!(module.kind, ModuleKind::File { .. }) && may_be_called(&module.short_name())
}

fn may_be_called(name: &str) -> bool {
    name.contains("python") || !(name.ends_with(".so") || name.contains(".so."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_libpython_are_looked_into_and_other_libraries_are_not() {
        for name in ["python3.11", "uwsgi", "libpython3.13.so.1.0"] {
            assert!(may_be_called(name), "{name}");
        }
        for name in ["libc.so.6", "_json.cpython-311.so.gz.so", "libssl.so"] {
            assert_eq!(may_be_called(name), name.contains("python"), "{name}");
        }
    }

    #[test]
    fn what_is_no_file_has_no_interpreter() {
        let mut modules = Modules::new();
        let module = Interpreters::module(&mut modules);
        let mut interpreters = Interpreters::new(Reading::Here("/proc".into()));
        for id in [Modules::KERNEL, module] {
            let known = interpreters.known(id, &modules);
            assert!(matches!(known, Some(Known::NoInterpreter)));
        }
    }

    /// A module by that path, which this process does not read.
    fn program(processes: &mut Processes) -> ModuleId {
        processes.modules.intern(Module {
            kind: ModuleKind::File { dev: 1, inode: 1 },
            path: PathBuf::from("/usr/bin/python3.11"),
            seen_in: None,
        })
    }

    #[test]
    fn a_child_is_asked_once_and_what_it_says_is_known() {
        let mut processes = Processes::new("/proc".into());
        let id = program(&mut processes);
        let (reader, wanted, answers) = PythonReader::of_test();
        let mut interpreters = Interpreters::new(Reading::InChild(reader));
        for _ in 0..3 {
            let known = interpreters.known(id, &processes.modules);
            assert!(matches!(known, Some(Known::Asked)));
            interpreters.collect(&mut processes);
        }
        assert_eq!(
            wanted.try_iter().map(|(id, _)| id).collect::<Vec<_>>(),
            [id]
        );
        let why = Unreadable::Version(Some((3, 10)));
        answers.send((id, Some(Err(why)))).expect("there is room");
        interpreters.collect(&mut processes);
        let mapping = Mapping {
            start: crate::model::Avma(0),
            end: crate::model::Avma(4096),
            file_offset: crate::model::FileOffset(0),
            module: id,
            since: crate::model::MonoNs(0),
        };
        for pid in [7, 8] {
            let found = interpreters.in_mapping(Pid(pid), &mapping, &processes.modules);
            assert_eq!(found, None);
        }
        // Once, of the first process.
        let told: Vec<&String> = interpreters.ledger.unreadable.iter().collect();
        assert_eq!(told, [&why.line(Pid(7))]);
        assert!(wanted.is_empty());
    }

    #[test]
    fn a_child_that_cannot_look_is_asked_again_so_often_and_no_more() {
        let mut processes = Processes::new("/proc".into());
        let id = program(&mut processes);
        let (reader, wanted, answers) = PythonReader::of_test();
        let mut interpreters = Interpreters::new(Reading::InChild(reader));
        for _ in 0..MOST_FAILURES {
            let known = interpreters.known(id, &processes.modules);
            assert!(matches!(known, Some(Known::Asked)));
            assert!(wanted.try_recv().is_ok());
            answers.send((id, None)).expect("there is room");
            interpreters.collect(&mut processes);
        }
        let known = interpreters.known(id, &processes.modules);
        assert!(matches!(known, Some(Known::NoInterpreter)));
        assert!(wanted.is_empty());
    }
}
