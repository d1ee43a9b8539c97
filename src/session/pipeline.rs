//! The way of a sample, on one screen: out of a ring, through the unwinder, into the open window.
//!
//! Knows no file, no clock and no thread; a sample that has to wait for a table goes to the backlog and comes back here.

use std::sync::Arc;
use std::time::Duration;

use super::backlog::{Backlog, Origin};
use super::python::Interpreters;
use super::spec::Labels;
use super::table_cache::Place;
use super::tables::Tables;
use crate::aggregate::{Counting, Stacks, TaskKey, TimedSample, Timeline};
use crate::bpf::WalkedSamples;
use crate::model::{
    AddressKind, AddressSpace, Avma, Ended, FileOffset, Frame, Mapping, ModuleId, ModuleKind,
    Modules, MonoNs, RawSample, StackLedger, Tid, Weight,
};
use crate::sampler::{CopySize, Item, SamplePlan, StackSource};
use crate::sys::record::SideBand;
use crate::target::{CommId, Processes};
use crate::unwind::{Pending, RowSource, Rows, Walked, frames_of_chain, walk};

/// Frames of a user stack at most. A 64 KiB copy holds 4096 frames of the smallest kind.
const MOST_FRAMES: usize = 4096;

/// What became of the samples of one event, as far as perfd decides it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) delivered: Weight,
    pub(super) foreign: u64,
    pub(super) queue_full: u64,
}

/// The stages between the rings and the window.
pub(super) struct Pipeline {
    pub(super) processes: Processes,
    pub(super) tables: Tables,
    pub(super) counting: Counting<CommId>,
    /// Every sample by itself, if that is asked for.
    pub(super) timeline: Option<Timeline<CommId>>,
    pub(super) copy_size: CopySize,
    pub(super) stacks: StackLedger,
    pub(super) taken: Vec<Taken>,
    /// Where Python frames are asked for.
    pub(super) python: Option<Interpreters>,
    /// Set when the stack copy should have another size.
    pub(super) wanted_copy: Option<u32>,
    backlog: Backlog,
    stack_source: StackSource,
    labels: Labels,
    /// Whether any process is a target.
    whole_host: bool,
    frames: Vec<Frame>,
    /// What is mapped where nothing is known.
    nothing: Arc<AddressSpace>,
}

impl Pipeline {
    pub(super) fn new(
        processes: Processes,
        tables: Tables,
        plan: &SamplePlan,
        copy_size: CopySize,
        labels: Labels,
        timeline: Option<Timeline<CommId>>,
        whole_host: bool,
    ) -> Pipeline {
        Pipeline {
            processes,
            tables,
            counting: Counting::new(plan.events.len()),
            timeline,
            copy_size,
            stacks: StackLedger::default(),
            taken: vec![Taken::default(); plan.events.len()],
            python: None,
            wanted_copy: None,
            backlog: Backlog::default(),
            stack_source: plan.stack_source,
            labels,
            whole_host,
            frames: Vec::new(),
            nothing: Arc::default(),
        }
    }

    /// Takes an item out of the rings. Records hold at once; a sample that needs a table waits for it, with what was known at its time.
    pub(super) fn take(&mut self, item: &Item<'_>) {
        match item {
            Item::SideBand(time, record) => self.follow(*time, record),
            Item::Sample(sample) => self.sample(sample),
        }
    }

    /// Takes in the tables that have been built, and goes on with what waited for them.
    pub(super) fn collect_tables(&mut self) {
        let processes = &self.processes;
        if self.tables.collect(|| processes.mapped()) {
            self.resume();
        }
    }

    /// Waits for the tables that were asked for, but no longer than `patience`.
    pub(super) fn wait_for_tables(&mut self, patience: Duration) {
        let processes = &self.processes;
        self.tables.wait_for_all(patience, || processes.mapped());
    }

    /// Waits for the next table; `false` if none is on its way.
    pub(super) fn wait_for_table(&mut self) -> bool {
        let processes = &self.processes;
        self.tables.wait(|| processes.mapped())
    }

    /// Goes on with the samples whose tables have come; `true` if none waits any more.
    pub(super) fn resume(&mut self) -> bool {
        let tables = &self.tables;
        let is_pending = |module| matches!(tables.rows(module), Rows::Pending);
        for kept in self.backlog.take_ready(is_pending) {
            if let Err(pending) = kept.with(|sample, origin| self.count(sample, origin)) {
                self.backlog.put_back(kept, pending);
            }
        }
        self.is_settled()
    }

    /// Takes what still waits for lost: its tables will never come.
    pub(super) fn give_up(&mut self) {
        for kept in self.backlog.take_ready(|_| false) {
            kept.with(|sample, _| self.taken[sample.event.0].queue_full += 1);
        }
    }

    /// Whether everything that was taken is counted.
    pub(super) fn is_settled(&self) -> bool {
        self.backlog.is_empty()
    }

    /// The time up to which everything is counted, of what was taken out of the rings up to `taken`.
    pub(super) fn counted_until(&self, taken: MonoNs) -> MonoNs {
        self.backlog.first_time().map_or(taken, |waits| {
            waits.minus(Duration::from_nanos(1)).min(taken)
        })
    }

    fn follow(&mut self, time: MonoNs, record: &SideBand<'_>) {
        // Events on whole CPUs bring records of everybody.
        if !self.whole_host && !self.processes.concerns_known(record) {
            return;
        }
        if let Some(module) = self.processes.apply(time, record)
            && !self.whole_host
        {
            self.want(module);
        }
    }

    pub(super) fn want(&mut self, module: ModuleId) {
        if let StackSource::Copy(_) = self.stack_source {
            self.tables.want(module, self.processes.modules.get(module));
        }
    }

    fn sample(&mut self, sample: &RawSample<'_>) {
        if self.processes.space(sample.pid).is_none() && !self.adopt(sample) {
            self.taken[sample.event.0].foreign += 1;
            return;
        }
        let space = self.processes.space(sample.pid).unwrap_or(&self.nothing);
        let origin = Origin {
            space: space.clone(),
            task: self.task(sample),
        };
        if let Err(pending) = self.count(sample, &origin)
            && !self.backlog.push(sample, origin, pending)
        {
            self.taken[sample.event.0].queue_full += 1;
        }
    }

    fn count(&mut self, sample: &RawSample<'_>, origin: &Origin) -> Result<(), Pending> {
        let walked = match self.stack(sample, &origin.space) {
            Err(Pending(module)) => {
                // With the whole host as target, tables are asked for by the first sample that needs them. Some modules
                // never have one (JIT code); then there is nothing to wait for.
                let what = self.processes.modules.get(module);
                self.tables.need(module, what);
                if matches!(self.tables.rows(module), Rows::Pending) {
                    return Err(Pending(module));
                }
                return self.count(sample, origin);
            }
            Ok(walked) => walked,
        };
        self.tables.used(Place::Perfd, &self.frames);
        let modules = &self.processes.modules;
        self.stacks.count(walked.ended, 1, || match walked.module {
            Some(module) => modules.get(module).short_name(),
            None => "[none]".to_owned(),
        });
        if let Some(python) = &mut self.python {
            python.left_to_ring(&self.frames, modules);
        }
        let too_short = walked.ended == Ended::CopyTooShort;
        let resized = self.copy_size.observe(walked.used_stack, too_short);
        self.wanted_copy = resized.or(self.wanted_copy);
        let stack = self.counting.add(
            origin.task,
            &self.frames,
            walked.ended,
            sample.event,
            &Weight::of(sample.weight),
        );
        self.stacks.stack_table_full += u64::from(stack == Stacks::FULL);
        self.taken[sample.event.0].delivered.add(sample.weight);
        if let Some(timeline) = &mut self.timeline {
            let timed = TimedSample {
                time: sample.time,
                cpu: sample.cpu,
                pid: sample.pid,
                tid: sample.tid,
                comm: origin.task.comm,
                event: sample.event,
                period: sample.weight,
                stack,
                ended: walked.ended,
            };
            timeline.add(timed, &Weight::of(sample.weight));
        }
        Ok(())
    }

    /// Takes samples that were walked in the kernel.
    pub(super) fn take_walked(&mut self, samples: &WalkedSamples<'_>) {
        self.tables.used(Place::Kernel, samples.frames);
        let modules = &self.processes.modules;
        let n_samples = samples.weight.samples;
        self.stacks
            .count(samples.ended, n_samples, || match samples.module {
                Some(module) => modules.get(module).short_name(),
                None => "[none]".to_owned(),
            });
        if let Some(python) = &mut self.python {
            python.ledger.count(samples.python, n_samples);
        }
        // The kernel names the idle threads `swapper/0`, `swapper/1`, …
        let comm = match samples.tid {
            Tid(0) => Processes::IDLE,
            _ => samples.comm,
        };
        let task = TaskKey {
            comm: self.processes.comms.intern(comm),
            pid: (self.labels.pid || self.labels.tid).then_some(samples.pid),
            tid: self.labels.tid.then_some(samples.tid),
        };
        let stack = self.counting.add(
            task,
            samples.frames,
            samples.ended,
            samples.event,
            &samples.weight,
        );
        if stack == Stacks::FULL {
            self.stacks.stack_table_full += n_samples;
        }
        self.taken[samples.event.0].delivered.merge(&samples.weight);
        if let (Some(timeline), Some((time, cpu))) = (&mut self.timeline, samples.taken) {
            let timed = TimedSample {
                time,
                cpu,
                pid: samples.pid,
                tid: samples.tid,
                comm: task.comm,
                event: samples.event,
                period: samples.weight.total,
                stack,
                ended: samples.ended,
            };
            timeline.add(timed, &samples.weight);
        }
    }

    /// Fills `frames`, leaf first: the kernel's, then the user's.
    fn stack(&mut self, sample: &RawSample<'_>, space: &AddressSpace) -> Result<Walked, Pending> {
        self.frames.clear();
        let mut kind = AddressKind::Interrupted;
        for address in sample.kernel_chain {
            self.frames.push(Frame {
                module: Modules::KERNEL,
                kind,
                offset: FileOffset(*address),
            });
            kind = AddressKind::Return;
        }
        let n_kernel = self.frames.len();
        let ended = match (self.stack_source, sample.registers) {
            // In exec and exit the kernel works on when the user's stack is gone.
            (StackSource::Copy(_), Some(registers))
                if sample.stack.bytes.is_empty() && registers.in_syscall =>
            {
                Ended::NoUserStack
            }
            (StackSource::Copy(_), Some(registers)) => {
                let frames = &mut self.frames;
                let rows = &self.tables;
                let walked = walk(&registers, &sample.stack, space, rows, MOST_FRAMES, frames)?;
                if walked.module.is_some() || !self.is_in_exec(sample, space) {
                    return Ok(walked);
                }
                Ended::NoUserStack
            }
            (StackSource::FramePointer, _) => {
                frames_of_chain(sample.user_chain, space, &mut self.frames)
            }
            (StackSource::None, Some(registers)) => {
                self.frames.extend(leaf(registers.pc, space));
                Ended::NoUserStack
            }
            (_, None) => Ended::NoUserStack,
        };
        let module = self.frames[n_kernel..].last().map(|frame| frame.module);
        Ok(Walked {
            ended,
            module,
            used_stack: 0,
        })
    }

    /// Whether a sample without user frames is from an exec that has not come to its end: its registers are still those of the old
    /// program. The last thing that an exec maps is the vDSO.
    fn is_in_exec(&self, sample: &RawSample<'_>, space: &AddressSpace) -> bool {
        let modules = &self.processes.modules;
        let is_vdso = |mapping: &Mapping| modules.get(mapping.module).kind == ModuleKind::Vdso;
        !sample.kernel_chain.is_empty() && !space.iter().any(is_vdso)
    }

    /// Whether a process that no record spoke of is a target all the same: every process if the whole host is, and
    /// else the child of one, whose fork record was lost.
    fn adopt(&mut self, sample: &RawSample<'_>) -> bool {
        let is_child = || self.processes.is_child_of_known(sample.pid);
        if !self.whole_host && !is_child() {
            return false;
        }
        // A process that is gone, or a kernel thread, has no mappings; its samples count all the same.
        self.processes.add_running(sample.pid, sample.time).is_ok() || self.whole_host
    }

    fn task(&mut self, sample: &RawSample<'_>) -> TaskKey<CommId> {
        let comm = match self.processes.task(sample.tid) {
            Some(task) => task.comm,
            None => self.processes.learn_comm(sample.pid, sample.tid),
        };
        TaskKey {
            comm,
            pid: (self.labels.pid || self.labels.tid).then_some(sample.pid),
            tid: self.labels.tid.then_some(sample.tid),
        }
    }
}

fn leaf(pc: u64, space: &AddressSpace) -> Option<Frame> {
    let mapping = space.find(Avma(pc))?;
    Some(Frame {
        module: mapping.module,
        kind: AddressKind::Interrupted,
        offset: mapping.offset_of(Avma(pc)),
    })
}

#[cfg(test)]
mod tests;
