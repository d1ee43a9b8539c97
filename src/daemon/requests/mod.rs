//! What clients ask for: whether they may, and what becomes of it.
//!
//! Every request is authorised here, by `authorize.rs`, before anything else of it is looked at. What takes time is answered later: an engine's word, the
//! last window of a phase, a snapshot. A target that a client may not see is none for it.

mod attaching;
mod snapshotting;
mod terms;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::unistd::{Group, geteuid};

use super::authorize::Rules;
use super::clients::{ClientId, Clients, PhasedWindow, TailSpec};
use super::config::Config;
use super::outputs::Writable;
use super::places::Places;
use super::registry::{Registry, Said, Ticket};
use super::snapshot::Snapshots;
use super::target::Target;
use terms::{choice, uid, view};

use crate::control::{
    Detached, EndReason, Listed, ListedTarget, Mark, Marked, OutputAsked, Phase, Refusal,
    RefusalClass, Request, Stopping, Tail, Tailing, TargetState,
};
use crate::model::{Fault, FaultClass, TargetId};
use crate::procfs::SysRoots;
use crate::sys::unix_socket::Peer;
use crate::sys::{self, Waker};
pub use terms::client_limits;

/// A client that waits for an answer.
#[derive(Debug)]
struct Waiting {
    client: ClientId,
    id: Option<u64>,
    awaited: Awaited,
}

/// What a client waits for.
#[derive(Debug)]
enum Awaited {
    /// To be attached; with what is to be written, and where.
    Attached(Vec<(OutputAsked, Writable)>),
    /// That a phase begins.
    Marked,
    /// The windows of a snapshot.
    Snapshot(Box<snapshotting::Asked>),
    /// That the snapshot is made of them.
    Made,
}

/// One request, with all that came with it.
#[derive(Debug)]
pub struct Came<'a> {
    /// Whose.
    pub client: ClientId,
    /// Who that is.
    pub peer: &'a Peer,
    /// Its number.
    pub id: Option<u64>,
    /// What.
    pub request: Request,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// What requests work on.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The targets.
    pub registry: &'a mut Registry,
    /// Who is answered.
    pub clients: &'a mut Clients,
}

/// What a request means for the daemon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    GoOn,
    /// This request is to be answered with what the daemon does and takes.
    TellStats {
        /// Whose it is.
        client: ClientId,
        /// Its number.
        id: Option<u64>,
    },
    /// An administrator ends it.
    Stop,
}

/// Requests, and those that wait for their answers.
#[derive(Debug)]
pub struct Requests {
    rules: Rules,
    waiting: BTreeMap<Ticket, Waiting>,
    next_ticket: u64,
    snapshots: Snapshots,
    places: Places,
}

impl Requests {
    /// None yet. Answers of other threads wake `waker`.
    pub fn new(config: &Config, roots: SysRoots, waker: Waker) -> Requests {
        let mut requests = Requests {
            rules: Rules {
                admin_gid: None,
                own_uid: Some(geteuid().as_raw()),
                roots,
            },
            waiting: BTreeMap::new(),
            next_ticket: 1,
            snapshots: Snapshots::new(waker.clone()),
            places: Places::new(waker),
        };
        requests.configure(config);
        requests
    }

    /// Takes note of a configuration. A group that this host does not have has no members.
    pub fn configure(&mut self, config: &Config) {
        let group = config.admin_group.as_deref();
        let found = group.and_then(|name| Group::from_name(name).ok().flatten());
        self.rules.admin_gid = found.map(|group| group.gid.as_raw());
    }

    /// Does what is asked, or begins to.
    pub fn take(&mut self, came: Came<'_>, scene: &mut Scene<'_>) -> Outcome {
        let (client, id) = (came.client, came.id);
        match self.answer(came, scene) {
            Ok(outcome) => outcome,
            Err(fault) => {
                scene.clients.refuse(client, id, &Refusal::from(fault));
                Outcome::GoOn
            }
        }
    }

    fn answer(&mut self, came: Came<'_>, scene: &mut Scene<'_>) -> Result<Outcome, Fault> {
        let Came {
            client,
            peer,
            id,
            request,
            descriptors,
        } = came;
        match request {
            Request::Attach(attach) => self.attach(client, peer, id, attach, descriptors, scene)?,
            Request::Detach(detach) => {
                let target = self.seen(peer, detach.target, scene.registry)?.id();
                scene.registry.detach(target, EndReason::Detached)?;
                let detached = Detached {
                    target: detach.target,
                };
                scene.clients.answer(client, id, &detached);
            }
            Request::List(_) => {
                let listed = self.list(peer, scene);
                scene.clients.answer(client, id, &listed);
            }
            Request::Stats(_) => return Ok(Outcome::TellStats { client, id }),
            Request::Mark(Mark { target, phase }) => {
                let target = self.seen(peer, target, scene.registry)?.id();
                let ticket = self.wait(client, id, Awaited::Marked);
                let phase = phase.map(|phase| phase.0);
                if let Err(fault) = scene.registry.mark(target, phase, ticket) {
                    self.waiting.remove(&ticket);
                    return Err(fault);
                }
            }
            Request::Snapshot(snapshot) => {
                self.snapshot(client, peer, id, &snapshot, descriptors, scene)?;
            }
            Request::Tail(tail) => self.tail(client, peer, id, &tail, scene)?,
            Request::Shutdown(_) => {
                self.rules.admin_only(peer, "shutdown")?;
                scene.clients.answer(client, id, &Stopping {});
                return Ok(Outcome::Stop);
            }
        }
        Ok(Outcome::GoOn)
    }

    fn list(&self, peer: &Peer, scene: &Scene<'_>) -> Listed {
        let now = sys::now();
        let targets = scene.registry.targets();
        // Of those that are ending the names may be others' by now.
        let seen = targets.filter(|target| !target.is_ending() && self.may_see(peer, target));
        let targets = seen.map(|target| (target, target.present()));
        let targets = targets.map(|(target, (phase, sequence))| ListedTarget {
            target: target.id().0,
            name: target.name().to_owned(),
            what: choice(target.selector()),
            state: match target.is_running() {
                true => TargetState::Running,
                false => TargetState::Waiting,
            },
            why: target.why_not().map(str::to_owned),
            owner: uid(target.owner()),
            events: target.events(),
            phase: phase.map(|phase| Phase(phase.to_owned())),
            sequence,
            age_ns: u64::try_from(now.since(target.since()).as_nanos()).unwrap_or(u64::MAX),
            samples: target.totals().samples,
            lost: target.totals().lost,
            tails: scene.clients.tails_of(target.id().0) as u64,
            keep: target.is_kept(),
        });
        Listed {
            targets: targets.collect(),
        }
    }

    fn tail(
        &mut self,
        client: ClientId,
        peer: &Peer,
        id: Option<u64>,
        tail: &Tail,
        scene: &mut Scene<'_>,
    ) -> Result<(), Fault> {
        let target = self.seen(peer, tail.target, scene.registry)?;
        let spec = TailSpec {
            target: tail.target,
            format: tail.format,
            view: view(target, tail.show.as_deref())?,
            heartbeat: tail
                .heartbeat
                .map(|seconds| Duration::from_secs(seconds.into())),
        };
        let tailing = Tailing {
            target: tail.target,
            format: tail.format,
            events: target.events(),
            sequence: target.next_window(),
        };
        scene
            .clients
            .tail(client, spec, sys::now())
            .map_err(Refusal::into_fault)?;
        scene.clients.answer(client, id, &tailing);
        Ok(())
    }

    /// Hands on what the registry has to say to those whom it concerns.
    pub fn pass_on(&mut self, said: &Said, scene: &mut Scene<'_>) {
        match said {
            Said::Attached {
                target,
                ticket: Some(ticket),
                notes,
            } => self.attached(*target, *ticket, notes, scene),
            Said::Refused {
                ticket: Some(ticket),
                fault,
                ..
            } => {
                if let Some(waiting) = self.waiting.remove(ticket) {
                    let refusal = Refusal::from(fault.clone());
                    scene.clients.refuse(waiting.client, waiting.id, &refusal);
                }
            }
            Said::Window {
                target,
                phase,
                profile,
            } => {
                let window = PhasedWindow {
                    target: target.0,
                    phase: phase.clone().map(Phase),
                    profile: profile.clone(),
                };
                scene.clients.window(&window);
                self.places.window(*target, &window);
            }
            Said::Marked {
                ticket, sequence, ..
            } => {
                if let Some(waiting) = self.waiting.remove(ticket) {
                    let marked = Marked {
                        sequence: *sequence,
                    };
                    scene.clients.answer(waiting.client, waiting.id, &marked);
                }
            }
            Said::SoFar {
                target,
                ticket,
                sum,
                phase,
                lacks,
            } => {
                let of = snapshotting::SoFar {
                    phase: phase.as_ref(),
                    lacks: *lacks,
                };
                self.so_far(*target, *ticket, sum.as_ref(), of, scene);
            }
            Said::Ended { target, reason } => {
                if let Some(waiting) = target.asked.and_then(|ticket| self.waiting.remove(&ticket))
                {
                    let what = format!("target {} has ended before it was attached", target.id().0);
                    let refusal = Refusal::new(RefusalClass::NoSuchTarget, what);
                    scene.clients.refuse(waiting.client, waiting.id, &refusal);
                }
                scene.clients.end(target.id().0, *reason);
                self.places.end(target.id());
            }
            Said::Attached { ticket: None, .. }
            | Said::Refused { ticket: None, .. }
            | Said::Waits { .. }
            | Said::EngineStarted(..)
            | Said::EngineEnded(..) => (),
        }
    }

    /// Answers what other threads have done.
    pub fn answer_made(&mut self, scene: &mut Scene<'_>) {
        while let Some(made) = self.snapshots.next_made() {
            let Some(waiting) = self.waiting.remove(&made.ticket) else {
                continue;
            };
            match made.outcome {
                Ok(snapshot) => scene.clients.answer(waiting.client, waiting.id, &snapshot),
                Err(fault) => {
                    let refusal = Refusal::from(fault);
                    scene.clients.refuse(waiting.client, waiting.id, &refusal);
                }
            }
        }
    }

    /// A client has left: nobody waits any more.
    pub fn client_left(&mut self, client: ClientId) {
        let snapshots = &mut self.snapshots;
        self.waiting.retain(|ticket, waiting| {
            // Its outputs are kept until the answer comes: a target with `keep` goes on.
            let stays = waiting.client != client || matches!(waiting.awaited, Awaited::Attached(_));
            if !stays {
                snapshots.forget(*ticket);
            }
            stays
        });
    }

    /// Outputs that have ended, as lines for the log.
    pub fn news(&mut self) -> Vec<String> {
        self.places.news()
    }

    /// Closes all outputs, with what is still to be written.
    ///
    /// # Errors
    /// Those of waiting for them.
    pub fn finish(self) -> std::io::Result<()> {
        self.places.finish()
    }

    fn wait(&mut self, client: ClientId, id: Option<u64>, awaited: Awaited) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(
            ticket,
            Waiting {
                client,
                id,
                awaited,
            },
        );
        ticket
    }

    fn may_see(&self, peer: &Peer, target: &Target) -> bool {
        self.rules.may_touch(peer, uid(target.owner()))
    }

    /// A target that the peer may see; another's is none.
    fn seen<'a>(&self, peer: &Peer, id: u32, registry: &'a Registry) -> Result<&'a Target, Fault> {
        let none = || {
            Fault::new(FaultClass::NoSuchTarget, format!("no target {id}"))
                .hint("it has ended, or is another user's; see: perfd ctl list")
        };
        let target = registry.target(TargetId(id)).map_err(|_| none())?;
        match self.may_see(peer, target) {
            true => Ok(target),
            false => Err(none()),
        }
    }
}
