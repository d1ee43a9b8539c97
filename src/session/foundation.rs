//! What every run stands on, opened before it is known of any process: events, rings, programs, tables.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::account::Earlier;
use super::held::Held;
use super::jit_reader::JitReader;
use super::members::Members;
use super::meter::Meter;
use super::pipeline::Pipeline;
use super::python::{Interpreters, Reading};
use super::python_reader::PythonReader;
use super::spec::Spec;
use super::stages::Stages;
use super::tables::Tables;
use super::{events, kernel_walk, opening};
use crate::aggregate::Timeline;
use crate::bpf::{KernelWalk, Python, Room};
use crate::model::{CallGraph, Cpu, Rate};
use crate::parser::Begin;
use crate::procfs::cpus;
use crate::sampler::{CopySize, PlannedEvent, Reach, SamplePlan, Sampling};
use crate::symbolize::jit::Codes;
use crate::sys::{self, Waker};
use crate::target::{Processes, Selection};

/// Stages in which nothing is sampled yet, and what belongs to them.
pub(super) struct Foundation {
    pub(super) stages: Stages,
    pub(super) jit: Arc<dyn Codes>,
    /// That of children, if files are read in such.
    pub(super) begin: Option<Begin>,
    /// Woken by their workers.
    pub(super) waker: Waker,
    pub(super) cpus: Vec<Cpu>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

/// How much there is to be room for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// As much as the fastest run may need: it will not be long.
    Run,
    /// What follows from the rates, for good.
    Engine {
        /// Processes at a time.
        processes: usize,
        /// How often what the kernel has walked is taken in.
        walked_every: Duration,
    },
}

impl Extent {
    fn room(self, events: &[PlannedEvent], n_cpus: usize) -> Room {
        match self {
            Extent::Run => Room::default(),
            Extent::Engine {
                processes,
                walked_every,
            } => Room::for_samples(
                samples_in(walked_every, events, n_cpus),
                u32::try_from(processes).unwrap_or(u32::MAX),
            ),
        }
    }

    /// Pages of each ring, if that is not left to what fits the host.
    fn ring_pages(self, events: &[PlannedEvent]) -> Option<usize> {
        let Extent::Engine { .. } = self else {
            return None;
        };
        let copies = samples_in(RING_LASTS, events, 1).saturating_mul(LARGEST_SAMPLE);
        let bytes = usize::try_from(copies).unwrap_or(usize::MAX);
        let bytes = bytes.clamp(SMALLEST_RING, LARGEST_RING);
        Some((bytes / sys::page_size()).next_power_of_two())
    }
}

/// So long a ring of an engine has room for the samples of a CPU, if the kernel can walk none of them.
const RING_LASTS: Duration = Duration::from_millis(250);
/// A copy of a stack, and what goes with it.
const LARGEST_SAMPLE: u64 = 1 << 16;
/// Room for some thousand records of processes that come and go.
const SMALLEST_RING: usize = 512 << 10;
const LARGEST_RING: usize = 8 << 20;

/// The most samples that come in so long.
fn samples_in(time: Duration, events: &[PlannedEvent], n_cpus: usize) -> u64 {
    let a_second: u64 = events
        .iter()
        .map(|event| match event.rate {
            Rate::Frequency(hz) => hz.0,
            Rate::Period(_) => u64::MAX,
        })
        .fold(0, u64::saturating_add);
    let samples = u128::from(a_second) * n_cpus as u128 * time.as_millis() / 1000;
    u64::try_from(samples).unwrap_or(u64::MAX).max(1)
}

/// Lays it for what a spec asks for; `members` are whom its samples count for.
pub(super) fn lay(
    spec: &Spec,
    selection: &Selection,
    members: Members,
    extent: Extent,
) -> anyhow::Result<Foundation> {
    let (events, mut notes) =
        events::choose(&spec.events, spec.rate, events::scope(spec), &spec.roots)?;
    let cpus = cpus::online(&spec.roots).context("list the CPUs")?;
    let room = extent.room(&events, cpus.len());
    let ring_pages = spec.ring_pages.or_else(|| extent.ring_pages(&events));
    let mut processes = Processes::new(spec.roots.proc.clone());
    let python = match spec.python {
        true => Python::Read(Interpreters::module(&mut processes.modules)),
        false => Python::Leave,
    };
    let kernel_walk::Choice {
        kernel_walk,
        reach,
        note,
    } = kernel_walk::choose(spec, &events, python, room)?;
    notes.extend(note);
    let copy_size = match (&kernel_walk, &members) {
        // Only what the kernel cannot walk is copied; and the processes of targets that come and go have no depth in common.
        (Some(_), _) | (_, Members::OfTargets(_)) => CopySize::fixed(CallGraph::MAX_COPY),
        (None, _) => opening::copy_size(spec),
    };
    let plan = SamplePlan {
        events,
        stack_source: opening::stack_source(spec.call_graph, &copy_size),
        reach: match members {
            // perfd picks what the kernel does not.
            Members::OfTargets(_) => Reach::Cpus,
            Members::Known | Members::Everybody => reach,
        },
        inherit: spec.inherit,
    };
    let mut sampling = Sampling::new(plan, &cpus, ring_pages).map_err(opening::ring_fault)?;
    let table_loader = kernel_walk.as_ref().map(KernelWalk::table_loader);
    if let Some(kernel_walk) = kernel_walk {
        sampling.walk_in_kernel(kernel_walk);
    }
    notes.extend(opening::ring_note(spec, &sampling));
    let counters = opening::counters(spec, &sampling, selection, &cpus, &mut notes)?;

    let waker = Waker::new().context("create an eventfd")?;
    let begin = opening::children(spec);
    let tables = Tables::start(
        &spec.roots.proc,
        begin.as_ref(),
        &waker,
        table_loader.as_ref(),
        spec.table_budget,
    )
    .context("start the table workers")?;
    let jit = opening::codes(spec, begin.as_ref());
    let mut pipeline = Pipeline::new(
        processes,
        tables,
        sampling.plan(),
        copy_size,
        spec.labels,
        spec.timestamps.then(Timeline::new),
        members,
    );
    let reader = JitReader::start(jit.clone(), &waker).context("start the reader of JIT files")?;
    pipeline.held = Held::new(reader);
    if spec.python {
        let reading = match &begin {
            None => Reading::Here(spec.roots.proc.clone()),
            Some(begin) => {
                let reader = PythonReader::start(begin.clone(), &waker);
                Reading::InChild(reader.context("start the reader of interpreters")?)
            }
        };
        pipeline.python = Some(Interpreters::new(reading));
    }
    let stages = Stages {
        unconfirmed: Vec::new(),
        earlier: vec![Earlier::default(); sampling.plan().events.len()],
        sampling,
        counters,
        pipeline,
        reopened_gap_ns: 0,
        meter: Meter::start(spec.roots.proc.clone()),
        rate_changes: Vec::new(),
        side_band_lost: 0,
        lost_before: (0, 0),
        walked_until: sys::now(),
    };
    Ok(Foundation {
        stages,
        jit,
        begin,
        waker,
        cpus,
        notes,
    })
}
