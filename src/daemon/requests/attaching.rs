//! `attach`: what a client shows for it, and the outputs that come with it.

use std::os::fd::OwnedFd;

use super::super::authorize::Evidence;
use super::super::clients::ClientId;
use super::super::outputs::{OutputSpec, Room, Writable};
use super::super::registry::{Asked, Owner, Ticket};
use super::super::run::labels;
use super::super::selector::Selector;
use super::super::target::Target;
use super::terms::{sampling, selector, view};
use super::{Awaited, Requests, Scene};
use crate::control::{Attach, Attached, EndReason, OutputAsked, Refusal};
use crate::model::{Fault, FaultClass, TargetId};
use crate::sys::unix_socket::Peer;

impl Requests {
    pub(super) fn attach(
        &mut self,
        client: ClientId,
        peer: &Peer,
        id: Option<u64>,
        attach: Attach,
        mut descriptors: Vec<OwnedFd>,
        scene: &mut Scene<'_>,
    ) -> Result<(), Fault> {
        let usage = |what: String| Fault::new(FaultClass::Usage, what);
        let n_outputs = attach.outputs.len();
        let n_evidence = descriptors.len().checked_sub(n_outputs).ok_or_else(|| {
            usage(format!(
                "{n_outputs} outputs and {} descriptors: one for each is needed",
                descriptors.len()
            ))
        })?;
        let outputs = descriptors.split_off(n_evidence);
        let mut evidence = descriptors.into_iter();
        let selector = selector(&attach.target)?;
        let (pidfd, authority) = match &selector {
            Selector::Pid(pid) => {
                let evidence = Evidence {
                    pidfd: evidence.next(),
                    maps: evidence.next(),
                };
                let granted = self.rules.process(peer, *pid, evidence)?;
                (Some(granted.pidfd), granted.authority)
            }
            _ if n_evidence > 0 => {
                return Err(usage(
                    "more descriptors than outputs; only a pid has others".to_owned(),
                ));
            }
            other => (
                None,
                self.rules.admin_only(peer, &format!("profile {other}"))?,
            ),
        };
        let outputs = attach
            .outputs
            .iter()
            .cloned()
            .zip(outputs)
            .map(|(asked, fd)| Ok((asked, Writable::check(fd)?)))
            .collect::<Result<Vec<_>, Fault>>()?;
        let asked = Asked {
            sampling: sampling(&attach, &scene.registry.config().sampling)?,
            selector,
            pidfd,
            with_tree: attach.tree,
            name: attach.name,
            owner: Owner::User { uid: peer.uid },
            authority,
            ends_with: (!attach.keep).then_some(client),
        };
        let ticket = self.wait(client, id, Awaited::Attached(outputs));
        if let Err(fault) = scene.registry.attach(asked, ticket) {
            self.waiting.remove(&ticket);
            return Err(fault);
        }
        Ok(())
    }

    pub(super) fn attached(
        &mut self,
        id: TargetId,
        ticket: Ticket,
        notes: &[String],
        scene: &mut Scene<'_>,
    ) {
        let Some(waiting) = self.waiting.remove(&ticket) else {
            return;
        };
        let Awaited::Attached(outputs) = waiting.awaited else {
            return;
        };
        let Ok(target) = scene.registry.target(id) else {
            return;
        };
        let mut notes = notes.to_vec();
        if target.leaves_out_kernel() {
            notes.push(
                "user mode only: sampling the kernel is not permitted to this user where kernel.perf_event_paranoid is above 1"
                    .to_owned(),
            );
        }
        let attached = Attached {
            target: id.0,
            name: target.name().to_owned(),
            events: target.events(),
            notes,
        };
        // Which events there are is known only now.
        let limits = &scene.registry.config().limits;
        let room = Room {
            waiting: limits.client_queue,
            whole: limits.snapshot,
        };
        match self.open_outputs(target, outputs, room) {
            Ok(()) => scene.clients.answer(waiting.client, waiting.id, &attached),
            Err(fault) => {
                let refusal = Refusal::from(fault);
                scene.clients.refuse(waiting.client, waiting.id, &refusal);
                // It was there a moment ago.
                let _ = scene.registry.detach(id, EndReason::Detached);
            }
        }
    }

    fn open_outputs(
        &mut self,
        target: &Target,
        outputs: Vec<(OutputAsked, Writable)>,
        room: Room,
    ) -> Result<(), Fault> {
        for (asked, to) in outputs {
            let spec = OutputSpec {
                format: asked.format,
                view: view(target, asked.show.as_deref())?,
                labels: labels(target, None),
                room,
            };
            self.places.open(target, to, spec)?;
        }
        Ok(())
    }
}
