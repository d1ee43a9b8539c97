//! One output for a whole run: an encoder joined to its open places.
//!
//! Each window goes through [`Sink::write`] once, in order. Folded stacks and JSON lines are written at once; a flame
//! graph and a JSON document with the last window. A window stands in the output whole or not at all, where the
//! place allows.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::carry::{Carry, FileCarrier, StdoutCarrier, TcpCarrier, UnixCarrier};
use super::encode::{Measure, View, folded, json, svg};
use super::{Format, OpenError, Place, SinkSpec, WriteError, names};
use crate::model::{EventIdx, Profile, RunInfo, WindowSpan};

const BUFFER: usize = 1 << 16;

/// What a sink must know of its run.
#[derive(Clone, Debug)]
pub struct OpenContext {
    /// The run; its events name the files.
    pub run: Arc<RunInfo>,
    /// `--show`: this event alone. `None`: files are one for each event, all else shows the first.
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
    /// One for each output.
    Svg(Vec<svg::Chart>),
    Json,
    Jsonl,
}

impl Encoder {
    /// Whether this window makes the encoder write.
    fn writes(&self, profile: &Profile) -> bool {
        match self {
            Encoder::Folded | Encoder::Jsonl => true,
            Encoder::Svg(_) | Encoder::Json => profile.span.is_last,
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
            Encoder::Svg(charts) => charts[idx].draw(&profile.run, out),
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
                place: place.to_string(),
            });
        }
        let encoder = match spec.format {
            Format::Folded => Encoder::Folded,
            Format::Svg => Encoder::Svg(
                outputs
                    .iter()
                    .map(|output| svg::Chart::new(output.view))
                    .collect(),
            ),
            Format::Json => Encoder::Json,
            Format::Jsonl => Encoder::Jsonl,
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

    /// The files, sockets or `-` that the output goes to.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|output| output.place.as_str())
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
            if let Encoder::Svg(charts) = &mut self.encoder {
                charts.iter_mut().for_each(|chart| chart.add(profile));
            }
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

    /// Closes the output. A flame graph whose last window never came is drawn from what there is.
    pub fn finish(mut self) -> Result<(), WriteError> {
        let Encoder::Svg(charts) = &self.encoder else {
            return Ok(());
        };
        if self.is_whole || self.is_broken || self.taken_in.is_none() {
            return Ok(());
        }
        let run = &self.run;
        put(
            &mut self.outputs,
            &mut self.is_broken,
            self.timeout,
            |idx, _, out| charts[idx].draw(run, out),
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
mod tests {
    use std::fs;
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::model::*;

    fn context(n_events: usize) -> OpenContext {
        let events = [HardwareEvent::Cycles, HardwareEvent::Instructions];
        OpenContext {
            run: Arc::new(RunInfo {
                perfd_version: "",
                hostname: String::new(),
                kernel: String::new(),
                target: String::from("<script>alert(1)</script>"),
                events: events[..n_events]
                    .iter()
                    .map(|event| SampledEvent {
                        spec: EventSpec::new(EventSource::Hardware(*event)),
                        rate: Rate::Period(10),
                    })
                    .collect(),
                notes: Vec::new(),
            }),
            shown: None,
            measure: Measure::Weight,
            timeout: Duration::from_secs(60),
        }
    }

    fn window(context: &OpenContext, sequence: u64, is_last: bool, name: &str) -> Profile {
        let weight = |total| Weight { total, samples: 1 };
        Profile {
            run: Arc::clone(&context.run),
            span: WindowSpan {
                sequence,
                start: MonoNs(sequence * 100),
                end: MonoNs(sequence * 100 + 100),
                start_unix_ns: 0,
                is_last,
            },
            rows: vec![Row {
                task: TaskLabel {
                    comm: "app".into(),
                    pid: None,
                    tid: None,
                },
                ended: Ended::Root,
                frames: vec![FrameName {
                    text: name.into(),
                    kind: NameKind::User,
                    unnamed: None,
                }],
                weights: vec![weight(7), weight(9)],
            }],
            processes: Vec::new(),
            ledger: Ledger::default(),
            whole_run: None,
        }
    }

    fn open(typed: &str, context: &OpenContext) -> Sink {
        Sink::open(&typed.parse().unwrap(), context).unwrap()
    }

    fn written(sink: &mut Sink, context: &OpenContext) {
        sink.write(&window(context, 0, false, "f")).unwrap();
        sink.write(&window(context, 1, true, "g")).unwrap();
    }

    #[test]
    fn each_event_has_a_file_of_its_own_and_windows_follow_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(2);
        let typed = format!("{}/out.folded", dir.path().display());
        let mut sink = open(&typed, &context);
        written(&mut sink, &context);
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("out.cycles.folded"), "app;f 7\napp;g 7\n");
        assert_eq!(read("out.instructions.folded"), "app;f 9\napp;g 9\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        sink.finish().unwrap();
    }

    #[test]
    fn an_event_that_is_asked_for_alone_has_the_plain_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = context(2);
        context.shown = Some(EventIdx(1));
        let typed = format!("{}/out.folded", dir.path().display());
        written(&mut open(&typed, &context), &context);
        assert_eq!(fs::read_to_string(&typed).unwrap(), "app;f 9\napp;g 9\n");
    }

    #[test]
    fn a_flame_graph_shows_all_windows_and_no_markup_of_hostile_names() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(1);
        let path = dir.path().join("out.svg");
        let mut sink = open(path.to_str().unwrap(), &context);
        let hostile = "</title><script>alert('x')</script>\"]]>&";
        sink.write(&window(&context, 0, false, hostile)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        sink.write(&window(&context, 1, true, "g")).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        assert!(svg.contains("app (14 cycles, 100.00%)"), "{svg}");
        assert!(svg.contains("g (7 cycles, 50.00%)"), "{svg}");
        assert!(!svg.contains("<script>alert"), "{svg}");
        assert!(svg.contains("&lt;script&gt;alert("), "{svg}");
        assert_eq!(svg.matches("</script>").count(), 1);
    }

    #[test]
    fn a_flame_graph_without_samples_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(1);
        let path = dir.path().join("out.svg");
        let mut empty = window(&context, 0, true, "f");
        empty.rows.clear();
        open(path.to_str().unwrap(), &context)
            .write(&empty)
            .unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        assert!(
            svg.contains("no samples") && !svg.contains("<script>"),
            "{svg}"
        );
    }

    #[test]
    fn json_lines_end_with_the_whole_run() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(1);
        let path = dir.path().join("out.jsonl");
        written(&mut open(path.to_str().unwrap(), &context), &context);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let kinds: Vec<_> = lines
            .iter()
            .map(|line| line["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["window", "window", "end"]);
        assert_eq!(lines[1]["elapsed_ns"], 100);
        assert_eq!(lines[2]["elapsed_ns"], 200);
        assert_eq!(lines[2]["windows"], 2);
        assert_eq!(lines[2]["events"][0]["rate"]["period"], 10);
    }

    #[test]
    fn a_full_disk_is_an_error_and_the_window_can_go_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(2);
        for (format, expected) in [
            ("folded", "app;f 7\n"),
            ("svg", "f (7 cycles"),
            ("json", "\"run\""),
        ] {
            let mut sink = open(&format!("{format}:/dev/full"), &context);
            let window = window(&context, 0, true, "f");
            let error = sink.write(&window).unwrap_err();
            assert!(matches!(error, WriteError::Io { .. }), "{error}");
            assert!(matches!(
                sink.write(&window),
                Err(WriteError::Broken { .. })
            ));
            let paths = sink.divert(dir.path()).unwrap();
            sink.write(&window).unwrap();
            assert_eq!(paths, [dir.path().join(format!("perfd-rescued.{format}"))]);
            let text = fs::read_to_string(&paths[0]).unwrap();
            assert!(text.contains(expected), "{text}");
        }
        let mut again = open("folded:/dev/full", &context);
        let second = dir.path().join("perfd-rescued-2.folded");
        assert_eq!(again.divert(dir.path()).unwrap(), [second]);
    }

    #[test]
    fn sockets_get_each_window_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(2);
        let path = dir.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let check = |typed: String, mut accept: Box<dyn FnMut() -> Box<dyn Read>>| {
            let mut sink = open(&typed, &context);
            let mut reader = accept();
            let mut text = [0; 8];
            sink.write(&window(&context, 0, false, "f")).unwrap();
            reader.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"app;f 7\n");
            drop(reader);
            let closed = (1..1000).find_map(|n| sink.write(&window(&context, n, false, "f")).err());
            assert!(closed.unwrap().is_closed());
        };
        check(
            format!("unix:{}", path.display()),
            Box::new(|| Box::new(unix.accept().unwrap().0)),
        );
        check(
            format!("tcp:{}", tcp.local_addr().unwrap()),
            Box::new(|| Box::new(tcp.accept().unwrap().0)),
        );
    }

    #[test]
    fn a_reader_that_takes_nothing_ends_its_own_output_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = context(1);
        context.timeout = Duration::from_millis(1);
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut sink = open(&format!("unix:{}", path.display()), &context);
        let error = (0..1_000_000).find_map(|n| sink.write(&window(&context, n, false, "f")).err());
        assert!(
            matches!(error, Some(WriteError::Stalled { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn nobody_at_the_socket_is_found_before_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let check = |expected: &str| {
            let spec = format!("unix:{}", path.display()).parse().unwrap();
            let error = Sink::open(&spec, &context(1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("no such socket");
        drop(UnixListener::bind(&path).unwrap());
        check("nobody listens");
    }
}
