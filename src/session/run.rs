//! A run from its spec to its end, in the order in which things are opened and started.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::foundation::{self, Extent, Foundation};
use super::members::Members;
use super::meter::Meter;
use super::names::Names;
use super::outcome::{Observer, Outcome};
use super::outputs::Outputs;
use super::running::{Ended, Running};
use super::spec::Spec;
use super::{attach, opening};
use crate::model::RunInfo;
use crate::sampler::Reach;
use crate::sys::signals::Signals;
use crate::sys::spawn::Prepared;
use crate::sys::{self, limits};
use crate::target::{self, Selection};

/// How long a command waits for the tables that it will most likely need first. Those of a shell's or an interpreter's files take a
/// few ms; those of a large compiler come when it runs already.
const FORESIGHT: Duration = Duration::from_millis(20);

/// How long the sampling of running processes waits for their tables, so that the first samples are not copied, and cut: a large compiler's
/// take less than 0.2 s, and no target waits with perfd.
const BEFORE_SAMPLES: Duration = Duration::from_millis(300);

/// Does a run.
pub fn run(spec: &Spec, observer: &mut impl Observer) -> anyhow::Result<Outcome> {
    let signals = Signals::block().context("block the signals that end a run")?;
    // Before anything is opened or a limit raised: the command inherits neither.
    let prepared = opening::prepare_command(spec)?;
    // A soft limit below the hard one is only a default; running short says so itself.
    let _ = limits::raise_open_files();
    let selection = opening::selection(spec);
    let found = target::find(&spec.roots.proc, &selection).map_err(|error| error.fault())?;
    let members = match selection {
        Selection::Host => Members::Everybody,
        _ => Members::Known,
    };
    let Foundation {
        mut stages,
        jit,
        begin,
        waker,
        cpus,
        notes,
    } = foundation::lay(spec, &selection, members, Extent::Run)?;
    let reach = stages.sampling.plan().reach;
    let run_info = Arc::new(opening::describe(
        spec,
        &stages.sampling,
        opening::target_text(&spec.target),
        notes,
    ));
    let sinks = opening::sinks(spec, &run_info)?;
    let mut open = attach::Opened {
        spec,
        stages: &mut stages,
    };
    let is_host = selection == Selection::Host;
    if reach == Reach::Cpus {
        open.cpus()?;
    }
    let mut targets = Vec::with_capacity(found.len());
    for process in found {
        let is_named = opening::is_named(&selection, process.pid);
        match open.process(process) {
            // A descendant may end before its turn comes.
            Err(error) if !is_named && opening::is_gone(&error) => (),
            opened => targets.push(opened?),
        }
    }
    match &prepared {
        _ if is_host => open.host(&cpus)?,
        Some(prepared) => open.command(prepared, &opening::command_name(spec))?,
        None => (),
    }
    let run_info = match stages.counters.given_up() {
        None => run_info,
        Some(why) => {
            let mut run = RunInfo::clone(&run_info);
            run.notes.push(why.clone());
            Arc::new(run)
        }
    };

    let outputs = Outputs::start(sinks, &waker).context("start the output threads")?;
    let open_outputs = outputs.open_count();
    let names = Names::start(
        run_info.clone(),
        spec.naming.clone(),
        begin,
        jit,
        spec.jit,
        outputs,
    )
    .context("start the names thread")?;
    if prepared.is_some() {
        stages.pipeline.wait_for_tables(FORESIGHT);
    } else if stages.sampling.is_walked_in_kernel() {
        stages.pipeline.wait_for_tables(BEFORE_SAMPLES);
    }
    let started = sys::now();
    stages.meter = Meter::start(spec.roots.proc.clone());
    if is_host && spec.delay.is_zero() {
        // Before the command starts, which is to be in it from its first instruction.
        stages.enable()?;
    }
    let child = match prepared.map(Prepared::start).transpose() {
        Ok(child) => child,
        Err(error) => {
            // Files that were made for it are taken away again.
            names.finish().destination.finish();
            return Err(error.fault().into());
        }
    };
    // Not before: who asked for what cannot be started has no use for them.
    run_info.notes.iter().for_each(|note| observer.note(note));
    let mut running = Running::new(
        spec,
        started,
        stages,
        names,
        targets,
        child,
        open_outputs,
        waker,
        signals,
    )?;
    let ended = running.until_end(observer);
    observer.sampling_ended();
    match ended {
        Ok(ended) => running.finish(ended),
        // What was sampled until then is written all the same.
        Err(error) => running.finish(Ended::Failed).and(Err(error)),
    }
}
