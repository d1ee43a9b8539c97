//! Snapshots: what is kept of a target, encoded by a thread of its own, since a flame graph takes its time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::bare::bare;
use super::bounded::Bounded;
use super::kept::Sum;
use super::outputs::Writable;
use super::target::Ticket;
use crate::control::{MAX_INLINE_SNAPSHOT, SnapshotFormat, Snapshotted};
use crate::model::{Fault, FaultClass};
use crate::sink::View;
use crate::sink::encode::{folded, functions, json, svg};
use crate::sink::pprof::{self, Labels};
use crate::sys::Waker;

/// Snapshots that are made at a time.
const MOST: usize = 4;
/// Snapshots that are being written at a time: readers may take as long as they like, or for ever.
const MOST_WRITTEN: usize = 32;
/// Bytes of one that goes to a descriptor.
const MAX_BYTES: usize = 256 << 20;

/// What is asked for.
#[derive(Debug)]
pub struct Order {
    /// Under which number the answer comes.
    pub ticket: Ticket,
    /// What there is.
    pub sum: Arc<Sum>,
    /// How long before the request that ends, if not with it.
    pub lacks: Option<Duration>,
    /// In which form.
    pub format: SnapshotFormat,
    /// What is shown, where the form shows one thing.
    pub view: View,
    /// What a pprof says of itself.
    pub labels: Labels,
    /// Where it goes; into the answer without one.
    pub to: Place,
}

/// Where a snapshot goes.
#[derive(Debug)]
pub enum Place {
    /// Into the answer.
    Answer,
    /// To a descriptor that the client has passed, when it is whole.
    Descriptor(Writable),
}

/// A snapshot that was made, or could not be.
#[derive(Debug)]
pub struct Made {
    /// That of the order.
    pub ticket: Ticket,
    /// The answer.
    pub outcome: Result<Snapshotted, Fault>,
}

/// Snapshots in the making.
#[derive(Debug)]
pub struct Snapshots {
    /// Those that wait until others are made, which is no longer than that takes; with the right to be written.
    waiting: VecDeque<(Order, Option<Slot>)>,
    making: Arc<AtomicUsize>,
    writing: Arc<AtomicUsize>,
    sender: Sender<Made>,
    made: Receiver<Made>,
    /// Those that could not be begun.
    failed: VecDeque<Made>,
    waker: Waker,
}

impl Snapshots {
    /// None yet; `waker` is woken for each that is made.
    pub fn new(waker: Waker) -> Snapshots {
        let (sender, made) = bounded(MOST + MOST_WRITTEN);
        Snapshots {
            waiting: VecDeque::new(),
            making: Arc::default(),
            writing: Arc::default(),
            sender,
            made,
            failed: VecDeque::new(),
            waker,
        }
    }

    /// Begins one, or has it wait for others: there are no more than connections, each of which may wait for one.
    ///
    /// # Errors
    /// As many are being written as may be.
    pub fn begin(&mut self, order: Order) -> Result<(), Fault> {
        let writing = match order.to {
            Place::Answer => None,
            Place::Descriptor(_) => {
                let slot = Slot::take(&self.writing, MOST_WRITTEN);
                Some(slot.ok_or_else(|| {
                    let what = format!("{MOST_WRITTEN} snapshots are being written");
                    Fault::new(FaultClass::Limit, what).hint("ask again in a moment")
                })?)
            }
        };
        self.waiting.push_back((order, writing));
        self.begin_waiting();
        Ok(())
    }

    /// Who has asked for it has left: it is not begun any more.
    pub fn forget(&mut self, ticket: Ticket) {
        self.waiting.retain(|(order, _)| order.ticket != ticket);
    }

    /// The next that is made.
    pub fn next_made(&mut self) -> Option<Made> {
        self.begin_waiting();
        self.failed
            .pop_front()
            .or_else(|| self.made.try_recv().ok())
    }

    /// Begins as many as may be made at a time.
    fn begin_waiting(&mut self) {
        while !self.waiting.is_empty()
            && let Some(making) = Slot::take(&self.making, MOST)
            && let Some((order, writing)) = self.waiting.pop_front()
        {
            let ticket = order.ticket;
            if let Err(error) = self.start(order, making, writing) {
                let fault = Fault::new(FaultClass::System, format!("start a thread: {error}"));
                let outcome = Err(fault);
                self.failed.push_back(Made { ticket, outcome });
                self.waker.wake();
            }
        }
    }

    fn start(&self, order: Order, making: Slot, writing: Option<Slot>) -> io::Result<()> {
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        let thread = thread::Builder::new().name("perfd-snapshot".to_owned());
        let started = thread.spawn(move || {
            let ticket = order.ticket;
            let made = make(&order);
            drop(making);
            // The next one may begin.
            waker.wake();
            let outcome = made.and_then(|(answer, bytes)| deliver(order, answer, bytes));
            drop(writing);
            // Fails when the daemon ends.
            let _ = sender.send(Made { ticket, outcome });
            waker.wake();
        });
        started.map(drop)
    }
}

/// One of so many that there may be; given back when it is dropped.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Slot> {
        let more = |n: usize| (n < most).then_some(n + 1);
        let update = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        update.ok().map(|_| Slot(taken.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The answer without its text, and the text.
fn make(order: &Order) -> Result<(Snapshotted, Vec<u8>), Fault> {
    let most = match order.to {
        Place::Answer => MAX_INLINE_SNAPSHOT,
        Place::Descriptor(_) => MAX_BYTES,
    };
    let mut out = Bounded::new(most);
    encode(order, &mut out).map_err(|_| {
        let what = format!("the snapshot has more than {} MiB", most >> 20);
        Fault::new(FaultClass::Limit, what)
            .hint("pass a descriptor for it to go to, or ask for pprof, which is smaller")
    })?;
    let answer = Snapshotted {
        format: order.format,
        from: order.sum.from,
        to: order.sum.profile.span.sequence,
        lacks_ns: order.lacks.map(nanos),
        text: None,
        base64: None,
        written: None,
    };
    Ok((answer, out.bytes))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn deliver(order: Order, mut answer: Snapshotted, bytes: Vec<u8>) -> Result<Snapshotted, Fault> {
    match order.to {
        Place::Answer if order.format == SnapshotFormat::Pprof => {
            answer.base64 = Some(STANDARD.encode(&bytes));
        }
        Place::Answer => {
            let text = String::from_utf8(bytes);
            let wrong = |_| Fault::new(FaultClass::Internal, "the encoder wrote no UTF-8");
            answer.text = Some(text.map_err(wrong)?);
        }
        Place::Descriptor(mut to) => {
            let failed = |error| {
                let what = format!("write the snapshot: {error}");
                Fault::new(FaultClass::OutputFailed, what)
            };
            to.put(&bytes).map_err(failed)?;
            answer.written = Some(bytes.len() as u64);
        }
    }
    Ok(answer)
}

fn encode(order: &Order, out: &mut impl Write) -> io::Result<()> {
    let (view, sum) = (order.view, &order.sum);
    if order.format == SnapshotFormat::Pprof {
        return pprof::encode(&sum.profile, &order.labels, view, out);
    }
    let mut profile = bare(&sum.profile);
    let first = profile.span;
    profile.span.is_last = true;
    profile.whole_run = Some(Box::new((
        profile.processes.clone(),
        profile.ledger.clone(),
    )));
    match order.format {
        SnapshotFormat::Folded => folded::encode(&profile, view, out),
        SnapshotFormat::Svg => svg::encode(&profile, view, out),
        SnapshotFormat::Json => json::encode(&profile, first, out),
        SnapshotFormat::Functions => {
            let mut functions = functions::Functions::new(view);
            functions.add(&profile);
            functions.write(&profile.run, out)
        }
        SnapshotFormat::Pprof => Ok(()),
    }
}
