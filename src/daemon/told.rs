//! What the log says of targets and engines.

use super::log::Log;
use super::registry::{Registry, Said};
use super::target::Target;
use crate::control::EndReason;
use crate::sink::encode::figures::n_of;

/// Tells of a change of state, in one line.
pub(super) fn tell(log: &Log, registry: &Registry, said: &Said) {
    let name = |id| {
        registry
            .target(id)
            .map_or(String::new(), |target| format!(" {}", target.name()))
    };
    match said {
        Said::Attached { target, .. } => {
            log.info(format!("target {}{}: attached", target.0, name(*target)));
        }
        // Who asked has the reason; the log has its class alone, since the reason may speak of a user's process.
        Said::Refused { target, fault, .. } => {
            log.info(format!("target {}: refused ({:?})", target.0, fault.class));
        }
        Said::Marked {
            target,
            phase,
            sequence,
            ..
        } => {
            let what = match phase {
                None => "its phase ends before",
                Some(_) => "a phase begins with",
            };
            log.info(format!(
                "target {}{}: {what} window {sequence}",
                target.0,
                name(*target)
            ));
        }
        Said::Waits { target, why } => {
            let why = why
                .as_ref()
                .map_or("it has ended".to_owned(), ToString::to_string);
            log.info(format!(
                "target {}{}: waits: {why}",
                target.0,
                name(*target)
            ));
        }
        Said::Ended { target, reason } => log.info(ended(target, *reason)),
        Said::EngineStarted(id, way) => {
            let events: Vec<String> = way
                .sampling
                .events
                .iter()
                .map(ToString::to_string)
                .collect();
            let events = if events.is_empty() {
                "default events".to_owned()
            } else {
                events.join(", ")
            };
            log.info(format!(
                "engine {}: started, {events}, {}",
                id.0, way.sampling.frequency
            ));
        }
        Said::EngineEnded(id, None) => log.info(format!("engine {}: ended", id.0)),
        Said::EngineEnded(id, Some(fault)) => {
            log.error(format!(
                "engine {}: failed: {fault}; its targets are taken up again",
                id.0
            ));
        }
        Said::Window { .. } | Said::SoFar { .. } => (),
    }
}

fn ended(target: &Target, reason: EndReason) -> String {
    let why = match reason {
        EndReason::Exited => "exited",
        EndReason::Elevated => "has become a program that its user may not profile",
        EndReason::Detached => "detached",
        EndReason::OwnerLeft => "its client has left",
        EndReason::Unconfigured => "not configured any more",
        EndReason::Failed => "its engine failed",
        EndReason::Stopping => "the daemon ends",
        EndReason::Other => "ended",
    };
    let totals = target.totals();
    format!(
        "target {} {}: ended, {why}: {}, {}, {} lost",
        target.id().0,
        target.name(),
        n_of(totals.windows, "window", "windows"),
        n_of(totals.samples, "sample", "samples"),
        totals.lost
    )
}
