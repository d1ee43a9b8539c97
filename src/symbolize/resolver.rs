//! From frames to names, over all modules of a run, within a memory budget.

use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::functions::{Function, Functions, Wanted};
use super::jit::JitNames;
use super::kernel::Kernel;
use super::module_names::ModuleNames;
use super::shown::Shown;
use super::{CacheFolder, Job};
use crate::debug_files::{self, DebugFiles, Origin};
use crate::model::{Frame, FrameName, Module, ModuleId, ModuleKind, NameKind, Unnamed};
use crate::object::{Elf, LinkedAddress, ReadAt};
use crate::procfs::kallsyms;

/// Whether functions that the compiler inlined are frames of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inline {
    /// They are.
    Show,
    /// Only the function they were inlined into is.
    Hide,
}

/// How to name.
#[derive(Clone, Debug)]
pub struct Config {
    /// Inlined functions.
    pub inline: Inline,
    /// What is shown of names.
    pub shown: Shown,
    /// What of functions is looked up beside what is shown.
    pub wanted: Wanted,
    /// Bytes that what is known of modules may take. A module whose compressed DWARF would take more than half of it is named from
    /// its symbols, without inlined functions.
    pub memory_budget: usize,
    /// Of these, bytes of each module's names that are kept ready.
    pub ready_texts: usize,
    /// Where what is learnt of files is kept from run to run.
    pub cache: Option<CacheFolder>,
    /// `/proc`.
    pub proc_root: PathBuf,
    /// Where the kernel's symbols are read.
    pub kallsyms: kallsyms::Source,
    /// Where debug files are looked for.
    pub debug_files: debug_files::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            inline: Inline::Show,
            shown: Shown::default(),
            wanted: Wanted::default(),
            memory_budget: 256 << 20,
            ready_texts: 4 << 20,
            cache: None,
            proc_root: PathBuf::from("/proc"),
            kallsyms: kallsyms::Source::default(),
            debug_files: debug_files::Config::default(),
        }
    }
}

impl Config {
    /// What of functions is looked up.
    pub(super) fn wanted(&self) -> Wanted {
        let shown = self.shown.wanted();
        Wanted {
            linkage: self.wanted.linkage || shown.linkage,
            places: self.wanted.places || shown.places,
        }
    }

    /// The search for debug files, which all modules of a run share.
    pub fn debug_files(&self) -> DebugFiles {
        DebugFiles::new(&self.proc_root, self.debug_files.clone())
    }
}

/// Names frames of one run, whose module ids it goes by.
///
/// It does not remember names: each distinct frame should be asked once. It does remember files, opened or failed.
pub struct Resolver {
    config: Config,
    kernel: Kernel,
    jit: JitNames,
    debug_files: Arc<DebugFiles>,
    modules: FxHashMap<ModuleId, Slot>,
    /// Number of lookups so far, the clock of [`Slot::used_at`].
    now: u64,
    functions: Functions,
}

struct Slot {
    used_at: u64,
    state: Result<ModuleNames, Unnamed>,
}

impl Resolver {
    /// A resolver that has opened nothing yet.
    pub fn new(config: Config) -> Resolver {
        let debug_files = config.debug_files();
        Resolver::with_debug_files(config, debug_files)
    }

    /// The same, with another search for debug files.
    pub fn with_debug_files(config: Config, debug_files: DebugFiles) -> Resolver {
        Resolver {
            debug_files: Arc::new(debug_files),
            config,
            kernel: Kernel::default(),
            jit: JitNames::default(),
            modules: FxHashMap::default(),
            now: 0,
            functions: Functions::default(),
        }
    }

    /// The same, with names of code made at run time.
    #[must_use]
    pub fn with_jit(self, jit: JitNames) -> Resolver {
        Resolver { jit, ..self }
    }

    /// The names of code made at run time.
    pub fn jit(&mut self) -> &mut JitNames {
        &mut self.jit
    }

    /// Names of one frame, outermost function first, its inlined callees after it. Never empty.
    ///
    /// `module` is the one of `frame`, and the same at every call with that id.
    pub fn name(&mut self, module: &Module, frame: Frame) -> Vec<FrameName> {
        match module.kind {
            ModuleKind::Kernel => vec![self.kernel.name(&self.config.kallsyms, frame.lookup())],
            ModuleKind::Anonymous { .. } => vec![self.jit.name(module, frame)],
            ModuleKind::Python => vec![unnamed(module, frame, Unnamed::TooManyPythonNames)],
            ModuleKind::File { .. } | ModuleKind::Vdso => self.name_in_file(module, frame),
        }
    }

    /// Takes `elf` for the file of the modules with that id, whatever their path says.
    pub fn give_file(&mut self, id: ModuleId, elf: Elf) {
        let state = Ok(ModuleNames::of(elf));
        self.modules.insert(id, Slot { used_at: 0, state });
    }

    /// Takes these bytes for the file of a module, whose debug files are looked for from where the module was mapped.
    ///
    /// It is damaged if they are no ELF file.
    pub fn give_module(&mut self, id: ModuleId, module: &Module, bytes: Box<dyn ReadAt>) {
        let state = match Elf::parse(bytes) {
            Ok(elf) => Ok(ModuleNames::of_file(
                elf,
                Origin::of(module),
                &self.debug_files,
            )),
            Err(_) => Err(Unnamed::FileCorrupt),
        };
        self.modules.insert(id, Slot { used_at: 0, state });
    }

    /// What the user should know of the search for debug files.
    pub fn notes(&self) -> Vec<String> {
        self.debug_files.notes()
    }

    /// Bytes of memory held for modules, estimated.
    pub fn memory(&self) -> usize {
        self.modules
            .values()
            .filter_map(|slot| slot.state.as_ref().ok())
            .map(ModuleNames::memory)
            .sum()
    }

    /// Work that can be done by `n_jobs` threads at a time, before these frames, new ones all of them, are named.
    pub fn jobs<'a>(
        &mut self,
        frames: impl Iterator<Item = (Frame, &'a Module)>,
        n_jobs: usize,
    ) -> Vec<Job<'_>> {
        let mut addresses: FxHashMap<ModuleId, Vec<LinkedAddress>> = FxHashMap::default();
        for (frame, module) in frames {
            if !matches!(module.kind, ModuleKind::File { .. }) {
                continue;
            }
            let slot = self.modules.entry(frame.module).or_insert_with(|| Slot {
                used_at: 0,
                state: ModuleNames::open(&self.config, &self.debug_files, module),
            });
            if let Ok(names) = &slot.state {
                let address = names.linked_address(frame.lookup());
                addresses.entry(frame.module).or_default().extend(address);
            }
        }
        let config = &self.config;
        self.modules
            .iter_mut()
            .filter_map(|(id, slot)| Some((addresses.get(id)?, slot.state.as_mut().ok()?)))
            .flat_map(|(addresses, names)| names.jobs(config, addresses, n_jobs))
            .collect()
    }

    /// Leaves for later runs what was learnt.
    pub fn finish(mut self) {
        for slot in self.modules.values_mut() {
            if let Ok(names) = &mut slot.state {
                names.unload();
            }
        }
    }

    fn name_in_file(&mut self, module: &Module, frame: Frame) -> Vec<FrameName> {
        self.now += 1;
        let slot = self.modules.entry(frame.module).or_insert_with(|| Slot {
            used_at: 0,
            state: ModuleNames::open(&self.config, &self.debug_files, module),
        });
        slot.used_at = self.now;
        let names = match &mut slot.state {
            Ok(names) => names,
            Err(why) => return vec![unnamed(module, frame, *why)],
        };
        let before = names.memory();
        let found = match names.linked_address(frame.lookup()) {
            Some(address) => names.functions(&self.config, address, &mut self.functions),
            None => Err(Unnamed::NotCovered),
        };
        if found == Err(Unnamed::FileCorrupt) {
            slot.state = Err(Unnamed::FileCorrupt);
        } else if names.memory() > before {
            self.keep_within_budget(frame.module);
        }
        if let Err(why) = found {
            return vec![unnamed(module, frame, why)];
        }
        let outermost_first = self.functions.iter().rev().enumerate();
        outermost_first
            .filter(|(idx, function)| {
                *idx == 0 || (self.config.inline == Inline::Show && function.name.is_some())
            })
            .map(|(idx, function)| {
                let kind = match idx {
                    0 => NameKind::User,
                    _ => NameKind::Inlined,
                };
                named(self.config.shown, module, frame, function, kind)
            })
            .collect()
    }

    /// Unloads the modules that were used longest ago. The present one stays, even if it is too large alone: it would
    /// be loaded again for the next frame. Only one that has grown to twice of what all may take begins anew.
    fn keep_within_budget(&mut self, present: ModuleId) {
        let mut excess = self.memory().saturating_sub(self.config.memory_budget);
        while excess > 0 {
            let oldest = self
                .modules
                .iter_mut()
                .filter_map(|(id, slot)| Some((id, slot.used_at, slot.state.as_mut().ok()?)))
                .filter(|(id, _, names)| **id != present && names.memory() > 0)
                .min_by_key(|(_, used_at, _)| *used_at);
            let Some((_, _, names)) = oldest else {
                break;
            };
            excess = excess.saturating_sub(names.memory());
            names.unload();
        }
        if let Some(Slot {
            state: Ok(names), ..
        }) = self.modules.get_mut(&present)
            && names.memory() / 2 > self.config.memory_budget
        {
            names.unload();
        }
    }
}

fn named(
    shown: Shown,
    module: &Module,
    frame: Frame,
    function: Function<'_>,
    kind: NameKind,
) -> FrameName {
    match shown.text(&function) {
        Some(text) => FrameName {
            text: Arc::from(text),
            kind,
            unnamed: None,
        },
        None => unnamed(module, frame, Unnamed::NotCovered),
    }
}

/// `module+0xoffset`, with the address as it was on the stack, which is what `perf` prints. An offset into a file that
/// is not there any more says nothing to anybody.
pub fn unnamed(module: &Module, frame: Frame, why: Unnamed) -> FrameName {
    let text = match (&module.kind, why) {
        (ModuleKind::Python, _) => module.short_name(),
        (_, Unnamed::FileChanged) => format!("[stale:{}]", module.short_name()),
        _ => format!("{}+{}", module.short_name(), frame.offset),
    };
    FrameName {
        text: Arc::from(text),
        kind: NameKind::User,
        unnamed: Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_can_move_to_a_thread_of_its_own() {
        fn assert_send<T: Send>() {}
        assert_send::<Resolver>();
    }
}
