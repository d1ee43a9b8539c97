//! From frames to names, over all modules of a run, within a memory budget.

use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::SourceName;
use super::kernel::Kernel;
use super::module_names::ModuleNames;
use crate::debug_files::{self, DebugFiles};
use crate::model::{Frame, FrameName, Module, ModuleId, ModuleKind, NameKind, Unnamed};

/// What frames of memory without a file are called: their addresses differ from run to run, and tell where things are.
const ANONYMOUS: &str = "[anon]";

/// Whether functions that the compiler inlined are frames of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Bytes that debug information and symbols may take. A module whose DWARF sections take more than half of it is
    /// named from its symbols, without inlined functions.
    pub memory_budget: usize,
    /// `/proc`.
    pub proc_root: PathBuf,
    /// Where debug files are looked for.
    pub debug_files: debug_files::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            inline: Inline::Show,
            memory_budget: 256 << 20,
            proc_root: PathBuf::from("/proc"),
            debug_files: debug_files::Config::default(),
        }
    }
}

/// Names frames of one run, whose module ids it goes by.
///
/// It does not remember names: each distinct frame should be asked once. It does remember files, opened or failed.
pub struct Resolver {
    config: Config,
    kernel: Kernel,
    debug_files: DebugFiles,
    modules: FxHashMap<ModuleId, Slot>,
    /// Number of lookups so far, the clock of [`Slot::used_at`].
    now: u64,
}

struct Slot {
    used_at: u64,
    state: Result<ModuleNames, Unnamed>,
}

impl Resolver {
    /// A resolver that has opened nothing yet.
    pub fn new(config: Config) -> Resolver {
        Resolver {
            debug_files: DebugFiles::new(&config.proc_root, config.debug_files.clone()),
            config,
            kernel: Kernel::default(),
            modules: FxHashMap::default(),
            now: 0,
        }
    }

    /// Names of one frame, outermost function first, its inlined callees after it. Never empty.
    ///
    /// `module` is the one of `frame`, and the same at every call with that id.
    pub fn name(&mut self, module: &Module, frame: Frame) -> Vec<FrameName> {
        match module.kind {
            ModuleKind::Kernel => vec![self.kernel.name(&self.config.proc_root, frame.lookup())],
            ModuleKind::Anonymous { .. } => vec![unnamed(module, frame, Unnamed::Anonymous)],
            ModuleKind::File { .. } | ModuleKind::Vdso => self.name_in_file(module, frame),
        }
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

    fn name_in_file(&mut self, module: &Module, frame: Frame) -> Vec<FrameName> {
        self.now += 1;
        let slot = self.modules.entry(frame.module).or_insert_with(|| Slot {
            used_at: 0,
            state: ModuleNames::open(&self.config.proc_root, &self.debug_files, module),
        });
        slot.used_at = self.now;
        let found = match &mut slot.state {
            Ok(names) => {
                let before = names.memory();
                let found = names.names(&self.config, frame.lookup());
                if found
                    .as_ref()
                    .is_err_and(|why| *why == Unnamed::FileCorrupt)
                {
                    slot.state = Err(Unnamed::FileCorrupt);
                } else if names.memory() > before {
                    self.keep_within_budget(frame.module);
                }
                found
            }
            Err(why) => Err(*why),
        };
        match found {
            Ok(names) => names
                .into_iter()
                .filter(|name| name.text.is_some() || name.kind != NameKind::Inlined)
                .map(|name| named(module, frame, name))
                .collect(),
            Err(why) => vec![unnamed(module, frame, why)],
        }
    }

    /// Unloads the modules that were used longest ago. The present one stays, even if it is too large alone: it would
    /// be loaded again for the next frame.
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
                return;
            };
            excess = excess.saturating_sub(names.memory());
            names.unload();
        }
    }
}

fn named(module: &Module, frame: Frame, name: SourceName) -> FrameName {
    match name.text {
        Some(text) => FrameName {
            text: Arc::from(text),
            kind: name.kind,
            unnamed: None,
        },
        None => unnamed(module, frame, Unnamed::NotCovered),
    }
}

/// `module+0xoffset`, with the address as it was on the stack, which is what `perf` prints. An offset into a file that
/// is not there any more says nothing to anybody.
fn unnamed(module: &Module, frame: Frame, why: Unnamed) -> FrameName {
    let text = match (&module.kind, why) {
        (ModuleKind::Anonymous { .. }, _) => ANONYMOUS.to_owned(),
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
