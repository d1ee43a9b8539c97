//! What a run asks of who knows the code made at run time, wherever its files are read.

use std::sync::Arc;

use super::{Jit, JitFacts};
use crate::model::{Module, MonoNs, Pid, Span, Unnamed};

/// The code that the processes of a run make while they run. Asked by several threads.
pub trait Codes: Send + Sync {
    /// Looks after a process from now on; `code` is memory without a file that it runs, where that is known.
    fn watch(&self, pid: Pid, code: Option<(u64, u64)>);

    /// The process has mapped `module`, which is named as a jitdump is.
    fn add_dump(&self, pid: Pid, module: &Module);

    /// The process became another program at `at`, or its number another process's.
    fn began_anew(&self, pid: Pid, at: MonoNs);

    /// Forgets these processes, which had ended by `by`: nothing of theirs is named any more. One that got its number later stays.
    fn forget(&self, pids: &[Pid], by: MonoNs);

    /// Reads what is new of these processes, and returns those in which code has taken the place of other code since that was last
    /// asked, and when the last such change was over.
    fn read(&self, pids: &[Pid]) -> Vec<(Pid, MonoNs)>;

    /// Reads what is new of all processes.
    fn read_all(&self);

    /// What all processes say of themselves, by number.
    fn facts(&self) -> Vec<JitFacts>;

    /// The function at each address while samples of its span were taken, or why it has no name; as many as are asked for.
    fn names(&self, asked: &[(Pid, u64, Span)]) -> Vec<Result<Arc<str>, Unnamed>>;
}

impl Codes for Jit {
    fn watch(&self, pid: Pid, code: Option<(u64, u64)>) {
        Jit::watch(self, pid, code);
    }

    fn add_dump(&self, pid: Pid, module: &Module) {
        Jit::add_dump(self, pid, module);
    }

    fn began_anew(&self, pid: Pid, at: MonoNs) {
        Jit::began_anew(self, pid, at);
    }

    fn forget(&self, pids: &[Pid], by: MonoNs) {
        Jit::forget(self, pids, by);
    }

    fn read(&self, pids: &[Pid]) -> Vec<(Pid, MonoNs)> {
        Jit::read(self, pids)
    }

    fn read_all(&self) {
        Jit::read_all(self);
    }

    fn facts(&self) -> Vec<JitFacts> {
        Jit::facts(self)
    }

    fn names(&self, asked: &[(Pid, u64, Span)]) -> Vec<Result<Arc<str>, Unnamed>> {
        let name = |(pid, address, span): &(Pid, u64, Span)| self.name(*pid, *address, *span);
        asked.iter().map(name).collect()
    }
}
