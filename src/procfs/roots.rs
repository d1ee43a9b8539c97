//! Where the kernel's text trees are mounted.

use std::path::PathBuf;

/// The mount points that perfd reads; elsewhere in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysRoots {
    /// procfs.
    pub proc: PathBuf,
    /// sysfs.
    pub sys: PathBuf,
    /// tracefs: its own mount point, then where debugfs shows it; the first that has events is taken.
    pub tracefs: Vec<PathBuf>,
}

impl Default for SysRoots {
    fn default() -> SysRoots {
        SysRoots {
            proc: PathBuf::from("/proc"),
            sys: PathBuf::from("/sys"),
            tracefs: vec![
                PathBuf::from("/sys/kernel/tracing"),
                PathBuf::from("/sys/kernel/debug/tracing"),
            ],
        }
    }
}
