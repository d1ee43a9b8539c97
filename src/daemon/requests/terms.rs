//! The protocol's words as the daemon's own.

use super::super::clients::ClientLimits;
use super::super::config::{Config, Sampling};
use super::super::registry::Owner;
use super::super::selector::Selector;
use super::super::target::Target;
use crate::control::{Attach, TargetChoice};
use crate::model::{AskedEvent, EventIdx, Fault, FaultClass, Hz, ParseEventError, Rate};
use crate::sink::{Measure, View};

/// Limits of clients under a configuration.
pub fn client_limits(config: &Config) -> ClientLimits {
    let limits = &config.limits;
    ClientLimits {
        clients: limits.clients,
        clients_per_user: limits.clients_per_user,
        queue: usize::try_from(limits.client_queue).unwrap_or(usize::MAX),
        patience: limits.client_patience,
        ..ClientLimits::default()
    }
}

pub(super) fn uid(owner: Owner) -> Option<u32> {
    match owner {
        Owner::Configuration => None,
        Owner::User { uid } => Some(uid),
    }
}

pub(super) fn selector(choice: &TargetChoice) -> Result<Selector, Fault> {
    let made = match choice {
        TargetChoice::Pid(pid) => Selector::pid(u64::from(*pid)),
        TargetChoice::Comm(comm) => Selector::comm(comm),
        TargetChoice::Cgroup(path) => Selector::cgroup(path),
        TargetChoice::Unit(unit) => Selector::unit(unit),
        TargetChoice::Container(id) => Selector::container(id),
        TargetChoice::Host => Ok(Selector::Host),
    };
    made.map_err(|error| Fault::new(FaultClass::Usage, format!("target: {error}")))
}

pub(super) fn choice(selector: &Selector) -> TargetChoice {
    match selector {
        Selector::Pid(pid) => TargetChoice::Pid(pid.0),
        Selector::Comm(comm) => TargetChoice::Comm(comm.clone()),
        Selector::Cgroup(path) => TargetChoice::Cgroup(path.display().to_string()),
        Selector::Unit(unit) => TargetChoice::Unit(unit.clone()),
        Selector::Container(id) => TargetChoice::Container(id.clone()),
        Selector::Host => TargetChoice::Host,
    }
}

/// How a target is sampled: as the daemon's configuration says, but for what the request says.
pub(super) fn sampling(attach: &Attach, default: &Sampling) -> Result<Sampling, Fault> {
    let usage = |what: String| Fault::new(FaultClass::Usage, what);
    let mut events: Vec<AskedEvent> = Vec::new();
    for text in attach.events.iter().flatten() {
        let event: AskedEvent = text.parse().map_err(|error: ParseEventError| {
            let fault = usage(format!("events: {error}"));
            match error.nearest() {
                Some(nearest) => fault.hint(format!("did you mean {nearest}?")),
                None => fault,
            }
            .hint("try: perfd list")
        })?;
        if events.contains(&event) {
            return Err(usage(format!("events: {text:?} stands there twice")));
        }
        events.push(event);
    }
    let frequency = match attach.frequency {
        Some(hz) if hz > Rate::MAX_FREQUENCY.0 => {
            let most = Rate::MAX_FREQUENCY.0;
            return Err(usage(format!(
                "frequency: {hz} is not a number from 1 to {most}"
            )));
        }
        Some(hz) => Hz(hz),
        None => default.frequency,
    };
    Ok(Sampling {
        events: match attach.events {
            Some(_) => events,
            None => default.events.clone(),
        },
        frequency,
        python: attach.python || default.python,
    })
}

/// What is shown of a target, where one event is.
pub(super) fn view(target: &Target, show: Option<&str>) -> Result<View, Fault> {
    let events = target.events();
    let event = match show {
        None => Some(0),
        Some(show) => events.iter().position(|event| event == show),
    };
    let event = event.ok_or_else(|| {
        let what = format!(
            "show: {:?} is not one of the events",
            show.unwrap_or_default()
        );
        Fault::new(FaultClass::Usage, what).hint(format!("the events are {}", events.join(", ")))
    })?;
    Ok(View {
        event: EventIdx(event),
        measure: Measure::Weight,
    })
}
