//! Samples in code made at run time: held back until it is known whether that code was replaced.

use std::time::Duration;

use super::Pipeline;
use crate::model::{Frame, ModuleId, ModuleKind, MonoNs, Pid};
use crate::session::held::{Held, Walk};
use crate::session::jit_reader::Replaced;
use crate::sys::record::SideBand;

impl Pipeline {
    /// Counts the samples in code made at run time of which is known by now whether it was replaced. Those of which it was are kept apart from
    /// what was sampled before and what comes behind.
    pub(in crate::session) fn collect_held(&mut self) {
        if let Some(replaced) = self.held.answer(Duration::ZERO) {
            self.count_asked(&replaced);
        }
    }

    /// Waits for what can still be known of them, and counts them all.
    pub(in crate::session) fn count_held_at_end(&mut self, now: MonoNs) {
        while !self.held.is_empty() {
            self.held.ask(now, true);
            let replaced = self.held.last_answer();
            self.count_asked(&replaced);
        }
    }

    /// Counts them all with what is known: the window cannot wait any more.
    pub(in crate::session) fn count_held_at_once(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.take_all(|walk, frames, held| self.settle_held(walk, frames, held));
        self.held = held;
    }

    fn count_asked(&mut self, replaced: &Replaced) {
        let mut held = std::mem::take(&mut self.held);
        held.tell_apart(replaced, &mut self.processes.modules);
        held.take_asked(|walk, frames, held| self.settle_held(walk, frames, held));
        self.held = held;
    }

    /// While the samples are out of it, `held` stands beside the pipeline.
    fn settle_held(&mut self, walk: &Walk, frames: &[Frame], held: &mut Held) {
        self.frames.clear();
        self.frames.extend_from_slice(frames);
        held.place(&mut self.frames, walk.span);
        self.settle(walk);
    }

    /// Notes what becomes of code made at run time.
    pub(super) fn follow_code(
        &mut self,
        time: MonoNs,
        record: &SideBand<'_>,
        mapped: Option<ModuleId>,
    ) {
        match record {
            SideBand::Mmap {
                pid, start, length, ..
            } => {
                let Some(module) = mapped.map(|module| self.processes.modules.get(module)) else {
                    return;
                };
                match module.kind {
                    ModuleKind::Anonymous { .. } => {
                        let end = start.0.saturating_add(*length);
                        self.held.has_code(*pid, (start.0, end));
                    }
                    _ => self.held.mapped(*pid, module),
                }
            }
            SideBand::Comm {
                pid, by_exec: true, ..
            } => self.held.began(*pid, time),
            SideBand::Fork {
                pid, parent_pid, ..
            } if pid != parent_pid => self.held.began(*pid, time),
            _ => (),
        }
    }

    /// The processes with code of their own that have left, once for each, if all that was sampled of them is counted.
    pub(in crate::session) fn take_left(&mut self) -> Vec<Pid> {
        if !self.is_settled() {
            return Vec::new();
        }
        let processes = &self.processes;
        self.held.take_left(|pid| processes.space(pid).is_some())
    }

    /// Notes what a process that runs already has mapped.
    pub(in crate::session) fn found_mapped(&mut self, pid: Pid) {
        let Some(space) = self.processes.space(pid).cloned() else {
            return;
        };
        for mapping in space.iter() {
            let module = self.processes.modules.get(mapping.module);
            match module.kind {
                ModuleKind::Anonymous { .. } => {
                    self.held.has_code(pid, (mapping.start.0, mapping.end.0));
                }
                _ => self.held.mapped(pid, module),
            }
        }
    }
}
