//! Walked samples in code made at run time: kept until it is known whether that code was replaced meanwhile, and told apart by when it was.
//!
//! ```text
//! walked ─▶ open batch ─▶ asked batch ─▶ counted: in the present epoch of their process,
//!                 ask: read ▲  │ answer     or if code was replaced, in one of their own
//!                           └──┘
//! ```
//!
//! What the reader answers is true for all samples that were taken before it was asked. Memory without a file is a module for each
//! epoch: a stack of one is another stack than the same addresses in the next, and its names are those of the time in which it was sampled.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::jit_reader::{Ask, JitReader, Replaced};
use super::members::Whose;
use crate::aggregate::TaskKey;
use crate::model::{
    Cpu, Ended, EventIdx, Frame, Module, ModuleId, ModuleKind, Modules, MonoNs, Pid, Span, Tid,
    Weight,
};

/// Frames that may wait, 24 MB of them; samples beyond are counted with what is known.
const MOST_FRAMES: usize = 1 << 20;
/// How often the reader is asked: what was sampled between two answers is told apart.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Epochs of a run. Each is a module, of which the kernel's walk can name 65,536: files have to have room.
const MOST_EPOCHS: usize = 16384;
/// Epochs of one process: a runtime that never comes to rest must not take all.
const MOST_EPOCHS_OF_ONE: u32 = 4096;
/// Questions that may wait while the reader is busy.
const MOST_ASKS: usize = 1 << 16;
/// Processes that have left, and are remembered until their numbers are used again. Their names are gone long before there are so many.
const MOST_LEFT: usize = 1 << 16;
/// How long the end of a run waits for the reader.
const PATIENCE: Duration = Duration::from_secs(5);

/// A walked sample, or several that have all of it in common, without its frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) task: TaskKey<Whose>,
    pub(super) pid: Pid,
    pub(super) tid: Tid,
    pub(super) event: EventIdx,
    pub(super) ended: Ended,
    /// Module of the last user frame; `None` if there is none.
    pub(super) module: Option<ModuleId>,
    pub(super) weight: Weight,
    /// When and where, if it is one sample.
    pub(super) taken: Option<(MonoNs, Cpu)>,
    /// When at the earliest and at the latest.
    pub(super) span: Span,
}

/// Samples that wait.
#[derive(Default)]
struct Batch {
    walks: Vec<(Walk, usize)>,
    frames: Vec<Frame>,
    /// Whose code is in their stacks.
    pids: FxHashSet<Pid>,
    first: Option<MonoNs>,
}

/// The present epoch of a process.
struct Epoch {
    module: ModuleId,
    number: u32,
    /// Whether a sample was counted in it.
    is_used: bool,
}

/// The samples that wait, and the epochs of all processes.
#[derive(Default)]
pub(super) struct Held {
    /// `None`: nothing is read, and nothing waits.
    reader: Option<JitReader>,
    /// By number of the module: whose memory without a file it is.
    owners: Vec<Option<Pid>>,
    watched: FxHashSet<Pid>,
    /// Those that are to be forgotten, or were: another may get the number meanwhile.
    left: FxHashSet<Pid>,
    /// Those of processes that have left stay: who has the number next must not go on in an epoch whose names were another's. They are as many
    /// as modules at the most.
    epochs: FxHashMap<Pid, Epoch>,
    n_epochs: usize,
    /// Processes whose code was replaced, and when that was over, as long as samples from before that may come.
    replaced: FxHashMap<Pid, MonoNs>,
    spans: FxHashMap<ModuleId, Span>,
    /// Modules whose span is another than when that was last asked.
    changed_spans: FxHashSet<ModuleId>,
    open: Batch,
    asked: Batch,
    is_asked: bool,
    asked_at: MonoNs,
}

impl Held {
    pub(super) fn new(reader: JitReader) -> Held {
        Held {
            reader: Some(reader),
            ..Held::default()
        }
    }

    /// Notes which file a process has mapped.
    pub(super) fn mapped(&mut self, pid: Pid, module: &Arc<Module>) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        if let ModuleKind::File { .. } = module.kind
            && is_dump(module)
            && reader.asks.len() < MOST_ASKS
        {
            self.watched.insert(pid);
            reader.asks.push(Ask::Dump(pid, module.clone()));
        }
    }

    /// Notes that a process has code of its own in a run of addresses.
    pub(super) fn has_code(&mut self, pid: Pid, code: (u64, u64)) {
        if let Some(reader) = &mut self.reader {
            self.watched.insert(pid);
            // A process that does nothing but map must not fill the queue: it only loses what is said of its code.
            if reader.asks.len() < MOST_ASKS {
                reader.asks.push(Ask::Watch(pid, Some(code)));
            }
        }
    }

    /// Notes that a process began at `at`: by exec, or with the number of an earlier one.
    pub(super) fn began(&mut self, pid: Pid, at: MonoNs) {
        if let Some(reader) = &mut self.reader
            && (self.watched.contains(&pid) || self.left.remove(&pid))
        {
            reader.asks.push(Ask::BeganAnew(pid, at));
        }
    }

    /// Whether there are nearly as many epochs as there may be.
    pub(super) fn is_worn(&self) -> bool {
        self.n_epochs >= MOST_EPOCHS / 4 * 3
    }

    /// Takes out the processes that have left: `is_there` tells of the others. Of none of them a sample may wait. They are to be forgotten
    /// when all that was sampled until now is named.
    pub(super) fn take_left(&mut self, is_there: impl Fn(Pid) -> bool) -> Vec<Pid> {
        let left: Vec<Pid> = self
            .watched
            .iter()
            .copied()
            .filter(|pid| !is_there(*pid))
            .collect();
        if self.left.len() > MOST_LEFT {
            self.left.clear();
        }
        for pid in &left {
            self.watched.remove(pid);
            self.left.insert(*pid);
            self.replaced.remove(pid);
        }
        left
    }

    /// Keeps a sample if there is code made at run time in its stack; `false` if it is to be counted at once.
    pub(super) fn keep(&mut self, walk: &Walk, frames: &[Frame], modules: &Modules) -> bool {
        let Some(reader) = &mut self.reader else {
            return false;
        };
        let n_known = self.owners.len();
        self.owners.extend(modules.from(n_known).iter().map(owner));
        let batch = &mut self.open;
        let mut before = None;
        let mut is_jit = false;
        for frame in frames {
            if before.replace(frame.module) == Some(frame.module) {
                continue;
            }
            let Some(Some(pid)) = self.owners.get(frame.module.0 as usize) else {
                continue;
            };
            is_jit = true;
            if batch.pids.insert(*pid) && self.watched.insert(*pid) {
                reader.asks.push(Ask::Watch(*pid, None));
            }
        }
        if !is_jit || batch.frames.len() + frames.len() > MOST_FRAMES {
            return false;
        }
        batch.frames.extend_from_slice(frames);
        batch.walks.push((*walk, batch.frames.len()));
        let first = walk.span.first;
        batch.first = Some(batch.first.map_or(first, |known| known.min(first)));
        true
    }

    /// Puts the frames of a sample that is counted now into the present epochs.
    pub(super) fn place(&mut self, frames: &mut [Frame], span: Span) {
        let mut before: Option<(ModuleId, ModuleId)> = None;
        for frame in frames {
            if let Some((base, module)) = before
                && base == frame.module
            {
                frame.module = module;
                continue;
            }
            let base = frame.module;
            if let Some(Some(pid)) = self.owners.get(base.0 as usize) {
                let epoch = self.epochs.entry(*pid).or_insert(Epoch {
                    module: base,
                    number: 0,
                    is_used: false,
                });
                epoch.is_used = true;
                frame.module = epoch.module;
                let known = self.spans.entry(epoch.module).or_insert(span);
                *known = known.and(span);
                self.changed_spans.insert(epoch.module);
            }
            before = Some((base, frame.module));
        }
    }

    /// Hands the open batch over to the reader, if it is time to (or `at_once`).
    pub(super) fn ask(&mut self, now: MonoNs, at_once: bool) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        reader.asks.feed();
        let is_due = at_once || self.asked_at.plus(ASK_EVERY) <= now;
        if self.is_asked || !is_due || self.open.walks.is_empty() {
            return;
        }
        std::mem::swap(&mut self.open, &mut self.asked);
        reader
            .asks
            .push(Ask::Read(self.asked.pids.iter().copied().collect()));
        self.is_asked = true;
        self.asked_at = now;
    }

    /// Takes the reader's answer: the processes whose code was replaced, and when that was over. `None` if there is none yet.
    pub(super) fn answer(&mut self, wait: Duration) -> Option<Replaced> {
        let reader = self.reader.as_mut().filter(|_| self.is_asked)?;
        reader.asks.feed();
        let changed = match wait.is_zero() {
            true => reader.answers.try_recv().ok(),
            false => reader.answers.recv_timeout(wait).ok(),
        }?;
        self.is_asked = false;
        Some(changed)
    }

    /// The same at the end of the run; nobody's, if the reader does not answer in time.
    pub(super) fn last_answer(&mut self) -> Replaced {
        let answer = self.answer(PATIENCE);
        if answer.is_none() && self.is_asked {
            // A file system that does not answer must not hold up the end.
            self.reader = None;
            self.is_asked = false;
        }
        answer.unwrap_or_default()
    }

    /// Opens epochs for the samples that the reader was asked about, where code was replaced: they are kept apart from those before. What comes
    /// next is kept apart from them, and so on until samples come that were all taken when the change was over.
    pub(super) fn tell_apart(&mut self, replaced: &Replaced, modules: &mut Modules) {
        for (pid, at) in replaced {
            let known = self.replaced.entry(*pid).or_insert(*at);
            *known = (*known).max(*at);
        }
        let (first, pids) = (self.asked.first, &self.asked.pids);
        let apart: Vec<Pid> = self
            .replaced
            .keys()
            .filter(|pid| pids.contains(pid))
            .copied()
            .collect();
        for pid in apart {
            self.open_epoch(pid, modules);
            if first.is_some_and(|first| self.replaced[&pid] < first) {
                self.replaced.remove(&pid);
            }
        }
    }

    /// Nothing, if no sample was counted in the present one, or there are too many.
    fn open_epoch(&mut self, pid: Pid, modules: &mut Modules) {
        let Some(epoch) = self.epochs.get_mut(&pid).filter(|epoch| epoch.is_used) else {
            return;
        };
        if epoch.number >= MOST_EPOCHS_OF_ONE || self.n_epochs >= MOST_EPOCHS {
            return;
        }
        epoch.number += 1;
        self.n_epochs += 1;
        epoch.is_used = false;
        epoch.module = modules.intern(Module {
            kind: ModuleKind::Anonymous {
                pid,
                epoch: epoch.number,
            },
            path: "[anon]".into(),
            seen_in: None,
        });
    }

    /// Takes out the samples that the reader was asked about, one after the other with their frames.
    pub(super) fn take_asked(&mut self, visit: impl FnMut(&Walk, &[Frame], &mut Held)) {
        let batch = std::mem::take(&mut self.asked);
        self.visit(batch, visit);
    }

    /// Takes out all samples, whether the reader has answered or not.
    pub(super) fn take_all(&mut self, mut visit: impl FnMut(&Walk, &[Frame], &mut Held)) {
        for batch in [
            std::mem::take(&mut self.asked),
            std::mem::take(&mut self.open),
        ] {
            self.visit(batch, &mut visit);
        }
    }

    fn visit(&mut self, batch: Batch, mut visit: impl FnMut(&Walk, &[Frame], &mut Held)) {
        let mut start = 0;
        for (walk, end) in &batch.walks {
            visit(walk, &batch.frames[start..*end], self);
            start = *end;
        }
    }

    /// Whether the reader was asked at `due` or later, and has answered: all samples from before are counted.
    pub(super) fn is_answered_since(&self, due: Option<MonoNs>) -> bool {
        !self.is_asked && due.is_some_and(|due| due <= self.asked_at)
    }

    /// Whether no sample waits.
    pub(super) fn is_empty(&self) -> bool {
        self.open.walks.is_empty() && self.asked.walks.is_empty()
    }

    /// Whether one of those that wait is somebody's.
    pub(super) fn any(&self, is_meant: impl Fn(&Whose) -> bool) -> bool {
        let mut waiting = self.asked.walks.iter().chain(&self.open.walks);
        waiting.any(|(walk, _)| is_meant(&walk.task.comm))
    }

    /// When the earliest of those that wait may have been taken.
    pub(super) fn first_time(&self) -> Option<MonoNs> {
        self.open.first.into_iter().chain(self.asked.first).min()
    }

    /// Takes back what could not be handed on.
    pub(super) fn put_back_spans(&mut self, spans: &[(ModuleId, Span)]) {
        self.changed_spans
            .extend(spans.iter().map(|(module, _)| *module));
    }

    /// When the samples of each epoch were taken, of those that have had more since that was last asked.
    pub(super) fn take_spans(&mut self) -> Vec<(ModuleId, Span)> {
        let changed = std::mem::take(&mut self.changed_spans);
        changed
            .into_iter()
            .map(|module| (module, self.spans[&module]))
            .collect()
    }
}

fn owner(module: &Arc<Module>) -> Option<Pid> {
    match module.kind {
        ModuleKind::Anonymous { pid, epoch: 0 } => Some(pid),
        _ => None,
    }
}

/// `jit-PID.dump`, by which the mapping of a dump is known.
fn is_dump(module: &Module) -> bool {
    let name = module.short_name();
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    name.strip_prefix("jit-")
        .and_then(|rest| rest.strip_suffix(".dump"))
        .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
