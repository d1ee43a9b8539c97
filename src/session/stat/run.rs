//! The flow of `perfd stat`.

use anyhow::Context;

use super::super::refused::refused;
use super::across_runs::AcrossRuns;
use super::measure::{Measured, measure};
use super::output::{Output, Reader};
use super::spec::{Form, Over, StatSpec};
use super::{json, text};
use crate::model::Cpu;
use crate::procfs::cpus;
use crate::sampler::counters::{Plan, PlanError, Scope};
use crate::sys::signals::Signals;
use crate::sys::spawn::Status;

/// Counts as asked. Gives the status of the last run of the command, if there was one.
pub fn run(spec: &StatSpec, output: &mut Output<'_>) -> anyhow::Result<Option<Status>> {
    let signals = Signals::block().context("block the signals that end a run")?;
    let plan = plan(spec)?;
    let mut runs: Vec<Measured> = Vec::new();
    for number in 1..=spec.repeat {
        let measured = measure(spec, &plan, &signals, number, output)?;
        let reader = match spec.form {
            Form::Json => output.line(&json::of_run(number, &measured))?,
            Form::Text => Reader::There,
        };
        let stop = measured.interrupted || reader == Reader::Gone;
        runs.push(measured);
        if stop {
            break;
        }
    }
    let status = runs.last().and_then(|run| run.status);
    match spec.form {
        // The intervals have told all of it.
        Form::Text if spec.interval.is_some() && runs.len() == 1 => {}
        Form::Text => output.say(&text::summary(&spec.over, &runs)),
        Form::Json if runs.len() > 1 => {
            // The last line: whether it was read makes no difference any more.
            let _: Reader = output.line(&json::of_all_runs(&AcrossRuns::of(&runs)))?;
        }
        Form::Json => {}
    }
    Ok(status)
}

fn plan(spec: &StatSpec) -> anyhow::Result<Plan> {
    let scope = match spec.over {
        Over::Host(_) => Scope::Host(online_cpus(spec)?[0]),
        _ => Scope::Processes,
    };
    Plan::make(&spec.roots, &spec.events, scope).map_err(|error| match error {
        PlanError::Open(error) => refused(&spec.roots, &error).into(),
        PlanError::Resolve { event, cause } => {
            anyhow::Error::new(*cause).context(format!("count {event}"))
        }
    })
}

/// Never empty.
pub(super) fn online_cpus(spec: &StatSpec) -> anyhow::Result<Vec<Cpu>> {
    let online = cpus::online(&spec.roots).context("read which CPUs are online")?;
    anyhow::ensure!(!online.is_empty(), "no CPU is online");
    Ok(online)
}
