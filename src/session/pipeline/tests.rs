//! Samples that wait, and records that do not.

use super::*;
use crate::model::{Cpu, EventIdx, Pid, Registers, StackCopy};
use crate::sampler::Reach;
use crate::session::table_workers::{self, Done, Workers};

fn has_none(module: ModuleId) -> Done {
    Done::Built {
        module,
        table: None,
        origin: table_workers::Origin::Module,
    }
}

fn pipeline(workers: Workers) -> Pipeline {
    let plan = SamplePlan {
        events: Vec::new(),
        stack_source: StackSource::Copy(64),
        reach: Reach::Threads,
        inherit: true,
    };
    let mut processes = Processes::new("/proc".into());
    processes.add_empty(Pid(1), b"first", MonoNs(0));
    processes.add_empty(Pid(2), b"second", MonoNs(0));
    processes.take_changed();
    let copy_size = CopySize::fixed(64);
    let mut pipeline = Pipeline::new(
        processes,
        Tables::with(workers, None, u64::MAX),
        &plan,
        copy_size,
        Labels::default(),
        None,
        Members::Known,
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
        cgroup: None,
        domain: None,
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
        let comm = pipeline.processes.comms.get(row.task.comm.comm);
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
    let (workers, _wanted, _done) = Workers::without_threads();
    let mut pipeline = pipeline(workers);
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
fn a_sample_that_has_waited_counts_for_the_era_in_which_it_was_taken() {
    let (workers, _wanted, done) = Workers::without_threads();
    let mut pipeline = pipeline(workers);
    let first = pipeline.era;
    [mmap(1, 1, b"large"), sample(2, 1)]
        .iter()
        .for_each(|item| pipeline.take(item));
    assert!(!pipeline.is_counted_up_to(first));
    let second = first.next();
    pipeline.era = second;
    pipeline.take(&sample(3, 1));
    let module = pipeline.processes.space(Pid(1)).expect("is known");
    let module = module.find(Avma(0x1800)).expect("is mapped").module;
    done.send(has_none(module)).expect("there is room");
    pipeline.collect_tables();
    assert!(pipeline.is_counted_up_to(second));
    let window = pipeline.counting.close_window();
    let eras = window.rows.iter().map(|row| row.task.comm.era);
    assert_eq!(eras.collect::<Vec<_>>(), [first, second]);
}

#[test]
fn samples_wait_for_their_own_tables_and_see_what_held_at_their_time() {
    let (workers, wanted, done) = Workers::without_threads();
    let mut pipeline = pipeline(workers);
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
        let request = wanted
            .try_iter()
            .find(|(_, module)| module.short_name() == path);
        request.expect("asked for").0
    };
    let (large, other) = (asked("large"), asked("other"));
    assert_eq!(counted(&mut pipeline), []);

    done.send(has_none(other)).expect("is taken in");
    pipeline.collect_tables();
    assert!(!pipeline.is_settled());
    let second = ("second".to_owned(), "other".to_owned());
    assert_eq!(counted(&mut pipeline), [second]);

    done.send(has_none(large)).expect("is taken in");
    pipeline.collect_tables();
    assert!(pipeline.is_settled());
    let first = ("first".to_owned(), "large".to_owned());
    assert_eq!(counted(&mut pipeline), [first]);
    assert_eq!(pipeline.taken[0].delivered.samples, 2);
    assert_eq!(pipeline.taken[0].queue_full, 0);
}
