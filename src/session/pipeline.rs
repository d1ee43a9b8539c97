//! The way of a sample, on one screen: out of a ring, through the unwinder, into the open window.
//!
//! Knows no file, no clock and no thread; a sample that has to wait for a table goes to the backlog and comes back here.

mod held_back;
mod settled;

use std::sync::Arc;
use std::time::Duration;

use super::backlog::{Backlog, Origin};
use super::engine::{Sampled, When};
use super::era::Era;
use super::groups::GroupId;
use super::held::{Held, Walk};
use super::members::{Members, Whose};
use super::python::Interpreters;
use super::spec::Labels;
use super::table_cache::Place;
use super::tables::Tables;
use crate::aggregate::{Counting, Stacks, TaskKey, TimedSample, Timeline};
use crate::bpf::WalkedSamples;
use crate::model::{
    AddressKind, AddressSpace, Avma, Ended, FileOffset, Frame, LossReason, Mapping, ModuleId,
    ModuleKind, Modules, MonoNs, RawSample, Span, StackLedger, Tid, Weight,
};
use crate::sampler::{CopySize, Item, SamplePlan, StackSource};
use crate::sys::record::SideBand;
use crate::target::Processes;
use crate::unwind::{Pending, RowSource, Rows, Walked, frames_of_chain, walk};

/// Frames of a user stack at most. A 64 KiB copy holds 4096 frames of the smallest kind.
const MOST_FRAMES: usize = 4096;

/// What became of the samples of one event, as far as perfd decides it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) delivered: Weight,
    pub(super) foreign: u64,
    pub(super) queue_full: u64,
    pub(super) not_authorised: u64,
    pub(super) kernel_mode: u64,
}

impl Taken {
    /// Samples that were counted, and are nobody's.
    pub(super) fn take_back(&mut self, weight: &Weight) {
        self.delivered.samples -= weight.samples;
        self.delivered.total = self.delivered.total.saturating_sub(weight.total);
        self.foreign += weight.samples;
    }

    fn lose(&mut self, why: LossReason, n_samples: u64) {
        match why {
            LossReason::NotAuthorised => self.not_authorised += n_samples,
            LossReason::KernelMode => self.kernel_mode += n_samples,
            LossReason::QueueFull => self.queue_full += n_samples,
            // What else is lost is known from the kernel.
            _ => self.foreign += n_samples,
        }
    }
}

/// The stages between the rings and the window.
pub(super) struct Pipeline {
    pub(super) processes: Processes,
    pub(super) tables: Tables,
    pub(super) counting: Counting<Whose>,
    /// Every sample by itself, if that is asked for.
    pub(super) timeline: Option<Timeline<Whose>>,
    pub(super) copy_size: CopySize,
    pub(super) stacks: StackLedger,
    pub(super) taken: Vec<Taken>,
    /// Where Python frames are asked for.
    pub(super) python: Option<Interpreters>,
    /// Set when the stack copy should have another size.
    pub(super) wanted_copy: Option<u32>,
    backlog: Backlog,
    /// Samples in code made at run time.
    pub(super) held: Held,
    stack_source: StackSource,
    labels: Labels,
    /// Who is a target.
    pub(super) members: Members,
    /// Of what is taken now.
    pub(super) era: Era,
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
        timeline: Option<Timeline<Whose>>,
        members: Members,
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
            held: Held::default(),
            stack_source: plan.stack_source,
            labels,
            members,
            era: Era::default(),
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

    /// Gives back the tables that nobody needs any more.
    pub(super) fn give_back_tables(&mut self) {
        let processes = &self.processes;
        self.tables.give_back(|| processes.mapped());
    }

    /// Takes in what is known of interpreters by now.
    pub(super) fn collect_interpreters(&mut self) {
        if let Some(python) = &mut self.python {
            python.collect(&mut self.processes);
        }
    }

    /// Waits for the tables that were asked for, but no longer than `patience`.
    pub(super) fn wait_for_tables(&mut self, patience: Duration) {
        let processes = &self.processes;
        self.tables.wait_for_all(patience, || processes.mapped());
    }

    /// Waits for the next table; `false` if none is on its way, or none has come in the time of `patience`, if that is given.
    pub(super) fn wait_for_table(&mut self, patience: Option<Duration>) -> bool {
        let processes = &self.processes;
        match patience {
            None => self.tables.wait(|| processes.mapped()),
            Some(patience) => self.tables.wait_at_most(patience, || processes.mapped()),
        }
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
        self.backlog.is_empty()
    }

    /// Takes what still waits for lost: its tables will never come.
    pub(super) fn give_up(&mut self) {
        for kept in self.backlog.take_ready(|_| false) {
            kept.with(|sample, origin| self.lose(sample, origin.task.comm.group));
        }
    }

    fn follow(&mut self, time: MonoNs, record: &SideBand<'_>) {
        // Events on whole CPUs bring records of everybody.
        if !self.members.concerns(record, &self.processes) {
            return;
        }
        let mapped = self.processes.apply(time, record);
        self.members.follow(time, record, &self.processes);
        self.follow_code(time, record, mapped);
        if let Some(module) = mapped
            && !self.members.takes_everybody()
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
        let group = match self.members.group_of(&sampled(sample)) {
            Ok(group) => group,
            Err(why) => return self.taken[sample.event.0].lose(why, 1),
        };
        let space = self.processes.space(sample.pid).unwrap_or(&self.nothing);
        let origin = Origin {
            space: space.clone(),
            task: self.task(sample, group),
        };
        if let Err(pending) = self.count(sample, &origin)
            && !self.backlog.push(sample, origin, pending)
        {
            self.lose(sample, group);
        }
    }

    /// Its table does not come in time.
    fn lose(&mut self, sample: &RawSample<'_>, group: GroupId) {
        let why = LossReason::QueueFull;
        self.taken[sample.event.0].lose(why, 1);
        self.members.lose(group, &sampled(sample), why);
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
        if let Some(python) = &mut self.python {
            python.left_to_ring(&self.frames, &self.processes.modules);
        }
        let too_short = walked.ended == Ended::CopyTooShort;
        let resized = self.copy_size.observe(walked.used_stack, too_short);
        self.wanted_copy = resized.or(self.wanted_copy);
        let walk = Walk {
            task: origin.task,
            pid: sample.pid,
            tid: sample.tid,
            event: sample.event,
            ended: walked.ended,
            module: walked.module,
            weight: Weight::of(sample.weight),
            taken: Some((sample.time, sample.cpu)),
            span: Span::at(sample.time),
        };
        self.keep_or_settle(&walk);
        Ok(())
    }

    /// Takes samples that were walked in the kernel, all of them after `since` and before `until`.
    pub(super) fn take_walked(
        &mut self,
        samples: &WalkedSamples<'_>,
        since: MonoNs,
        until: MonoNs,
    ) {
        let sampled = Sampled {
            pid: samples.pid,
            event: samples.event,
            n_samples: samples.weight.samples,
            in_kernel_mode: samples
                .frames
                .first()
                .is_some_and(|leaf| leaf.module == Modules::KERNEL),
            taken: When::Counted(samples.domain),
        };
        let group = match self.members.group_of(&sampled) {
            Ok(group) => group,
            Err(why) => return self.taken[samples.event.0].lose(why, sampled.n_samples),
        };
        self.tables.used(Place::Kernel, samples.frames);
        if let Some(python) = &mut self.python {
            python.ledger.count(samples.python, samples.weight.samples);
        }
        // The kernel names the idle threads `swapper/0`, `swapper/1`, …
        let comm = match samples.tid {
            Tid(0) => Processes::IDLE,
            _ => samples.comm,
        };
        let walk = Walk {
            task: TaskKey {
                comm: Whose {
                    comm: self.processes.comms.intern(comm),
                    group,
                    in_kernel_mode: sampled.in_kernel_mode,
                    era: self.era,
                },
                pid: (self.labels.pid || self.labels.tid).then_some(samples.pid),
                tid: self.labels.tid.then_some(samples.tid),
            },
            pid: samples.pid,
            tid: samples.tid,
            event: samples.event,
            ended: samples.ended,
            module: samples.module,
            weight: samples.weight,
            taken: samples.taken,
            span: samples.taken.map_or(
                Span {
                    first: since,
                    last: until,
                },
                |(time, _)| Span::at(time),
            ),
        };
        self.frames.clear();
        self.frames.extend_from_slice(samples.frames);
        self.keep_or_settle(&walk);
    }

    /// Counts the sample whose stack is in `frames`, unless there is code in it that may have been replaced.
    fn keep_or_settle(&mut self, walk: &Walk) {
        let modules = &self.processes.modules;
        if !self.held.keep(walk, &self.frames, modules) {
            self.held.place(&mut self.frames, walk.span);
            self.settle(walk);
        }
    }

    /// Counts the sample whose stack is in `frames`.
    fn settle(&mut self, walk: &Walk) {
        let modules = &self.processes.modules;
        let n_samples = walk.weight.samples;
        self.stacks
            .count(walk.ended, n_samples, || match walk.module {
                Some(module) => modules.get(module).short_name(),
                None => "[none]".to_owned(),
            });
        let (frames, ended) = (&self.frames, walk.ended);
        let stack = self
            .counting
            .add(walk.task, frames, ended, walk.event, &walk.weight);
        if stack == Stacks::FULL {
            self.stacks.stack_table_full += n_samples;
        }
        self.taken[walk.event.0].delivered.merge(&walk.weight);
        if let (Some(timeline), Some((time, cpu))) = (&mut self.timeline, walk.taken) {
            let timed = TimedSample {
                time,
                cpu,
                pid: walk.pid,
                tid: walk.tid,
                comm: walk.task.comm,
                event: walk.event,
                period: walk.weight.total,
                stack,
                ended,
            };
            timeline.add(timed, &walk.weight);
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

    /// Takes in a process that no record spoke of, if it is a target all the same.
    fn adopt(&mut self, sample: &RawSample<'_>) -> bool {
        if self.processes.has_just_ended(sample.pid, sample.tid) {
            return true;
        }
        if !self.members.may_adopt(sample, &self.processes) {
            return false;
        }
        // A process that is gone, or a kernel thread, has no mappings; its samples count all the same.
        let is_running = self.processes.add_running(sample.pid, sample.time).is_ok();
        self.found_mapped(sample.pid);
        is_running || self.members.takes_everybody()
    }

    fn task(&mut self, sample: &RawSample<'_>, group: GroupId) -> TaskKey<Whose> {
        let comm = match self.processes.task(sample.tid) {
            Some(task) => task.comm,
            None => self.processes.learn_comm(sample.pid, sample.tid),
        };
        TaskKey {
            comm: Whose {
                comm,
                group,
                in_kernel_mode: !sample.kernel_chain.is_empty(),
                era: self.era,
            },
            pid: (self.labels.pid || self.labels.tid).then_some(sample.pid),
            tid: self.labels.tid.then_some(sample.tid),
        }
    }
}

fn sampled(sample: &RawSample<'_>) -> Sampled {
    Sampled {
        pid: sample.pid,
        event: sample.event,
        n_samples: 1,
        in_kernel_mode: !sample.kernel_chain.is_empty(),
        taken: When::At(sample.time, sample.cgroup),
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
