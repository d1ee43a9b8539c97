//! `snapshot`: what is asked for, until there is what it needs.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::super::clients::ClientId;
use super::super::kept::Sum;
use super::super::outputs::Writable;
use super::super::registry::Ticket;
use super::super::run::labels;
use super::super::snapshot::{Order, Place};
use super::terms::view;
use super::{Awaited, Requests, Scene};
use crate::control::{Refusal, Snapshot, SnapshotFormat};
use crate::model::{Fault, FaultClass, TargetId};
use crate::sink::View;
use crate::sink::pprof::Labels;
use crate::sys::unix_socket::Peer;

/// What is to be made once the windows are there.
#[derive(Debug)]
pub(super) struct Asked {
    format: SnapshotFormat,
    view: View,
    /// Without the phase.
    labels: Labels,
    to: Place,
}

/// What there is to say of the windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoFar<'a> {
    /// Of all of them, if it is one.
    pub(super) phase: Option<&'a String>,
    /// How long before the request they end, if that is not with it.
    pub(super) lacks: Option<Duration>,
}

impl Requests {
    pub(super) fn snapshot(
        &mut self,
        client: ClientId,
        peer: &Peer,
        id: Option<u64>,
        snapshot: &Snapshot,
        descriptors: Vec<OwnedFd>,
        scene: &mut Scene<'_>,
    ) -> Result<(), Fault> {
        let target = self.seen(peer, snapshot.target, scene.registry)?;
        let asked = Asked {
            format: snapshot.format,
            view: view(target, snapshot.show.as_deref())?,
            labels: labels(target, None),
            to: match descriptors.into_iter().next() {
                Some(fd) => Place::Descriptor(Writable::check(fd)?),
                None => Place::Answer,
            },
        };
        let target = target.id();
        let ticket = self.wait(client, id, Awaited::Snapshot(Box::new(asked)));
        let begun = scene.registry.snapshot(target, snapshot.since, ticket);
        if begun.is_err() {
            self.waiting.remove(&ticket);
        }
        begun
    }

    /// The windows that were waited for are there.
    pub(super) fn so_far(
        &mut self,
        target: TargetId,
        ticket: Ticket,
        sum: Option<&Arc<Sum>>,
        of: SoFar<'_>,
        scene: &mut Scene<'_>,
    ) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else {
            // The client has left.
            return;
        };
        let awaited = std::mem::replace(&mut waiting.awaited, Awaited::Made);
        let Awaited::Snapshot(asked) = awaited else {
            return;
        };
        let begun = match sum {
            Some(sum) => self.snapshots.begin(Order {
                ticket,
                sum: sum.clone(),
                lacks: of.lacks,
                format: asked.format,
                view: asked.view,
                labels: Labels {
                    phase: of.phase.cloned(),
                    ..asked.labels
                },
                to: asked.to,
            }),
            None => {
                let what = format!("nothing of target {} has been sampled yet", target.0);
                Err(Fault::new(FaultClass::Unavailable, what)
                    .hint("it waits for its processes; see: perfd ctl list"))
            }
        };
        if let Err(fault) = begun
            && let Some(waiting) = self.waiting.remove(&ticket)
        {
            let refusal = Refusal::from(fault);
            scene.clients.refuse(waiting.client, waiting.id, &refusal);
        }
    }
}
