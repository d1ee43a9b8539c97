//! The way of a sample, on one screen: out of a ring, through the unwinder, into the open window.
//!
//! Knows no file, no clock and no thread; a sample that has to wait for a table goes to the backlog and comes back here.

use std::sync::Arc;
use std::time::Duration;

use super::backlog::{Backlog, Origin};
use super::spec::Labels;
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
                self.want(module);
                if matches!(self.tables.rows(module), Rows::Pending) {
                    return Err(Pending(module));
                }
                return self.count(sample, origin);
            }
            Ok(walked) => walked,
        };
        let modules = &self.processes.modules;
        self.stacks.count(walked.ended, 1, || match walked.module {
            Some(module) => modules.get(module).short_name(),
            None => "[none]".to_owned(),
        });
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
        let modules = &self.processes.modules;
        let n_samples = samples.weight.samples;
        self.stacks
            .count(samples.ended, n_samples, || match samples.module {
                Some(module) => modules.get(module).short_name(),
                None => "[none]".to_owned(),
            });
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
mod tests {
    use super::*;
    use crate::model::{Cpu, EventIdx, Pid, Registers, StackCopy};
    use crate::sampler::Reach;

    fn pipeline(tables: Tables) -> Pipeline {
        let plan = SamplePlan {
            events: Vec::new(),
            stack_source: StackSource::Copy(64),
            reach: Reach::Threads,
            inherit: true,
        };
        let mut processes = Processes::new("/proc".into());
        processes.add_empty(Pid(1), b"first");
        processes.add_empty(Pid(2), b"second");
        processes.take_changed();
        let copy_size = CopySize::fixed(64);
        let mut pipeline = Pipeline::new(
            processes,
            tables,
            &plan,
            copy_size,
            Labels::default(),
            None,
            false,
        );
        pipeline.counting = Counting::new(1);
        pipeline.taken = vec![Taken::default()];
        pipeline
    }

    fn mmap(time: u64, pid: u32, path: &'static [u8]) -> Item<'static> {
        let record = SideBand::Mmap {
            pid: Pid(pid),
            start: Avma(0x1000),
            length: 0x1000,
            file_offset: FileOffset(0),
            dev: 1,
            inode: path.len() as u64,
            path: path.into(),
            executable: true,
        };
        Item::SideBand(MonoNs(time), record)
    }

    fn name(time: u64, pid: u32, comm: &'static [u8]) -> Item<'static> {
        let record = SideBand::Comm {
            pid: Pid(pid),
            tid: Tid(pid),
            comm: comm.into(),
            by_exec: false,
        };
        Item::SideBand(MonoNs(time), record)
    }

    fn sample(time: u64, pid: u32) -> Item<'static> {
        Item::Sample(RawSample {
            event: EventIdx(0),
            pid: Pid(pid),
            tid: Tid(pid),
            cpu: Cpu(0),
            time: MonoNs(time),
            weight: 1,
            registers: Some(Registers {
                pc: 0x1800,
                sp: 0x8000,
                fp: u64::MAX,
                drap: 0,
                link: 0,
                base: 0,
                in_syscall: false,
            }),
            stack: StackCopy {
                bytes: &[0; 64],
                is_cut: true,
            },
            kernel_chain: &[],
            user_chain: &[],
        })
    }

    /// Name and leaf module of what was counted since this was last asked, each with a new stack.
    fn counted(pipeline: &mut Pipeline) -> Vec<(String, String)> {
        let stacks = pipeline.counting.stacks.take_new();
        let window = pipeline.counting.close_window();
        assert_eq!(window.rows.len(), stacks.len());
        let rows = window.rows.iter().zip(&stacks).map(|(row, stack)| {
            let comm = pipeline.processes.comms.get(row.task.comm);
            let module = pipeline.processes.modules.get(stack[0].module);
            (comm.to_string(), module.short_name())
        });
        rows.collect()
    }

    fn changed(pipeline: &mut Pipeline) -> Vec<Pid> {
        pipeline.processes.take_changed().into_iter().collect()
    }

    #[test]
    fn a_sample_that_waits_for_a_table_keeps_no_mapping_from_the_kernel() {
        let (tables, _todo, _done) = Tables::without_workers(None);
        let mut pipeline = pipeline(tables);
        [mmap(1, 1, b"large"), sample(2, 1)]
            .iter()
            .for_each(|item| pipeline.take(item));
        assert!(!pipeline.is_settled());
        pipeline.processes.take_changed();
        pipeline.take(&mmap(3, 2, b"other"));
        assert_eq!(changed(&mut pipeline), [Pid(2)]);
        pipeline.take(&mmap(4, 1, b"newer"));
        assert_eq!(changed(&mut pipeline), [Pid(1)]);
        let space = pipeline.processes.space(Pid(1)).expect("is known");
        let module = space.find(Avma(0x1800)).expect("is mapped").module;
        assert_eq!(pipeline.processes.modules.get(module).short_name(), "newer");
    }

    #[test]
    fn samples_wait_for_their_own_tables_and_see_what_held_at_their_time() {
        let (tables, todo, done) = Tables::without_workers(None);
        let mut pipeline = pipeline(tables);
        let items = [
            mmap(1, 1, b"large"),
            sample(2, 1),
            mmap(3, 2, b"other"),
            sample(4, 2),
            // Both are something else by the time the tables come.
            mmap(5, 1, b"newer"),
            name(6, 1, b"renamed"),
        ];
        items.iter().for_each(|item| pipeline.take(item));
        let asked = |path: &str| {
            let request = todo
                .try_iter()
                .find(|(_, module)| module.short_name() == path);
            request.expect("asked for").0
        };
        let (large, other) = (asked("large"), asked("other"));
        assert_eq!(counted(&mut pipeline), []);

        done.send((other, None)).expect("is taken in");
        assert!(pipeline.tables.collect() && !pipeline.resume());
        let second = ("second".to_owned(), "other".to_owned());
        assert_eq!(counted(&mut pipeline), [second]);

        done.send((large, None)).expect("is taken in");
        assert!(pipeline.tables.collect() && pipeline.resume());
        let first = ("first".to_owned(), "large".to_owned());
        assert_eq!(counted(&mut pipeline), [first]);
        assert_eq!(pipeline.taken[0].delivered.samples, 2);
        assert_eq!(pipeline.taken[0].queue_full, 0);
    }
}
