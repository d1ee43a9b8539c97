//! Names of kernel frames.

use std::path::Path;
use std::sync::Arc;

use crate::model::{Avma, FileOffset, FrameName, NameKind, Unnamed};
use crate::procfs::kallsyms::Kallsyms;

/// What a kernel frame without a name is called: its address is nobody's business.
const KERNEL: &str = "[kernel]";

/// The running kernel's symbols, read when the first kernel frame is named.
#[derive(Default)]
pub(super) struct Kernel {
    /// `None` before the first frame, then the symbols, or nothing where the kernel hides them.
    symbols: Option<Option<Kallsyms>>,
}

impl Kernel {
    /// The name at `offset`, which for the kernel is the address itself.
    pub(super) fn name(&mut self, proc_root: &Path, offset: FileOffset) -> FrameName {
        let symbols = self
            .symbols
            .get_or_insert_with(|| Kallsyms::read(proc_root).ok());
        let (text, unnamed) = match symbols {
            None => (KERNEL, Some(Unnamed::KernelHidden)),
            Some(symbols) => match symbols.lookup(Avma(offset.0)) {
                None => (KERNEL, Some(Unnamed::NotCovered)),
                Some(name) => (name, None),
            },
        };
        FrameName {
            text: Arc::from(text),
            kind: NameKind::Kernel,
            unnamed,
        }
    }
}
