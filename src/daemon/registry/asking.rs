//! What is asked of the targets: to attach, to detach.

use nix::errno::Errno;

use super::super::authorize::no_descriptor;
use super::super::clients::ClientId;
use super::super::config::Sampling;
use super::super::finder::{Found, Thoroughly};
use super::super::kept::Kept;
use super::super::selector::Selector;
use super::super::target::{Owner, State, Target, Ticket};
use super::{Registry, Said, no_such};
use crate::control::EndReason;
use crate::model::{AskedEvent, EventSource, Fault, FaultClass, Pid, Rate, TargetId};
use crate::session::engine::{Authority, Member};
use crate::sys::pidfd::PidFd;

/// A target that somebody asks for, who has been authorised to.
#[derive(Debug)]
pub struct Asked {
    /// What.
    pub selector: Selector,
    /// For a pid: the process that is meant.
    pub pidfd: Option<PidFd>,
    /// For a pid: its living descendants too.
    pub with_tree: bool,
    /// What it is called; the selector's text if there is no name.
    pub name: Option<String>,
    /// How it is sampled.
    pub sampling: Sampling,
    /// Who asks.
    pub owner: Owner,
    /// On whose authority.
    pub authority: Authority,
    /// The connection that it ends with, if it does.
    pub ends_with: Option<ClientId>,
}

impl Registry {
    /// Takes a target in. The answer is [`Said::Attached`] or [`Said::Refused`].
    ///
    /// # Errors
    /// A limit, a name that is in use, or a selector of which nothing runs.
    pub fn attach(&mut self, asked: Asked, ticket: Ticket) -> Result<TargetId, Fault> {
        if self.is_stopping {
            return Err(Fault::new(FaultClass::Unavailable, "the daemon ends"));
        }
        self.check_limits(&asked)?;
        let name = self.free_name(asked.name.as_deref(), &asked.selector)?;
        let members = self.members_of(&asked)?;
        let id = self.new_id();
        let held = match members.first() {
            Some(Member::Process { pidfd, .. }) if !asked.selector.may_return() => {
                pidfd.try_clone().ok()
            }
            _ => None,
        };
        let given = members.iter().filter_map(pid_of).collect();
        let kept = Kept::new(self.config.limits.snapshot);
        let target = Target {
            with_tree: asked.with_tree,
            ends_with: asked.ends_with,
            files: self.config.files.targets == super::super::config::Kept::All,
            asked: Some(ticket),
            held,
            given,
            ..Target::waiting(
                id,
                name,
                asked.selector,
                asked.sampling,
                asked.owner,
                asked.authority,
                kept,
            )
        };
        self.targets.insert(id, target);
        if let Err(fault) = self.give(id, members) {
            self.targets.remove(&id);
            return Err(fault);
        }
        Ok(id)
    }

    /// Ends a target: its last window follows, and then its end.
    ///
    /// # Errors
    /// There is none of this number.
    pub fn detach(&mut self, id: TargetId, reason: EndReason) -> Result<(), Fault> {
        let target = self.targets.get_mut(&id).ok_or_else(|| no_such(id))?;
        if target.ending.is_some() {
            return Ok(());
        }
        target.ending = Some(reason);
        match target.state {
            State::With { engine, part, .. } => self.engines.detach(engine, part),
            State::Waiting { .. } => self.end(id, reason),
        }
        Ok(())
    }

    /// A connection has ended, and so do the targets that end with it.
    pub fn client_left(&mut self, client: ClientId) {
        let of_client = |target: &&Target| target.ends_with == Some(client);
        let ids: Vec<TargetId> = self
            .targets
            .values()
            .filter(of_client)
            .map(Target::id)
            .collect();
        for id in ids {
            let _ = self.detach(id, EndReason::OwnerLeft);
        }
    }

    /// The daemon ends: so do all targets.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        let ids: Vec<TargetId> = self.targets.keys().copied().collect();
        for id in ids {
            let _ = self.detach(id, EndReason::Stopping);
        }
    }

    fn check_limits(&self, asked: &Asked) -> Result<(), Fault> {
        let limit = |what: String| Err(Fault::new(FaultClass::Limit, what));
        let limits = &self.config.limits;
        let (n_alive, n_ending) = self.count(|_| true);
        if n_alive >= limits.targets {
            return limit(format!(
                "there are {n_alive} targets; limits.targets is {}",
                limits.targets
            ));
        }
        // Those that end have left their places to others, but are not gone yet: whoever comes and goes all the time waits for that.
        if n_ending >= limits.targets {
            return for_a_moment(format!("{n_ending} targets are just ending"));
        }
        let Authority::User { kernel, .. } = asked.authority else {
            return Ok(());
        };
        let (n_theirs, n_ending) = self.count(|target| target.owner == asked.owner);
        if n_theirs >= limits.targets_per_user {
            return limit(format!(
                "you have {n_theirs} targets; limits.targets_per_user is {}",
                limits.targets_per_user
            ));
        }
        if n_ending >= limits.targets_per_user {
            return for_a_moment(format!("{n_ending} targets of yours are just ending"));
        }
        if !kernel {
            check_user_mode(&asked.sampling)?;
        }
        check_user_sampling(&asked.sampling, limits.user_frequency.0)
    }

    /// How many targets of some kind there are, and how many that are ending.
    fn count(&self, is_meant: impl Fn(&Target) -> bool) -> (usize, usize) {
        let meant = self.targets.values().filter(|target| is_meant(target));
        let (ending, alive): (Vec<&Target>, Vec<&Target>) =
            meant.partition(|target| target.ending.is_some());
        (alive.len(), ending.len())
    }

    fn free_name(&self, asked: Option<&str>, selector: &Selector) -> Result<String, Fault> {
        let is_taken = |name: &str| {
            let mut alive = self
                .targets
                .values()
                .filter(|target| target.ending.is_none());
            alive.any(|target| target.name == name)
        };
        match asked {
            Some(name) if is_taken(name) => {
                let what = format!("there is a target of the name {name:?} already");
                Err(Fault::new(FaultClass::Usage, what).hint("try: another name, or none"))
            }
            Some(name) => Ok(name.to_owned()),
            None => {
                let plain = selector.default_name().replace('/', "-");
                let numbered = (2..).map(|n| format!("{plain}-{n}"));
                let mut names = std::iter::once(plain.clone()).chain(numbered);
                Ok(names.find(|name| !is_taken(name)).unwrap_or(plain))
            }
        }
    }

    /// What an asked target consists of now.
    fn members_of(&mut self, asked: &Asked) -> Result<Vec<Member>, Fault> {
        let none = |what: String| Fault::new(FaultClass::NoSuchTarget, what);
        let selector = &asked.selector;
        match selector {
            Selector::Pid(pid) => {
                let pidfd = match &asked.pidfd {
                    Some(pidfd) => pidfd.try_clone(),
                    None => PidFd::open(*pid),
                };
                let pidfd = pidfd.map_err(|error| {
                    let errno = error.raw_os_error().map(Errno::from_raw);
                    let gone = || none(format!("attach pid {pid}: no such process"));
                    no_descriptor(*pid, errno).unwrap_or_else(gone)
                })?;
                Ok(vec![Member::Process {
                    pid: *pid,
                    pidfd,
                    with_tree: asked.with_tree,
                }])
            }
            Selector::Comm(comm) => {
                self.finder.look(std::iter::once(selector));
                let members: Vec<Member> = self
                    .finder
                    .named(comm)
                    .into_iter()
                    .filter_map(|pid| self.hold(pid, comm))
                    .collect();
                match members.is_empty() {
                    true => Err(
                        none(format!("attach comm {comm:?}: no process has this name"))
                            .hint("a [[target]] of the configuration waits until one has"),
                    ),
                    false => Ok(members),
                }
            }
            Selector::Host => Ok(vec![Member::Host]),
            Selector::Cgroup(_) | Selector::Unit(_) | Selector::Container(_) => {
                match self.finder.cgroup(selector, Thoroughly::Now) {
                    Some(Found::Cgroup(path, dir)) => Ok(vec![Member::Cgroup { path, dir }]),
                    _ if !self.finder.has_cgroups() => Err(Fault::new(
                        FaultClass::Unavailable,
                        format!("attach {selector}: cgroup v2 is not mounted"),
                    )),
                    _ => Err(none(format!("attach {selector}: there is no such cgroup"))
                        .hint("a [[target]] of the configuration waits until there is")),
                }
            }
        }
    }

    /// A process of a name, as a member.
    pub(super) fn hold(&self, pid: Pid, comm: &str) -> Option<Member> {
        let pidfd = self.finder.hold(pid, comm)?;
        Some(Member::Process {
            pid,
            pidfd,
            with_tree: false,
        })
    }

    /// Gives members of a target to an engine: the one that it is with, or one of its way of sampling.
    pub(super) fn give(&mut self, id: TargetId, members: Vec<Member>) -> Result<(), Fault> {
        let target = self.targets.get(&id).ok_or_else(|| no_such(id))?;
        let authority = target.authority;
        let n_members = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let sequence = target.sequence;
        let (engine, part, first_window) = match target.state {
            State::With {
                engine,
                part,
                first_window,
                ..
            } => (engine, part, first_window),
            State::Waiting { .. } => {
                let way = super::Way::new(target.sampling.clone(), &self.config);
                let (engine, is_new) = self.engines.engine_for(&way)?;
                if is_new {
                    self.say(Said::EngineStarted(engine, Box::new(way)));
                }
                // An engine's number is another after each restart, so that late words of the earlier one are not taken for its own.
                let part = self.new_part();
                self.parts.insert(part, id);
                (engine, part, sequence)
            }
        };
        if let Some(target) = self.targets.get_mut(&id) {
            let (before, is_attached) = match target.state {
                State::With {
                    unanswered,
                    is_attached,
                    ..
                } => (unanswered, is_attached),
                State::Waiting { .. } => (0, false),
            };
            target.state = State::With {
                engine,
                part,
                first_window,
                unanswered: before.saturating_add(n_members),
                is_attached,
            };
        }
        for member in members {
            self.engines.attach(engine, part, member, authority);
        }
        Ok(())
    }
}

/// A limit that holds until what is ending has ended.
fn for_a_moment(what: String) -> Result<(), Fault> {
    Err(Fault::new(FaultClass::Limit, what).hint("try again in a moment"))
}

fn pid_of(member: &Member) -> Option<Pid> {
    match member {
        Member::Process { pid, .. } => Some(*pid),
        Member::Cgroup { .. } | Member::Host => None,
    }
}

/// Of an event in kernel mode alone there would be no sample that the user may see.
fn check_user_mode(sampling: &Sampling) -> Result<(), Fault> {
    let in_kernel = |event: &&AskedEvent| !event.spec.modes.user;
    match sampling.events.iter().find(in_kernel) {
        None => Ok(()),
        Some(event) => Err(Fault::new(
            FaultClass::Permission,
            format!("event {event}: sampling the kernel is not permitted to this user"),
        )
        .hint("it is where kernel.perf_event_paranoid is 1 or less")),
    }
}

/// Events are on whole CPUs, so that what a user asks for costs everybody: the kernel's own events alone, no more often than the limit says.
fn check_user_sampling(sampling: &Sampling, most: u64) -> Result<(), Fault> {
    let limit = |what: String| {
        let fault = Fault::new(FaultClass::Limit, what);
        Err(fault.hint(format!(
            "try: {most} or less; administrators may ask for more"
        )))
    };
    if sampling.frequency.0 > most {
        return limit(format!(
            "frequency {}; limits.user_frequency is {most}",
            sampling.frequency.0
        ));
    }
    for event in &sampling.events {
        let is_known = matches!(
            event.spec.source,
            EventSource::Hardware(_) | EventSource::Software(_) | EventSource::Cache(..)
        );
        if !is_known {
            let what = format!(
                "event {}: only administrators may sample tracepoints, breakpoints and events of a PMU by number",
                event.spec
            );
            return Err(Fault::new(FaultClass::Permission, what).hint("see: perfd list"));
        }
        match event.rate {
            Some(Rate::Period(_)) => {
                let what = format!("event {event}: only administrators may sample by period");
                return Err(
                    Fault::new(FaultClass::Permission, what).hint("try: freq= in its place")
                );
            }
            Some(Rate::Frequency(hz)) if hz.0 > most => {
                return limit(format!("event {event}; limits.user_frequency is {most}"));
            }
            Some(Rate::Frequency(_)) | None => (),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hz;

    #[test]
    fn who_may_not_see_the_kernel_is_refused_events_of_the_kernel_alone() {
        let sampling = |event: &str| Sampling {
            events: vec!["page-faults", event]
                .into_iter()
                .map(|event| event.parse().expect("an event"))
                .collect(),
            frequency: Hz(19),
            python: false,
        };
        for event in ["cpu-clock", "cpu-clock:u", "cpu-clock:uk"] {
            assert_eq!(check_user_mode(&sampling(event)), Ok(()), "{event}");
        }
        let refused = check_user_mode(&sampling("cpu-clock:k")).expect_err("refused");
        assert_eq!(refused.class, FaultClass::Permission);
        assert!(refused.what.contains("cpu-clock:k"), "{refused}");
    }
}
