//! What a process has of its own when it has just been forked.

use std::sync::Arc;

use crate::model::{AddressSpace, Module, ModuleId, ModuleKind, Modules, Pid};

/// Memory without a file is a copy of the parent's: from now on each may put other code into its own, so that the child's is a module of its own.
pub(super) fn own_anonymous(pid: Pid, modules: &mut Modules, space: &mut Arc<AddressSpace>) {
    let is_anonymous = |modules: &Modules, module: ModuleId| {
        matches!(modules.get(module).kind, ModuleKind::Anonymous { .. })
    };
    // Most have none, and share what is mapped with their parent until one of them changes it.
    if !space
        .iter()
        .any(|mapping| is_anonymous(modules, mapping.module))
    {
        return;
    }
    Arc::make_mut(space).replace_modules(|module| {
        if !is_anonymous(modules, module) {
            return module;
        }
        let own = Module {
            kind: ModuleKind::Anonymous { pid, epoch: 0 },
            ..Module::clone(modules.get(module))
        };
        modules.intern(own)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Avma, FileOffset, Mapping, MonoNs};

    #[test]
    fn a_child_has_its_own_memory_without_a_file_and_shares_files() {
        let mut modules = Modules::new();
        let mut module = |kind, path: &str| {
            modules.intern(Module {
                kind,
                path: path.into(),
                seen_in: None,
            })
        };
        let made = module(
            ModuleKind::Anonymous {
                pid: Pid(1),
                epoch: 0,
            },
            "[anon]",
        );
        let file = module(ModuleKind::File { dev: 1, inode: 2 }, "/bin/x");
        let mut space = AddressSpace::new();
        for (start, module) in [(0x1000, file), (0x2000, made)] {
            space.insert(Mapping {
                start: Avma(start),
                end: Avma(start + 0x1000),
                file_offset: FileOffset(start),
                module,
                since: MonoNs(0),
            });
        }
        let parent = Arc::new(space);
        let mut child = parent.clone();
        own_anonymous(Pid(2), &mut modules, &mut child);
        let at = |space: &AddressSpace, address| space.find(Avma(address)).expect("mapped").module;
        assert_eq!((at(&parent, 0x1000), at(&parent, 0x2000)), (file, made));
        assert_eq!(at(&child, 0x1000), file);
        let expected = ModuleKind::Anonymous {
            pid: Pid(2),
            epoch: 0,
        };
        assert_eq!(modules.get(at(&child, 0x2000)).kind, expected);
    }
}
