//! Samples a program with perfd's own library: registers, whole stack copies, mappings, tables.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use perfd::model::{
    CallGraph, EventSource, EventSpec, Hz, Module, ModuleId, Modules, MonoNs, Pid, Rate, RawSample,
    SoftwareEvent,
};
use perfd::object::{Elf, ReadAt};
use perfd::procfs::{SysRoots, cpus, event_source, module_file};
use perfd::sampler::{Item, PlannedEvent, SamplePlan, Sampling, StackSource};
use perfd::sys::probe::{Scope, Use, permitted_modes};
use perfd::sys::spawn::{Prepared, Stdout};
use perfd::sys::{self, Poller, Start, Wakeup};
use perfd::target::Processes;
use perfd::unwind::Table;

use crate::scene::{Code, Sample, Scene};

const ROOTS: fn() -> SysRoots = SysRoots::default;
const RATE: Hz = Hz(1997);
/// Stacks of a recording are kept up to so many bytes.
const ENOUGH: usize = 48 << 20;
/// A record may still be on its way into another ring for so long.
const LATE: u64 = 2_000_000;

const RING: Wakeup = Wakeup(0);
const ENDED: Wakeup = Wakeup(1);

/// Runs a shell script in a folder, and samples it from its beginning to its end.
///
/// # Errors
/// Why it cannot be sampled here.
pub fn record(script: &str, folder: &Path) -> Result<Scene, String> {
    let script = format!("cd '{}' && {script}", folder.display());
    let command = ["sh", "-c", &script].map(OsString::from);
    let prepared = Prepared::fork(&command, Stdout::ToStderr).expect("fork");
    let (pid, tid) = (prepared.pid(), prepared.pid().main_thread());
    let mut sampling = open()?;
    let thread = Some((pid, tid));
    let opened = sampling
        .open_side_band(thread, Start::Enabled)
        .and_then(|()| sampling.open(thread, Start::OnExec));
    opened.map_err(|error| error.to_string())?;

    let mut recording = Recording {
        processes: Processes::new(ROOTS().proc),
        files: HashMap::new(),
        last_space: HashMap::new(),
        n_bytes: 0,
        scene: Scene::default(),
    };
    recording.processes.add_empty(pid, b"sh", MonoNs(0));
    let mut child = prepared.start().expect("sh is installed");
    let poller = Poller::new().expect("an epoll");
    for ring in sampling.descriptors() {
        poller.add_edge(ring, RING).expect("add a ring");
    }
    poller.add(child.pidfd(), ENDED).expect("add the child");
    let mut ready = Vec::new();
    while !ready.contains(&ENDED) {
        poller.wait(&mut ready).expect("wait");
        let horizon = MonoNs(sys::now().0.saturating_sub(LATE));
        sampling.drain(horizon, |item| recording.take(&item));
    }
    child.wait().expect("its status");
    sampling.drain(MonoNs(u64::MAX), |item| recording.take(&item));
    Ok(recording.finish())
}

fn open() -> Result<Sampling, String> {
    let spec = EventSpec::new(EventSource::Software(SoftwareEvent::CpuClock));
    let resolved = event_source::resolve(&ROOTS(), &spec.source).expect("a software event");
    let modes = permitted_modes(&spec, &resolved, Scope::Own, Use::SampleStacks)
        .map_err(|error| error.to_string())?;
    let plan = SamplePlan {
        events: vec![PlannedEvent {
            spec,
            resolved,
            rate: Rate::Frequency(RATE),
            modes,
        }],
        reach: perfd::sampler::Reach::Threads,
        stack_source: StackSource::Copy(CallGraph::MAX_COPY),
        inherit: true,
    };
    let cpus = cpus::online(&ROOTS()).expect("a list of CPUs");
    Sampling::new(plan, &cpus, None).map_err(|error| error.to_string())
}

struct Recording {
    processes: Processes,
    /// Opened while the process is there, read when it has ended.
    files: HashMap<ModuleId, Box<dyn ReadAt>>,
    /// Where in the scene the address space of a process is, as it was at its last sample.
    last_space: HashMap<Pid, usize>,
    n_bytes: usize,
    scene: Scene,
}

impl Recording {
    fn take(&mut self, item: &Item<'_>) {
        match item {
            Item::SideBand(time, record) => {
                if let Some(module) = self.processes.apply(*time, record)
                    && let Ok(file) = open_module(&self.processes.modules, module)
                {
                    self.files.insert(module, file);
                }
            }
            Item::Sample(sample) => self.take_sample(sample),
        }
    }

    fn take_sample(&mut self, sample: &RawSample<'_>) {
        let (Some(registers), Some(space)) = (sample.registers, self.processes.space(sample.pid))
        else {
            return;
        };
        if self.n_bytes > ENOUGH {
            return;
        }
        self.n_bytes += sample.stack.bytes.len();
        let spaces = &mut self.scene.spaces;
        let last = self.last_space.get(&sample.pid).copied();
        let is_same = |idx: &usize| spaces[*idx].iter().eq(space.iter());
        let idx = last.filter(is_same).unwrap_or_else(|| {
            spaces.push(space.as_ref().clone());
            spaces.len() - 1
        });
        self.last_space.insert(sample.pid, idx);
        self.scene.samples.push(Sample {
            space: idx,
            registers,
            stack: sample.stack.bytes.to_vec(),
        });
    }

    fn finish(mut self) -> Scene {
        let n_modules = u32::try_from(self.processes.modules.len()).expect("few");
        for module in 0..n_modules {
            let file = self.files.remove(&ModuleId(module));
            let elf = file.and_then(|file| Elf::parse(file).ok());
            let table = elf.and_then(|elf| Table::build(&elf).ok());
            self.scene
                .modules
                .push(table.map_or(Code::None, Code::Table));
        }
        self.scene
    }
}

fn open_module(
    modules: &Modules,
    module: ModuleId,
) -> Result<Box<dyn ReadAt>, module_file::OpenError> {
    let module: &Module = modules.get(module);
    module_file::open(&ROOTS().proc, module)
}
