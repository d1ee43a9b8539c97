//! One client: what it has sent of a request, what waits to be sent to it, and the times by which it has to do its part.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::tail::{Next, Tail};
use super::{ClientLimits, Leave, PhasedWindow};
use crate::control::codec::{Line, LineError, Lines};
use crate::control::{Answer, ClientFigures, Event, Outcome, Refusal, RefusalClass};
use crate::model::MonoNs;
use crate::sys::Interest;
use crate::sys::unix_socket::{LineStream, Peer, Received};

/// A connected client.
#[derive(Debug)]
pub(super) struct Connection {
    pub stream: LineStream,
    pub peer: Arc<Peer>,
    pub tails: Vec<Tail>,
    /// What the poller was told last.
    pub interest: Interest,
    /// A request was handed on and not answered yet.
    pub is_asking: bool,
    lines: Lines<OwnedFd>,
    inside_since: Option<MonoNs>,
    has_ended_input: bool,
    out: Vec<u8>,
    n_sent: usize,
    stalled_since: Option<MonoNs>,
    /// The moment from which on a request comes at its rate; in the future, the client has sent more.
    paid_until: MonoNs,
}

/// What came from a client.
pub(super) enum Came {
    Nothing,
    Line(Result<Line<OwnedFd>, LineError>),
    Left(Leave),
}

impl Connection {
    pub(super) fn new(stream: LineStream, peer: Peer, now: MonoNs) -> Connection {
        Connection {
            stream,
            peer: Arc::new(peer),
            tails: Vec::new(),
            interest: Interest::Input,
            is_asking: false,
            lines: Lines::default(),
            inside_since: None,
            has_ended_input: false,
            out: Vec::new(),
            n_sent: 0,
            stalled_since: None,
            paid_until: now,
        }
    }

    /// Puts a line behind what waits to be sent.
    pub(super) fn say(&mut self, line: &[u8]) {
        self.out.extend_from_slice(line);
    }

    /// Says why a request was not done.
    pub(super) fn refuse(&mut self, id: Option<u64>, refusal: &Refusal) {
        let answer = Answer::<()> {
            id,
            outcome: Outcome::Error(refusal),
        };
        self.say(&answer.line());
    }

    /// Says why the connection ends.
    pub(super) fn bid_farewell(&mut self, why: Refusal) {
        self.say(&Event::Farewell(why).line());
    }

    /// Gives a window to the tails of its target.
    ///
    /// All that waits here has room for as many bytes as a line may have. The newest window of each tail does not count against that: as it came it is
    /// shared by all, and it is made one with others only where there is room.
    pub(super) fn window(
        &mut self,
        window: &PhasedWindow,
        limits: &ClientLimits,
        figures: &mut ClientFigures,
    ) {
        let most = limits.queue as u64;
        for idx in 0..self.tails.len() {
            if self.tails[idx].spec.target == window.target {
                let room = most.saturating_sub(self.waiting_bytes());
                self.tails[idx].add(window, room, figures);
            }
        }
        while self.waiting_bytes() > most
            && let Some(tail) = self
                .tails
                .iter_mut()
                .filter(|tail| tail.may_drop())
                .max_by_key(|tail| tail.bytes())
        {
            tail.drop_oldest(figures);
        }
    }

    fn waiting_bytes(&self) -> u64 {
        self.tails.iter().map(Tail::bytes).sum()
    }

    /// Whether the next request may be read.
    fn listens(&self) -> bool {
        !self.has_ended_input && !self.is_asking && self.out.is_empty()
    }

    /// What the poller has to wake for.
    pub(super) fn wanted(&self) -> Interest {
        match (self.listens(), self.out.is_empty()) {
            (true, true) => Interest::Input,
            (true, false) => Interest::InputAndRoom,
            (false, false) => Interest::Room,
            (false, true) => Interest::Nothing,
        }
    }

    /// Reads what there is, up to the end of a line.
    pub(super) fn hear(&mut self, buffer: &mut [u8], now: MonoNs) -> Came {
        if !self.listens() {
            // Woken without having asked for it: the other end is closed for both directions.
            return match self.interest {
                Interest::Nothing => Came::Left(Leave::Closed),
                _ => Came::Nothing,
            };
        }
        let mut came = Came::Nothing;
        let mut heard = |line| came = Came::Line(line);
        match self.stream.receive(buffer) {
            Ok(Received::Bytes(n, descriptors)) => {
                self.lines.take_in(&buffer[..n], descriptors, &mut heard);
            }
            Ok(Received::TooManyDescriptors(n)) => {
                self.lines.refuse_descriptors();
                self.lines.take_in(&buffer[..n], Vec::new(), &mut heard);
            }
            Ok(Received::Nothing) => (),
            // It may have closed one direction and still wait for answers: see `is_done`.
            Ok(Received::End) => self.has_ended_input = true,
            Err(_) => return Came::Left(Leave::Closed),
        }
        if self.lines.is_too_long() {
            came = Came::Line(Err(LineError::TooLong));
        }
        self.inside_since = match self.lines.is_inside() {
            true => self.inside_since.or(Some(now)),
            false => None,
        };
        came
    }

    /// Whether one more request keeps to the rate; it is counted.
    pub(super) fn pays(&mut self, now: MonoNs, requests_per_second: u32) -> bool {
        const BURST: u32 = 10;
        let price = Duration::from_secs(1) / requests_per_second.max(1);
        let from = self.paid_until.max(now);
        if from.since(now) > price * BURST {
            return false;
        }
        self.paid_until = from.plus(price);
        true
    }

    /// Whether nothing can come of the connection any more: the client sends nothing, and nothing is owed to it.
    pub(super) fn is_done(&self) -> bool {
        self.has_ended_input && !self.is_asking && self.out.is_empty() && self.tails.is_empty()
    }

    /// Sends what the socket takes: what waits, then windows that are encoded one by one when all before them is gone.
    pub(super) fn send(
        &mut self,
        limits: &ClientLimits,
        now: MonoNs,
        figures: &mut ClientFigures,
    ) -> Result<(), Leave> {
        loop {
            while self.n_sent < self.out.len() {
                match self.stream.send(&self.out[self.n_sent..]) {
                    Ok(Some(n)) => {
                        self.n_sent += n;
                        self.stalled_since = None;
                    }
                    Ok(None) => {
                        self.stalled_since.get_or_insert(now);
                        return Ok(());
                    }
                    Err(_) => return Err(Leave::Closed),
                }
            }
            // The buffer of a large window is given back.
            self.out = Vec::new();
            self.n_sent = 0;
            self.stalled_since = None;
            if !self.encode_next(limits, now, figures) {
                return Ok(());
            }
        }
    }

    fn encode_next(
        &mut self,
        limits: &ClientLimits,
        now: MonoNs,
        figures: &mut ClientFigures,
    ) -> bool {
        for idx in 0..self.tails.len() {
            match self.tails[idx].next_line(limits.queue, now, figures) {
                Next::Nothing => (),
                Next::Line(line) => {
                    self.out = line;
                    // The next turn is another's.
                    self.tails[idx..].rotate_left(1);
                    return true;
                }
                Next::Last(line) => {
                    self.out = line;
                    self.tails.remove(idx);
                    return true;
                }
            }
        }
        false
    }

    /// Signs of life.
    pub(super) fn beat(&mut self, now: MonoNs, figures: &mut ClientFigures) {
        if !self.out.is_empty() {
            return;
        }
        for tail in &mut self.tails {
            if let Some(line) = tail.heartbeat(now, figures) {
                self.out.extend_from_slice(&line);
            }
        }
    }

    /// Whether it has failed to do its part in time; it is told what.
    pub(super) fn overdue(&mut self, limits: &ClientLimits, now: MonoNs) -> Option<Leave> {
        let is_over =
            |since: Option<MonoNs>, most| since.is_some_and(|since| now.since(since) >= most);
        if is_over(self.stalled_since, limits.patience) {
            return Some(Leave::TookNothing);
        }
        // What it is owed keeps it from sending the rest.
        if self.listens() && is_over(self.inside_since, limits.request_time) {
            let said = format!(
                "a request was not finished within {} s",
                limits.request_time.as_secs()
            );
            self.bid_farewell(Refusal::new(RefusalClass::TooSlow, said));
            return Some(Leave::HalfRequest);
        }
        None
    }

    /// A last attempt to send, before the connection is closed.
    pub(super) fn send_last(&mut self) {
        let _ = self.stream.send(&self.out[self.n_sent..]);
    }
}
