//! All clients together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::Serialize;

use super::connection::{Came, Connection};
use super::tail::Tail;
use super::{ClientId, ClientLimits, FIRST_WAKEUP, Heard, LISTENER, Leave, PhasedWindow, TailSpec};
use crate::control::codec::{Line, LineError};
use crate::control::{
    Answer, Asked, ClientFigures, EndReason, Event, Greeting, MAX_REQUEST, Outcome, Refusal,
    RefusalClass, Request, VERSION,
};
use crate::model::MonoNs;
use crate::sys::unix_socket::{LineListener, LineStream};
use crate::sys::{Interest, Poller, Wakeup};

/// Connections beyond the limit that only root gets, to look what is the matter.
const KEPT_FOR_ROOT: usize = 4;
/// Clients that are let in at a time, before others are heard.
const ACCEPTED_AT_ONCE: usize = 16;
/// How long nobody is let in after there was no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections, and the socket where they come from.
#[derive(Debug)]
pub struct Clients {
    listener: LineListener,
    limits: ClientLimits,
    connections: BTreeMap<ClientId, Connection>,
    next_id: u64,
    /// Held so that one client can be told when there is no descriptor left.
    reserve: Option<File>,
    paused_since: Option<MonoNs>,
    figures: ClientFigures,
    buffer: Vec<u8>,
}

impl Clients {
    /// None yet.
    pub fn new(
        listener: LineListener,
        limits: ClientLimits,
        poller: &Poller,
    ) -> io::Result<Clients> {
        poller.add(&listener, LISTENER)?;
        Ok(Clients {
            listener,
            limits,
            connections: BTreeMap::new(),
            next_id: 1,
            reserve: Some(reserve()?),
            paused_since: None,
            figures: ClientFigures::default(),
            buffer: vec![0; 4096],
        })
    }

    /// Whether a wakeup is for [`Clients::ready`].
    pub fn is_own(wakeup: Wakeup) -> bool {
        wakeup.0 >= FIRST_WAKEUP
    }

    /// Other limits, from now on. Nobody is sent away for them.
    pub fn set_limits(&mut self, limits: ClientLimits) {
        self.limits = limits;
    }

    /// What has become of connections, requests and windows.
    pub fn figures(&self) -> ClientFigures {
        ClientFigures {
            connected: self.connections.len() as u64,
            ..self.figures
        }
    }

    /// How many clients follow a target.
    pub fn tails_of(&self, target: u32) -> usize {
        let tails = self.connections.values().flat_map(|client| &client.tails);
        tails.filter(|tail| tail.spec.target == target).count()
    }

    /// Does what a wakeup is for: lets clients in, or reads of one of them up to a request.
    pub fn ready(&mut self, wakeup: Wakeup, poller: &Poller, now: MonoNs, heard: &mut Vec<Heard>) {
        if wakeup == LISTENER {
            return self.accept(poller, now, heard);
        }
        let client = ClientId(wakeup.0 - FIRST_WAKEUP);
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        match connection.hear(&mut self.buffer, now) {
            Came::Nothing => (),
            Came::Left(leave) => self.close(client, leave, poller, heard),
            Came::Line(Err(LineError::TooLong)) => {
                self.figures.malformed += 1;
                let said = LineError::TooLong.to_string();
                connection.refuse(None, &Refusal::new(RefusalClass::Usage, said));
                self.close(client, Leave::TooLong, poller, heard);
            }
            Came::Line(line) => self.read_line(client, line, now, heard),
        }
    }

    /// Answers a request. A client that has left meanwhile is not an error.
    pub fn answer<T: Serialize>(&mut self, client: ClientId, id: Option<u64>, ok: &T) {
        if let Some(connection) = self.connections.get_mut(&client) {
            connection.is_asking = false;
            let outcome = Outcome::Ok(ok);
            connection.say(&Answer { id, outcome }.line());
        }
    }

    /// Answers a request that was not done.
    pub fn refuse(&mut self, client: ClientId, id: Option<u64>, refusal: &Refusal) {
        if let Some(connection) = self.connections.get_mut(&client) {
            connection.is_asking = false;
            connection.refuse(id, refusal);
        }
    }

    /// Lets a client follow a target, from its next window on. The answer is the caller's.
    ///
    /// # Errors
    /// It follows as many as it may.
    pub fn tail(&mut self, client: ClientId, spec: TailSpec, now: MonoNs) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get_mut(&client) else {
            return Ok(());
        };
        if connection.tails.len() >= self.limits.tails {
            let said = format!("{} tails on this connection", connection.tails.len());
            let refusal = Refusal::new(RefusalClass::Limit, said);
            return Err(refusal.hint("connect once more for others"));
        }
        connection.tails.push(Tail::new(spec, now));
        Ok(())
    }

    /// Gives a window to all who follow its target.
    pub fn window(&mut self, window: &PhasedWindow) {
        for connection in self.connections.values_mut() {
            connection.window(window, &self.limits, &mut self.figures);
        }
    }

    /// Tells all who follow a target that it has ended. Windows that wait come before that.
    pub fn end(&mut self, target: u32, reason: EndReason) {
        for connection in self.connections.values_mut() {
            for tail in &mut connection.tails {
                if tail.spec.target == target {
                    tail.end(reason);
                }
            }
        }
    }

    /// Sends what can be sent, closes what is done with, and tells the poller what to wake for. To be called before each wait.
    pub fn flush(&mut self, poller: &Poller, now: MonoNs, heard: &mut Vec<Heard>) {
        let mut leaving = Vec::new();
        for (client, connection) in &mut self.connections {
            match connection.send(&self.limits, now, &mut self.figures) {
                Err(leave) => leaving.push((*client, leave)),
                Ok(()) if connection.is_done() => leaving.push((*client, Leave::Closed)),
                Ok(()) => {
                    let wanted = connection.wanted();
                    if wanted != connection.interest {
                        connection.interest = wanted;
                        if poller
                            .change(&connection.stream, wanted, client.wakeup())
                            .is_err()
                        {
                            leaving.push((*client, Leave::Closed));
                        }
                    }
                }
            }
        }
        for (client, leave) in leaving {
            self.close(client, leave, poller, heard);
        }
    }

    /// Sends signs of life, and sends away who is overdue. To be called every so often, followed by [`Clients::flush`].
    pub fn tick(&mut self, poller: &Poller, now: MonoNs, heard: &mut Vec<Heard>) {
        if self
            .paused_since
            .is_some_and(|since| now.since(since) >= PAUSE)
        {
            self.reserve = self.reserve.take().or_else(|| reserve().ok());
            if poller
                .change(&self.listener, Interest::Input, LISTENER)
                .is_ok()
            {
                self.paused_since = None;
            }
        }
        let mut leaving = Vec::new();
        for (client, connection) in &mut self.connections {
            connection.beat(now, &mut self.figures);
            if let Some(leave) = connection.overdue(&self.limits, now) {
                leaving.push((*client, leave));
            }
        }
        for (client, leave) in leaving {
            self.close(client, leave, poller, heard);
        }
    }

    /// Says farewell to everybody: the daemon ends. What waits is sent as far as it goes at once.
    pub fn stop(mut self, refusal: &Refusal) {
        for connection in self.connections.values_mut() {
            connection.bid_farewell(refusal.clone());
            connection.send_last();
        }
    }

    fn accept(&mut self, poller: &Poller, now: MonoNs, heard: &mut Vec<Heard>) {
        for _ in 0..ACCEPTED_AT_ONCE {
            match self.listener.accept() {
                Ok(Some(stream)) => self.let_in(stream, poller, now),
                Ok(None) => return,
                Err(_) => return self.pause(poller, now, heard),
            }
        }
    }

    fn let_in(&mut self, stream: LineStream, poller: &Poller, now: MonoNs) {
        let Ok(peer) = stream.peer() else {
            self.figures.refused += 1;
            return;
        };
        let is_root = peer.uid == 0;
        let most = self.limits.clients + if is_root { KEPT_FOR_ROOT } else { 0 };
        let of_user = |uid| {
            let peers = self.connections.values().map(|client| client.peer.uid);
            peers.filter(|peer| *peer == uid).count()
        };
        let said = match () {
            () if self.connections.len() >= most => Some(format!(
                "{most} clients; limits.clients of the daemon is {}",
                self.limits.clients
            )),
            () if !is_root && of_user(peer.uid) >= self.limits.clients_per_user => Some(format!(
                "{n} clients of user {}; limits.clients_per_user of the daemon is {n}",
                peer.uid,
                n = self.limits.clients_per_user
            )),
            () => None,
        };
        let mut connection = Connection::new(stream, peer, now);
        if let Some(said) = said {
            self.figures.refused += 1;
            connection.bid_farewell(Refusal::new(RefusalClass::Limit, said));
            return connection.send_last();
        }
        let greeting = Greeting {
            perfd: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: VERSION,
        };
        connection.say(&greeting.line());
        let client = ClientId(self.next_id);
        if poller.add(&connection.stream, client.wakeup()).is_ok() {
            self.next_id += 1;
            self.figures.accepted += 1;
            self.connections.insert(client, connection);
        }
    }

    /// No descriptor is left: the next client is told with the one in reserve, and the others wait.
    fn pause(&mut self, poller: &Poller, now: MonoNs, heard: &mut Vec<Heard>) {
        self.figures.accept_paused += 1;
        self.reserve = None;
        if let Ok(Some(stream)) = self.listener.accept() {
            self.figures.refused += 1;
            let said = "the daemon has no descriptor left for another client";
            let farewell = Event::Farewell(Refusal::new(RefusalClass::Limit, said));
            let _ = stream.send(&farewell.line());
        }
        self.reserve = reserve().ok();
        let _ = poller.change(&self.listener, Interest::Nothing, LISTENER);
        self.paused_since = Some(now);
        heard.push(Heard::OutOfDescriptors);
    }

    fn read_line(
        &mut self,
        client: ClientId,
        line: Result<Line<OwnedFd>, LineError>,
        now: MonoNs,
        heard: &mut Vec<Heard>,
    ) {
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        let read = match line {
            Ok(line) if line.bytes.is_empty() && line.descriptors.is_empty() => return,
            Ok(line) => read_request(line),
            Err(error) => Err((None, Refusal::new(RefusalClass::Usage, error.to_string()))),
        };
        let most = self.limits.requests_per_second;
        let (id, refusal) = match (read, connection.pays(now, most)) {
            (Ok((asked, descriptors)), true) => {
                self.figures.requests += 1;
                connection.is_asking = true;
                return heard.push(Heard::Request {
                    client,
                    peer: connection.peer.clone(),
                    id: asked.id,
                    request: asked.request,
                    descriptors,
                });
            }
            (Ok((asked, _)), false) => {
                self.figures.too_many_requests += 1;
                let said = format!("more than {most} requests in a second");
                (asked.id, Refusal::new(RefusalClass::Limit, said))
            }
            (Err(refused), _) => {
                self.figures.malformed += 1;
                refused
            }
        };
        connection.refuse(id, &refusal);
    }

    fn close(&mut self, client: ClientId, leave: Leave, poller: &Poller, heard: &mut Vec<Heard>) {
        let Some(mut connection) = self.connections.remove(&client) else {
            return;
        };
        match leave {
            Leave::Closed => (),
            Leave::TookNothing => self.figures.too_slow += 1,
            Leave::HalfRequest => {
                self.figures.half_sent += 1;
                connection.send_last();
            }
            Leave::TooLong => connection.send_last(),
        }
        // Closing would do, were it not for a duplicate that a child may hold.
        let _ = poller.remove(&connection.stream);
        heard.push(Heard::Gone(client, leave));
    }
}

/// A line as a request. Descriptors that come with a request that takes none are closed, and an error: their sender believes something that is not so.
fn read_request(line: Line<OwnedFd>) -> Result<(Asked, Vec<OwnedFd>), (Option<u64>, Refusal)> {
    // The limit of the line holds for what was put together without its newline.
    debug_assert!(line.bytes.len() < MAX_REQUEST);
    let asked = Asked::parse(&line.bytes)?;
    let most = match &asked.request {
        Request::Attach(attach) => attach.outputs.len() + 2,
        Request::Snapshot(_) => 1,
        _ => 0,
    };
    if line.descriptors.len() > most {
        let said = format!(
            "{} descriptors with a request that takes {most} at most",
            line.descriptors.len()
        );
        return Err((asked.id, Refusal::new(RefusalClass::Usage, said)));
    }
    Ok((asked, line.descriptors))
}

fn reserve() -> io::Result<File> {
    File::open("/dev/null")
}
