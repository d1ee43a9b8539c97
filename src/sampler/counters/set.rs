//! Open counting events on targets, and their sums.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use perf_event::{Builder, Counter};

use super::plan::{Plan, Planned, counting};
use crate::model::{CgroupId, Count, Cpu, Pid, ProcessCounts, Tid};
use crate::sys::event_error::{OpenEventError, Place};

/// What becomes of threads and processes that a target creates after its events were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Children {
    /// They inherit the events, and are counted with it.
    #[default]
    Counted,
    /// They are not counted.
    Left,
}

/// The open events of targets. A thread's counts stay when it ends.
///
/// Where several targets may have the same process, each has its own `Counters`.
#[derive(Debug)]
pub struct Counters {
    plan: Plan,
    children: Children,
    targets: Vec<Target>,
    /// Why nothing is counted, if so.
    given_up: Option<String>,
}

#[derive(Debug)]
struct Target {
    counted: Counted,
    comm: Arc<str>,
    /// One for each thread or CPU.
    opened: Vec<Opened>,
}

/// What the counts of a target are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Process(Pid),
    Cgroup(CgroupId),
    Host,
}

/// The events of one thread or CPU, in the plan's order.
#[derive(Debug)]
struct Opened {
    counters: Vec<Counter>,
    begin: Begin,
}

/// What events are opened on.
#[derive(Clone, Copy)]
enum On<'a> {
    Thread(Pid, Tid),
    Cpu(Cpu),
    Cgroup(CgroupId, &'a File, Cpu),
}

impl On<'_> {
    fn place(self) -> Place {
        match self {
            On::Thread(pid, tid) => Place::Thread(pid, tid),
            On::Cpu(cpu) => Place::Cpu(cpu),
            On::Cgroup(cgroup, _, cpu) => Place::Cgroup(cgroup, cpu),
        }
    }
}

/// When the events begin to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    WhenEnabled,
    OnExec,
}

impl Counters {
    /// No targets yet.
    pub fn new(plan: Plan, children: Children) -> Counters {
        Counters {
            plan,
            children,
            targets: Vec::new(),
            given_up: None,
        }
    }

    /// Closes all events, and counts nothing any more: better than a part.
    pub fn give_up(&mut self, why: String) {
        self.targets.clear();
        self.given_up = Some(why);
    }

    /// Why nothing is counted, if so.
    pub fn given_up(&self) -> Option<&String> {
        self.given_up.as_ref()
    }

    /// Open files that the events take.
    pub fn n_open(&self) -> usize {
        let opened = self.targets.iter().flat_map(|target| &target.opened);
        opened.map(|opened| opened.counters.len()).sum()
    }

    /// What is counted.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Opens the events on threads of a process, disabled. Gives the threads that were still there.
    ///
    /// A thread whose creator has been added already must not be: it has inherited. See [`super::attach()`].
    pub fn add_threads(
        &mut self,
        pid: Pid,
        comm: &str,
        tids: impl IntoIterator<Item = Tid>,
    ) -> Result<Vec<Tid>, OpenEventError> {
        let (mut opened, mut there) = (Vec::new(), Vec::new());
        for tid in tids {
            match self.open(On::Thread(pid, tid), Begin::WhenEnabled) {
                Ok(events) => {
                    opened.push(events);
                    there.push(tid);
                }
                Err(error) if error.errno == libc::ESRCH => {}
                Err(error) => return Err(error),
            }
        }
        self.target(Counted::Process(pid), comm)
            .opened
            .extend(opened);
        Ok(there)
    }

    /// Opens the events on a command that waits before its `exec`; they begin with it.
    pub fn add_prepared(&mut self, pid: Pid, comm: &str) -> Result<(), OpenEventError> {
        let events = self.open(On::Thread(pid, pid.main_thread()), Begin::OnExec)?;
        self.target(Counted::Process(pid), comm).opened.push(events);
        Ok(())
    }

    /// Opens the events on CPUs, disabled, whatever runs there.
    pub fn add_host(&mut self, cpus: &[Cpu]) -> Result<(), OpenEventError> {
        for &cpu in cpus {
            let events = self.open(On::Cpu(cpu), Begin::WhenEnabled)?;
            self.target(Counted::Host, "host").opened.push(events);
        }
        Ok(())
    }

    /// Opens the events on a cgroup, disabled: what runs in it, or below it, is counted from the moment it is there until it leaves. Such events
    /// are of CPUs, and want a plan of [`super::Scope::Host`].
    ///
    /// # Errors
    /// Also if `directory` is no cgroup of the hierarchy that has the perf_event controller.
    pub fn add_cgroup(
        &mut self,
        cgroup: CgroupId,
        directory: &File,
        name: &str,
        cpus: &[Cpu],
    ) -> Result<(), OpenEventError> {
        let open = |cpu: &Cpu| {
            let on = On::Cgroup(cgroup, directory, *cpu);
            self.open(on, Begin::WhenEnabled)
        };
        let opened: Vec<Opened> = cpus.iter().map(open).collect::<Result<_, _>>()?;
        let target = self.target(Counted::Cgroup(cgroup), name);
        target.opened.extend(opened);
        Ok(())
    }

    /// Closes the events of a cgroup.
    pub fn remove_cgroup(&mut self, cgroup: CgroupId) {
        let of_others = |target: &Target| target.counted != Counted::Cgroup(cgroup);
        self.targets.retain(of_others);
    }

    /// Closes the events of a process, with all that was inherited from them.
    pub fn remove(&mut self, pid: Pid) {
        let of_others = |target: &Target| target.counted != Counted::Process(pid);
        self.targets.retain(of_others);
    }

    /// Starts all events that do not begin with an `exec`.
    pub fn enable(&mut self) -> io::Result<()> {
        self.for_each_leader(|begin, counter| match begin {
            Begin::WhenEnabled => counter.enable(),
            Begin::OnExec => Ok(()),
        })
    }

    /// Stops all events.
    pub fn disable(&mut self) -> io::Result<()> {
        self.for_each_leader(|_, counter| counter.disable())
    }

    /// Of the events that must run together the leader stands for all.
    fn for_each_leader(
        &mut self,
        mut switch: impl FnMut(Begin, &mut Counter) -> io::Result<()>,
    ) -> io::Result<()> {
        let group = self.plan.hardware_group;
        for opened in self.targets.iter_mut().flat_map(|t| &mut t.opened) {
            let mut leader_seen = false;
            for (event, counter) in self.plan.events.iter().zip(&mut opened.counters) {
                // The group's members start with their leader.
                let is_member = Some(event.group) == group && leader_seen;
                leader_seen |= Some(event.group) == group;
                if !is_member {
                    switch(opened.begin, counter)?;
                }
            }
        }
        Ok(())
    }

    /// The counts since the start, one entry for each target in the order added.
    pub fn read(&mut self) -> io::Result<Vec<ProcessCounts>> {
        let Counters { plan, targets, .. } = self;
        targets
            .iter_mut()
            .map(|target| {
                let mut counts: Vec<Count> = plan.events.iter().map(nothing_yet).collect();
                for opened in &mut target.opened {
                    for (count, counter) in counts.iter_mut().zip(&mut opened.counters) {
                        add(count, counter)?;
                    }
                }
                Ok(ProcessCounts {
                    pid: match target.counted {
                        Counted::Process(pid) => Some(pid),
                        Counted::Cgroup(_) | Counted::Host => None,
                    },
                    comm: Arc::clone(&target.comm),
                    counts,
                })
            })
            .collect()
    }

    fn open(&self, on: On<'_>, begin: Begin) -> Result<Opened, OpenEventError> {
        let mut counters: Vec<Counter> = Vec::with_capacity(self.plan.events.len());
        let mut leader = None;
        for (index, event) in self.plan.events.iter().enumerate() {
            let mut builder: Builder<'_> = counting(event.resolved, event.spec.modes);
            match on {
                On::Thread(_, tid) => {
                    builder.observe_pid(tid.0.cast_signed()).any_cpu();
                    builder.inherit(self.children == Children::Counted);
                }
                On::Cpu(cpu) => {
                    builder.any_pid().one_cpu(cpu.0 as usize);
                }
                On::Cgroup(_, directory, cpu) => {
                    builder.observe_cgroup(directory).one_cpu(cpu.0 as usize);
                }
            }
            let in_group = Some(event.group) == self.plan.hardware_group;
            let result = match leader.filter(|_| in_group) {
                Some(leader) => {
                    // Counts whenever its leader does.
                    let leader: &mut Counter = &mut counters[leader];
                    builder.enabled(true).build_with_group(leader)
                }
                None => builder.enable_on_exec(begin == Begin::OnExec).build(),
            };
            let counter =
                result.map_err(|error| OpenEventError::new(&event.spec, on.place(), &error))?;
            counters.push(counter);
            if in_group && leader.is_none() {
                leader = Some(index);
            }
        }
        Ok(Opened { counters, begin })
    }

    fn target(&mut self, counted: Counted, comm: &str) -> &mut Target {
        let is_it = |target: &Target| target.counted == counted;
        let known = self.targets.iter().position(is_it);
        let position = known.unwrap_or_else(|| {
            self.targets.push(Target {
                counted,
                comm: comm.into(),
                opened: Vec::new(),
            });
            self.targets.len() - 1
        });
        &mut self.targets[position]
    }
}

fn nothing_yet(event: &Planned) -> Count {
    Count {
        event: event.spec.clone(),
        value: 0,
        enabled: Duration::ZERO,
        running: Duration::ZERO,
        group: event.group,
    }
}

fn add(count: &mut Count, counter: &mut Counter) -> io::Result<()> {
    let data = counter.read_full()?;
    count.value = count.value.saturating_add(data.count());
    count.enabled += data.time_enabled().unwrap_or_default();
    count.running += data.time_running().unwrap_or_default();
    Ok(())
}
