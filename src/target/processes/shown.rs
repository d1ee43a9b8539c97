//! What a mapping of a process shows, as the kernel names it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::model::{ModuleKind, Pid};
use crate::procfs::maps;

/// What a mapping shows; `None` for what holds no code.
pub(super) fn kind_and_path(pid: Pid, line: &maps::MapsLine) -> Option<(ModuleKind, PathBuf)> {
    Some(match line.path.as_os_str().as_bytes() {
        b"[vdso]" => (ModuleKind::Vdso, PathBuf::from("[vdso]")),
        // The page of the old vsyscalls is emulated: no user code ever runs there.
        b"[vsyscall]" => return None,
        // Shared memory without a file of its own has an inode all the same: under these names, which perf goes by, too.
        path if line.inode != 0
            && !path.starts_with(b"/dev/zero")
            && !path.starts_with(b"/anon_hugepage") =>
        {
            (
                ModuleKind::File {
                    dev: line.dev,
                    inode: line.inode,
                },
                line.path.clone(),
            )
        }
        _ => (
            ModuleKind::Anonymous { pid, epoch: 0 },
            PathBuf::from("[anon]"),
        ),
    })
}
