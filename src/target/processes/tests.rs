//! Tests of the table of processes: records in, what is known of them out.

use super::*;

fn mmap(pid: u32, start: u64, path: &'static [u8]) -> SideBand<'static> {
    SideBand::Mmap {
        pid: Pid(pid),
        start: Avma(start),
        length: 0x1000,
        file_offset: FileOffset(0),
        dev: 1,
        inode: path.len() as u64,
        path: path.into(),
        executable: true,
    }
}

fn module_at(processes: &Processes, pid: u32, address: u64) -> Option<String> {
    let mapping = *processes.space(Pid(pid))?.find(Avma(address))?;
    Some(processes.modules.get(mapping.module).short_name())
}

#[test]
fn a_forked_process_has_its_parents_mappings_until_it_execs() {
    let mut processes = Processes::new("/proc".into());
    let fork = SideBand::Fork {
        pid: Pid(2),
        parent_pid: Pid(1),
        tid: Tid(2),
        parent_tid: Tid(1),
    };
    let exec = SideBand::Comm {
        pid: Pid(2),
        tid: Tid(2),
        comm: b"ls".into(),
        by_exec: true,
    };
    processes.apply(MonoNs(1), &mmap(1, 0x1000, b"/bin/sh"));
    processes.apply(MonoNs(2), &fork);
    assert_eq!(module_at(&processes, 2, 0x1800).as_deref(), Some("sh"));
    processes.apply(MonoNs(3), &exec);
    processes.apply(MonoNs(4), &mmap(2, 0x1000, b"/usr/bin/ls"));
    assert_eq!(module_at(&processes, 2, 0x1800).as_deref(), Some("ls"));
    assert_eq!(module_at(&processes, 1, 0x1800).as_deref(), Some("sh"));
}

#[test]
fn a_process_is_forgotten_with_its_last_thread() {
    let mut processes = Processes::new("/proc".into());
    let fork = |pid, tid| SideBand::Fork {
        pid: Pid(pid),
        parent_pid: Pid(1),
        tid: Tid(tid),
        parent_tid: Tid(1),
    };
    let exit = |pid, tid| SideBand::Exit {
        pid: Pid(pid),
        tid: Tid(tid),
    };
    processes.add_empty(Pid(1), b"main", MonoNs(0));
    for round in 0..100 {
        processes.apply(MonoNs(round), &fork(2, 2));
        processes.apply(MonoNs(round), &fork(1, 3));
        processes.apply(MonoNs(round), &exit(2, 2));
        processes.apply(MonoNs(round), &exit(1, 3));
    }
    assert!(processes.space(Pid(2)).is_none() && processes.space(Pid(1)).is_some());
    assert_eq!((processes.processes.len(), processes.tasks.len()), (1, 1));
    processes.apply(MonoNs(200), &exit(1, 1));
    assert!(processes.space(Pid(1)).is_none());
}

fn fork(parent: u32, pid: u32) -> SideBand<'static> {
    SideBand::Fork {
        pid: Pid(pid),
        parent_pid: Pid(parent),
        tid: Tid(pid),
        parent_tid: Tid(parent),
    }
}

fn exit(pid: u32) -> SideBand<'static> {
    SideBand::Exit {
        pid: Pid(pid),
        tid: Tid(pid),
    }
}

#[test]
fn a_thread_that_has_ended_is_known_for_its_last_moments_and_until_its_number_is_anothers() {
    let mut processes = Processes::new("/proc".into());
    processes.add_empty(Pid(1), b"main", MonoNs(0));
    processes.apply(MonoNs(1), &fork(1, 2));
    let comm = processes.task(Tid(2)).expect("forked").comm;
    processes.apply(MonoNs(2), &exit(2));
    assert!(processes.has_just_ended(Pid(2), Tid(2)));
    assert!(
        !processes.has_just_ended(Pid(3), Tid(2)),
        "of another process"
    );
    // Its name is not asked for anew, and it does not come back by that.
    assert_eq!(processes.learn_comm(Pid(2), Tid(2)), comm);
    assert!(processes.task(Tid(2)).is_none() && processes.space(Pid(2)).is_none());

    // Of a process of which nothing is known but that it has the number.
    assert!(processes.concerns_known(&fork(7, 2)));
    processes.apply(MonoNs(3), &fork(7, 2));
    assert!(!processes.has_just_ended(Pid(2), Tid(2)));

    processes.apply(MonoNs(4), &fork(1, 2));
    processes.apply(MonoNs(5), &exit(2));
    processes.apply(MonoNs(6), &fork(1, 4));
    processes.apply(MonoNs(2_000_000_000), &exit(4));
    assert!(!processes.has_just_ended(Pid(2), Tid(2)), "long ago");
    assert!(processes.has_just_ended(Pid(4), Tid(4)));
}

#[test]
fn a_process_that_has_ended_is_not_added_as_a_running_one() {
    let mut child = std::process::Command::new("true").spawn().expect("true");
    let pid = Pid(child.id());
    // Dead, and nobody has asked for its status.
    nix::sys::wait::waitid(
        nix::sys::wait::Id::Pid(nix::unistd::Pid::from_raw(
            child.id().try_into().expect("a pid"),
        )),
        nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT,
    )
    .expect("its end");
    let mut processes = Processes::new("/proc".into());
    let added = processes.add_running(pid, MonoNs(1));
    assert_eq!(added.expect_err("dead").kind(), io::ErrorKind::NotFound);
    assert!(processes.is_empty());
    child.wait().expect("its status");
}

#[test]
fn a_fork_that_takes_a_known_number_forgets_who_had_it() {
    let mut processes = Processes::new("/proc".into());
    processes.add_empty(Pid(1), b"main", MonoNs(0));
    processes.apply(MonoNs(1), &fork(1, 2));
    processes.apply(MonoNs(2), &mmap(2, 0x1000, b"/bin/old"));
    // Of a parent that nobody has heard of, and the record of the old one's end is lost.
    let stranger = fork(99, 2);
    assert!(processes.concerns_known(&stranger));
    processes.apply(MonoNs(3), &stranger);
    assert!(processes.space(Pid(2)).is_none() && processes.task(Tid(2)).is_none());
    assert!(processes.take_changed().contains(&Pid(2)));
    // And of one of the table: it has its parent's mappings, and ends with its one thread.
    processes.apply(MonoNs(4), &fork(1, 2));
    processes.apply(MonoNs(5), &mmap(2, 0x1000, b"/bin/old"));
    processes.apply(MonoNs(6), &fork(1, 2));
    assert_eq!(module_at(&processes, 2, 0x1800), None);
    processes.apply(MonoNs(7), &exit(2));
    assert!(processes.space(Pid(2)).is_none());
}

#[test]
fn records_from_before_a_process_was_added_are_about_others() {
    let mut processes = Processes::new("/proc".into());
    processes.add_empty(Pid(2), b"late", MonoNs(10));
    processes.apply(MonoNs(8), &exit(2));
    processes.apply(MonoNs(9), &fork(1, 2));
    assert!(processes.space(Pid(2)).is_some() && processes.task(Tid(2)).is_some());
    processes.apply(MonoNs(11), &exit(2));
    assert!(processes.space(Pid(2)).is_none());
}

#[test]
fn what_has_ended_or_became_another_is_forgotten_when_all_is_checked() {
    let planted = tempfile::tempdir().expect("a folder");
    let plant = |pid: u32, start_ticks: u64, tids: &[u32]| {
        let process = planted.path().join(pid.to_string());
        for tid in tids {
            std::fs::create_dir_all(process.join("task").join(tid.to_string())).expect("made");
        }
        let fields = "0 ".repeat(17);
        let stat = format!("{pid} (x) S 1 {fields}{start_ticks} 0");
        std::fs::write(process.join("stat"), stat).expect("written");
    };
    let mut processes = Processes::new(planted.path().to_owned());
    let second = |n: u64| MonoNs(n * 1_000_000_000);
    for pid in [1, 2, 3, 4] {
        processes.add_empty(Pid(pid), b"x", second(50));
    }
    let thread = SideBand::Fork {
        pid: Pid(1),
        parent_pid: Pid(1),
        tid: Tid(11),
        parent_tid: Tid(1),
    };
    processes.apply(second(51), &thread);
    // 1 has run since before it was added, and has lost a thread; 2 was started later; 3 is not there; of 4 nothing can be read.
    plant(1, 100 * (50 + 7), &[1]);
    plant(2, 100 * (50 + 7) + 1, &[2]);
    for folder in ["4/stat", "4/task/4/stat"] {
        std::fs::create_dir_all(planted.path().join(folder)).expect("made");
    }
    let mut gone = processes.verify_all(Duration::from_secs(7));
    gone.sort_unstable();
    assert_eq!(gone, [Pid(2), Pid(3)]);
    assert!(processes.task(Tid(1)).is_some() && processes.task(Tid(11)).is_none());
    assert!(
        processes
            .take_changed()
            .is_superset(&gone.into_iter().collect())
    );
    processes.apply(second(60), &exit(1));
    assert!(processes.space(Pid(1)).is_none());
}

#[test]
fn this_process_stays_when_all_is_checked() {
    let mut processes = Processes::new("/proc".into());
    let own = Pid(std::process::id());
    processes
        .add_running(own, crate::sys::now())
        .expect("ourselves");
    assert_eq!(processes.verify_all(crate::sys::boot_offset()), []);
    assert!(processes.space(own).is_some());
}

#[test]
fn a_thread_bears_its_creators_name_until_it_gets_its_own() {
    let mut processes = Processes::new("/proc".into());
    let name = |tid, comm: &'static [u8]| SideBand::Comm {
        pid: Pid(1),
        tid: Tid(tid),
        comm: comm.into(),
        by_exec: false,
    };
    let fork = SideBand::Fork {
        pid: Pid(1),
        parent_pid: Pid(1),
        tid: Tid(9),
        parent_tid: Tid(1),
    };
    processes.apply(MonoNs(1), &name(1, &b"main"[..]));
    processes.apply(MonoNs(2), &fork);
    let comm = |processes: &Processes, tid| {
        processes
            .comms
            .get(processes.task(Tid(tid)).unwrap().comm)
            .to_string()
    };
    assert_eq!(comm(&processes, 9), "main");
    processes.apply(MonoNs(3), &name(9, &b"worker\xff"[..]));
    assert_eq!(
        (comm(&processes, 9).as_str(), comm(&processes, 1).as_str()),
        ("worker\\xff", "main")
    );
}
