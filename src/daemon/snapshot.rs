//! Snapshots: what is kept of a target, encoded by a thread of its own, since a flame graph takes its time.

use std::io::{self, Write};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::bare::bare;
use super::kept::Sum;
use super::target::Ticket;
use crate::control::{MAX_INLINE_SNAPSHOT, SnapshotFormat, Snapshotted, base64};
use crate::model::{Fault, FaultClass};
use crate::sink::View;
use crate::sink::encode::{folded, functions, json, svg};
use crate::sink::pprof::{self, Labels};
use crate::sys::Waker;

/// Snapshots that are made at a time.
const MOST: usize = 4;
/// Bytes of one that goes to a descriptor.
const MAX_BYTES: usize = 256 << 20;

/// What is asked for.
#[derive(Debug)]
pub struct Order {
    /// Under which number the answer comes.
    pub ticket: Ticket,
    /// What there is.
    pub sum: Sum,
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
    /// To an output that the client has passed, when it is whole.
    Output(super::outputs::Output),
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
    making: usize,
    sender: Sender<Made>,
    made: Receiver<Made>,
    waker: Waker,
}

impl Snapshots {
    /// None yet; `waker` is woken for each that is made.
    pub fn new(waker: Waker) -> Snapshots {
        let (sender, made) = bounded(MOST);
        Snapshots {
            making: 0,
            sender,
            made,
            waker,
        }
    }

    /// Begins one.
    ///
    /// # Errors
    /// As many are being made as may be.
    pub fn begin(&mut self, order: Order) -> Result<(), Fault> {
        if self.making >= MOST {
            let what = format!("{MOST} snapshots are being made");
            return Err(Fault::new(FaultClass::Limit, what).hint("ask again in a moment"));
        }
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        thread::Builder::new()
            .name("perfd-snapshot".to_owned())
            .spawn(move || {
                let ticket = order.ticket;
                let outcome = make(order);
                // There is room for as many as are made at a time.
                let _ = sender.send(Made { ticket, outcome });
                waker.wake();
            })
            .map_err(|error| Fault::new(FaultClass::System, format!("start a thread: {error}")))?;
        self.making += 1;
        Ok(())
    }

    /// The next that is made.
    pub fn next(&mut self) -> Option<Made> {
        let made = self.made.try_recv().ok()?;
        self.making -= 1;
        Some(made)
    }
}

fn make(order: Order) -> Result<Snapshotted, Fault> {
    let most = match order.to {
        Place::Answer => MAX_INLINE_SNAPSHOT,
        Place::Output(_) => MAX_BYTES,
    };
    let (from, to) = (order.sum.from, order.sum.profile.span.sequence);
    let mut out = Bounded {
        bytes: Vec::new(),
        most,
    };
    encode(&order, &mut out).map_err(|_| {
        let what = format!("the snapshot has more than {} MiB", most >> 20);
        Fault::new(FaultClass::Limit, what).hint("pass a descriptor for it to go to, or ask for pprof, which is smaller")
    })?;
    let mut answer = Snapshotted {
        format: order.format,
        from,
        to,
        text: None,
        base64: None,
        written: None,
    };
    match order.to {
        Place::Answer if order.format == SnapshotFormat::Pprof => {
            answer.base64 = Some(base64::encode(&out.bytes));
        }
        Place::Answer => {
            let text = String::from_utf8(out.bytes);
            let text = text.map_err(|_| Fault::new(FaultClass::Internal, "the encoder wrote no UTF-8"))?;
            answer.text = Some(text);
        }
        Place::Output(mut output) => {
            output
                .write_all(&out.bytes)
                .map_err(|error| Fault::new(FaultClass::OutputFailed, format!("write the snapshot: {error}")))?;
            answer.written = Some(out.bytes.len() as u64);
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
    profile.whole_run = Some(Box::new((profile.processes.clone(), profile.ledger.clone())));
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

struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
