//! Which processes run Python (`--python`), and what became of the frames of their samples.
//!
//! A process is looked at whenever its mappings have changed, before they are told to the kernel: so a process that loads `libpython` late,
//! forks or becomes another program is as well known as one that ran before.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::bpf::PythonProcess;
use crate::model::{
    AddressSpace, Frame, Mapping, Module, ModuleId, ModuleKind, Modules, Pid, PythonLedger,
    PythonRead,
};
use crate::object::Elf;
use crate::procfs::module_file;
use crate::python::{PythonFile, Unreadable};

/// A file that could not be opened so often is left: each sample that comes through the ring would try it again.
const MOST_FAILURES: u32 = 8;

/// The interpreters of a run.
pub(super) struct Interpreters {
    proc_root: PathBuf,
    files: FxHashMap<ModuleId, Known>,
    /// How often a file could not be opened.
    n_failed: FxHashMap<ModuleId, u32>,
    pub(super) ledger: PythonLedger,
    /// Names of Python functions by number, as far as they have been drained.
    pub(super) names: Vec<Option<Arc<str>>>,
}

/// What is known of a file.
enum Known {
    NoInterpreter,
    Interpreter(Box<(Elf, PythonFile)>),
    Unreadable(Unreadable),
}

impl Interpreters {
    /// None yet.
    pub(super) fn new(proc_root: PathBuf) -> Interpreters {
        Interpreters {
            proc_root,
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

    /// The interpreter of a process, if it has one whose frames can be read. One that has another is noted.
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
        let is_first = !self.files.contains_key(&mapping.module);
        match self.known(mapping.module, modules)? {
            Known::NoInterpreter => None,
            Known::Interpreter(interpreter) => {
                let (elf, file) = interpreter.as_ref();
                file.in_process(elf, mapping)
            }
            Known::Unreadable(why) => {
                let line = is_first.then(|| why.line(pid));
                self.ledger.unreadable.extend(line);
                None
            }
        }
    }

    /// Counts a sample that came through the ring, if Python runs in its stack.
    pub(super) fn left_to_ring(&mut self, frames: &[Frame], modules: &Modules) {
        let mut runs_python = |frame: &Frame| match self.known(frame.module, modules) {
            Some(Known::Interpreter(interpreter)) => interpreter.1.runs_at(frame.lookup()),
            _ => false,
        };
        if frames.iter().any(&mut runs_python) {
            self.ledger.count(PythonRead::LeftToRing, 1);
        }
    }

    /// What a module is; `None` if its file cannot be opened, this time.
    fn known(&mut self, id: ModuleId, modules: &Modules) -> Option<&Known> {
        if !self.files.contains_key(&id) {
            let known = look_into(&self.proc_root, modules.get(id)).or_else(|| {
                let n_failed = self.n_failed.entry(id).or_default();
                *n_failed += 1;
                (*n_failed >= MOST_FAILURES).then_some(Known::NoInterpreter)
            })?;
            self.files.insert(id, known);
        }
        self.files.get(&id)
    }
}

fn look_into(proc_root: &Path, module: &Module) -> Option<Known> {
    let name = module.short_name();
    if !matches!(module.kind, ModuleKind::File { .. }) || !may_be_interpreter(&name) {
        return Some(Known::NoInterpreter);
    }
    let bytes = module_file::open(proc_root, module).ok()?;
    let read = || -> Option<Known> {
        let elf = Elf::parse(bytes).ok()?;
        Some(match PythonFile::read(&elf, &name) {
            Ok(None) => Known::NoInterpreter,
            Ok(Some(file)) => Known::Interpreter(Box::new((elf, file))),
            Err(why) => Known::Unreadable(why),
        })
    };
    let read = catch_unwind(AssertUnwindSafe(read)).ok().flatten();
    Some(read.unwrap_or(Known::NoInterpreter))
}

/// Libraries other than `libpython` are not looked into.
fn may_be_interpreter(name: &str) -> bool {
    name.contains("python") || !(name.ends_with(".so") || name.contains(".so."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_libpython_are_looked_into_and_other_libraries_are_not() {
        for name in ["python3.11", "uwsgi", "libpython3.13.so.1.0"] {
            assert!(may_be_interpreter(name), "{name}");
        }
        for name in ["libc.so.6", "_json.cpython-311.so.gz.so", "libssl.so"] {
            assert_eq!(may_be_interpreter(name), name.contains("python"), "{name}");
        }
    }

    #[test]
    fn what_is_no_file_has_no_interpreter() {
        let mut modules = Modules::new();
        let module = Interpreters::module(&mut modules);
        let mut interpreters = Interpreters::new("/proc".into());
        for id in [Modules::KERNEL, module] {
            let known = interpreters.known(id, &modules);
            assert!(matches!(known, Some(Known::NoInterpreter)));
        }
    }
}
