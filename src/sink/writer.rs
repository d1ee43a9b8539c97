//! One output for a whole run: an encoder joined to its open places.
//!
//! Each window goes through [`Sink::write`] once, in order. Folded stacks and JSON lines are written at once; a flame
//! graph, a table of functions, a pprof file and a JSON document with the last window. Samples one by one go through [`Sink::write_samples`], batch by
//! batch. A window or batch stands in the output whole or not at all, where the
//! place allows.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::carry::{Carry, FileCarrier, StdoutCarrier, TcpCarrier, UnixCarrier};
use super::encode::{Measure, View, folded, functions, json, samples, svg};
use super::pprof::{Labels, Whole};
use super::{Format, OpenError, Place, SinkSpec, WriteError, names};
use crate::model::{EventIdx, NamedSample, Profile, RunInfo, WindowSpan};

const BUFFER: usize = 1 << 16;

/// What a sink must know of its run.
#[derive(Clone, Debug)]
pub struct OpenContext {
    /// The run; its events name the files.
    pub run: Arc<RunInfo>,
    /// `--show`: this event alone, or where all are shown the one that sorts them. `None`: files are one for each event,
    /// all else shows the first.
    pub shown: Option<EventIdx>,
    /// `--unit`.
    pub measure: Measure,
    /// How long connecting to a socket may take, and how long its reader may take nothing.
    pub timeout: Duration,
}

/// An open output.
pub struct Sink {
    spec: SinkSpec,
    run: Arc<RunInfo>,
    timeout: Duration,
    outputs: Vec<Output>,
    encoder: Encoder,
    /// The first window's span, once there was one.
    first: Option<WindowSpan>,
    /// The last window that the encoder has taken in: a window written anew after a failure is not counted twice.
    taken_in: Option<u64>,
    is_whole: bool,
    is_broken: bool,
}

/// A place, and what is shown there.
struct Output {
    view: View,
    /// The event's part of file names, if there are several outputs.
    event: Option<String>,
    place: String,
    carrier: Box<dyn Carry>,
}

enum Encoder {
    Folded,
    Functions(Box<functions::Functions>),
    /// Of all events, or of one.
    Samples(Option<EventIdx>),
    /// One for each output.
    Svg(Vec<svg::Chart>),
    Json,
    Jsonl,
    Pprof(Box<Whole>),
}

impl Encoder {
    /// Whether this window makes the encoder write.
    fn writes(&self, profile: &Profile) -> bool {
        match self {
            Encoder::Folded | Encoder::Jsonl => true,
            // Of samples the last window writes nothing, which makes a file where there were none.
            Encoder::Functions(_)
            | Encoder::Samples(_)
            | Encoder::Svg(_)
            | Encoder::Json
            | Encoder::Pprof(_) => profile.span.is_last,
        }
    }

    /// Takes in a window, where windows are put together.
    fn add(&mut self, profile: &Profile) {
        match self {
            Encoder::Svg(charts) => charts.iter_mut().for_each(|chart| chart.add(profile)),
            Encoder::Functions(functions) => functions.add(profile),
            Encoder::Pprof(whole) => whole.add(profile),
            Encoder::Folded | Encoder::Samples(_) | Encoder::Json | Encoder::Jsonl => (),
        }
    }

    /// Whether windows are put together until the end.
    fn draws(&self) -> bool {
        matches!(
            self,
            Encoder::Functions(_) | Encoder::Pprof(_) | Encoder::Svg(_)
        )
    }

    /// Writes what was put together; nothing where every window is written by itself.
    fn draw(&self, idx: usize, view: View, run: &RunInfo, out: &mut impl Write) -> io::Result<()> {
        match self {
            Encoder::Pprof(whole) => whole.write(view, out),
            Encoder::Functions(functions) => functions.write(run, out),
            Encoder::Svg(charts) => charts[idx].draw(run, out),
            Encoder::Folded | Encoder::Samples(_) | Encoder::Json | Encoder::Jsonl => Ok(()),
        }
    }

    fn encode(
        &self,
        idx: usize,
        view: View,
        first: WindowSpan,
        profile: &Profile,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Encoder::Folded => folded::encode(profile, view, out),
            Encoder::Functions(_) | Encoder::Pprof(_) | Encoder::Svg(_) => {
                self.draw(idx, view, &profile.run, out)
            }
            Encoder::Samples(_) => Ok(()),
            Encoder::Json => json::encode(profile, first, out),
            Encoder::Jsonl => {
                json::encode_window(profile, out)?;
                if profile.span.is_last {
                    json::encode_end(profile, first, out)?;
                }
                Ok(())
            }
        }
    }
}

impl Sink {
    /// Opens every place of the output.
    pub fn open(spec: &SinkSpec, context: &OpenContext) -> Result<Sink, OpenError> {
        let shown: Vec<(EventIdx, Option<String>)> = match context.shown {
            None if is_split(spec, context.run.events.len()) => {
                let events = &context.run.events;
                let texts: Vec<String> =
                    events.iter().map(|event| event.spec.to_string()).collect();
                let parts = names::event_parts(&texts).into_iter().enumerate();
                parts
                    .map(|(idx, part)| (EventIdx(idx), Some(part)))
                    .collect()
            }
            shown => vec![(shown.unwrap_or(EventIdx(0)), None)],
        };
        let mut outputs = Vec::with_capacity(shown.len());
        for (event, part) in shown {
            let place = match (&spec.place, &part) {
                (Place::File(path), Some(part)) => Place::File(names::with_event(path, part)),
                (place, _) => place.clone(),
            };
            outputs.push(Output {
                view: View {
                    event,
                    measure: context.measure,
                },
                event: part,
                carrier: open_place(&place, context.timeout)?,
                place: match &place {
                    Place::Stdout => String::from("standard output"),
                    place => place.to_string(),
                },
            });
        }
        let encoder = match spec.format {
            Format::Folded => Encoder::Folded,
            Format::Functions => {
                Encoder::Functions(Box::new(functions::Functions::new(outputs[0].view)))
            }
            Format::Samples => Encoder::Samples(context.shown),
            Format::Svg => Encoder::Svg(
                outputs
                    .iter()
                    .map(|output| svg::Chart::new(output.view))
                    .collect(),
            ),
            Format::Json => Encoder::Json,
            Format::Jsonl => Encoder::Jsonl,
            Format::Pprof => Encoder::Pprof(Box::default()),
        };
        Ok(Sink {
            spec: spec.clone(),
            run: Arc::clone(&context.run),
            timeout: context.timeout,
            outputs,
            encoder,
            first: None,
            taken_in: None,
            is_whole: false,
            is_broken: false,
        })
    }

    /// The output as asked for.
    pub fn spec(&self) -> &SinkSpec {
        &self.spec
    }

    /// What the output goes to, in words: files, sockets, standard output.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|output| output.place.as_str())
    }

    /// What the output says of all its samples, where its format has a place for that.
    pub fn set_labels(&mut self, labels: &Labels) {
        if let Encoder::Pprof(whole) = &mut self.encoder {
            whole.set_labels(labels);
        }
    }

    /// Writes a window. After [`WriteError::Io`] and [`WriteError::Stalled`] the same window may be written again, when
    /// [`Sink::divert`] has given it another place.
    pub fn write(&mut self, profile: &Profile) -> Result<(), WriteError> {
        let first = *self.first.get_or_insert(profile.span);
        if self
            .taken_in
            .is_none_or(|last| last < profile.span.sequence)
        {
            self.taken_in = Some(profile.span.sequence);
            self.encoder.add(profile);
        }
        if self.encoder.writes(profile) {
            let encoder = &self.encoder;
            put(
                &mut self.outputs,
                &mut self.is_broken,
                self.timeout,
                |idx, view, out| encoder.encode(idx, view, first, profile, out),
            )?;
        }
        self.is_whole = profile.span.is_last;
        Ok(())
    }

    /// Writes samples one by one, if the output holds such. What is said of [`Sink::write`] and its windows holds for these, too.
    pub fn write_samples(&mut self, samples: &[NamedSample]) -> Result<(), WriteError> {
        let Encoder::Samples(shown) = self.encoder else {
            return Ok(());
        };
        let run = &self.run;
        put(
            &mut self.outputs,
            &mut self.is_broken,
            self.timeout,
            |_, _, out| samples::encode(samples, run, shown, out),
        )
    }

    /// Closes the output. A flame graph or table whose last window never came is made of what there is.
    pub fn finish(mut self) -> Result<(), WriteError> {
        let (run, encoder) = (&self.run, &self.encoder);
        if !encoder.draws() || self.is_whole || self.is_broken || self.taken_in.is_none() {
            return Ok(());
        }
        put(
            &mut self.outputs,
            &mut self.is_broken,
            self.timeout,
            |idx, view, out| encoder.draw(idx, view, run, out),
        )
    }

    /// Sends all that follows to new files in `folder` (readable by their owner alone) and names them.
    pub fn divert(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut opened = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            opened.push(open_rescue(
                folder,
                output.event.as_deref(),
                self.spec.format,
            )?);
        }
        let mut paths = Vec::with_capacity(opened.len());
        for (output, (path, carrier)) in self.outputs.iter_mut().zip(opened) {
            output.place = path.display().to_string();
            output.carrier = Box::new(carrier);
            paths.push(path);
        }
        self.is_broken = false;
        Ok(paths)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.places().collect();
        f.debug_struct("Sink")
            .field("format", &self.spec.format)
            .field("places", &places)
            .finish_non_exhaustive()
    }
}

/// Whether each event has a file of its own. Devices and FIFOs are there once.
fn is_split(spec: &SinkSpec, n_events: usize) -> bool {
    let Place::File(path) = &spec.place else {
        return false;
    };
    let is_stream = path
        .metadata()
        .is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    spec.format.is_per_event() && n_events > 1 && !is_stream
}

fn open_place(place: &Place, timeout: Duration) -> Result<Box<dyn Carry>, OpenError> {
    Ok(match place {
        Place::File(path) => Box::new(FileCarrier::open(path)?),
        Place::Stdout => Box::new(StdoutCarrier::open().map_err(|source| OpenError::System {
            place: String::from("standard output"),
            source,
        })?),
        Place::Unix(path) => Box::new(UnixCarrier::connect(path, timeout)?),
        Place::Tcp(address) => Box::new(TcpCarrier::connect(address, timeout)?),
    })
}

/// Encodes into every output; commits all of them, or takes all of them back.
fn put(
    outputs: &mut [Output],
    is_broken: &mut bool,
    timeout: Duration,
    encode: impl Fn(usize, View, &mut BufWriter<&mut (dyn Carry + 'static)>) -> io::Result<()>,
) -> Result<(), WriteError> {
    if *is_broken {
        return Err(WriteError::Broken {
            place: outputs[0].place.clone(),
        });
    }
    let mut failed = None;
    for (idx, output) in outputs.iter_mut().enumerate() {
        let mut buffer = BufWriter::with_capacity(BUFFER, &mut *output.carrier);
        let written = encode(idx, output.view, &mut buffer).and_then(|()| buffer.flush());
        // Taken apart, because a buffer that is dropped would write once more what has just failed.
        let _ = buffer.into_parts();
        if let Err(source) = written {
            failed = Some(WriteError::of(&output.place, source, Some(timeout)));
            break;
        }
    }
    if failed.is_none() {
        failed = outputs.iter_mut().find_map(|output| {
            let source = output.carrier.commit().err()?;
            Some(WriteError::of(&output.place, source, None))
        });
    }
    let Some(error) = failed else {
        return Ok(());
    };
    for output in outputs {
        *is_broken |= !output.carrier.roll_back();
    }
    Err(error)
}

/// A free name: `perfd-rescued.cycles.folded`, else `perfd-rescued-2.cycles.folded`, …
fn open_rescue(
    folder: &Path,
    event: Option<&str>,
    format: Format,
) -> io::Result<(PathBuf, FileCarrier)> {
    const TRIES: usize = 10_000;
    for n in 1..TRIES {
        let stem = match n {
            1 => format!("perfd-rescued.{format}"),
            _ => format!("perfd-rescued-{n}.{format}"),
        };
        let mut path = folder.join(stem);
        if let Some(event) = event {
            path = names::with_event(&path, event);
        }
        match FileCarrier::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|carrier| (path, carrier)),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

#[cfg(test)]
mod tests;
