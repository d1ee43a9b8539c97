//! `[FORMAT:]WHERE`: an output as it is typed.
//!
//! ```text
//! FORMAT   folded | functions | samples | svg | json | jsonl | pprof
//!                                             from the file's ending where it is not given
//! WHERE    -                                  standard output
//!          PATH                               a file, FIFO or device; `./a:b` if it has a colon
//!          unix:PATH                          a listening unix socket
//!          tcp:HOST:PORT                      a listening TCP socket; [::1]:9000 for IPv6
//! ```
//!
//! A file without an ending, standard output and sockets are folded, or with `--timestamps` samples. Nothing is opened here.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The form in which a profile is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Folded stacks: one line for each distinct stack.
    Folded,
    /// A table of functions with all events.
    Functions,
    /// Every sample by itself.
    Samples,
    /// A flame graph.
    Svg,
    /// Counters and ledger of the run as one document.
    Json,
    /// Counters and ledger of each window as one line, then of the run.
    Jsonl,
    /// All of it, for `go tool pprof` and for perfd to read back.
    Pprof,
}

/// What pprof files are usually called.
const PPROF_ENDING: &[u8] = b".pb.gz";

impl Format {
    /// Every format; its name is also its file ending.
    pub const ALL: [Format; 7] = [
        Format::Folded,
        Format::Functions,
        Format::Samples,
        Format::Svg,
        Format::Json,
        Format::Jsonl,
        Format::Pprof,
    ];

    /// As typed before the colon, and as file ending.
    pub fn name(self) -> &'static str {
        match self {
            Format::Folded => "folded",
            Format::Functions => "functions",
            Format::Samples => "samples",
            Format::Svg => "svg",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Pprof => "pprof",
        }
    }

    /// Whether the format shows the stacks of one event, so that several events need several files.
    pub fn is_per_event(self) -> bool {
        matches!(self, Format::Folded | Format::Svg)
    }

    fn named(name: &[u8]) -> Option<Format> {
        Format::ALL
            .into_iter()
            .find(|format| format.name().as_bytes() == name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The place to which a profile is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A path: a file, or a FIFO or device that is there already.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// A unix stream socket that somebody listens on.
    Unix(PathBuf),
    /// `HOST:PORT` that somebody listens on.
    Tcp(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) if may_be_misread(path) => write!(f, "./{}", path.display()),
            Place::File(path) => path.display().fmt(f),
            Place::Stdout => f.write_str("-"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Whether a path would not be read as the path it is.
fn may_be_misread(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"-" || head_of(bytes).is_some()
}

/// An output, as asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SinkSpec {
    /// In which form.
    pub format: Format,
    /// To which place.
    pub place: Place,
}

impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.format, self.place)
    }
}

/// Why an output's text was not understood; the text says what to type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSinkError {
    /// Nothing before or behind the colon.
    #[error(
        "output {0:?} names no place\n  type - for standard output, a file name, unix:PATH or tcp:HOST:PORT"
    )]
    NoPlace(String),
    /// A word before a colon that is neither format nor kind of place.
    #[error(
        "output {whole:?}: {head:?} is neither a format (folded, functions, samples, svg, json, jsonl, pprof) nor a kind of place (unix, tcp)\n  for a file with a colon in its name type {as_file:?}"
    )]
    Head {
        /// As typed.
        whole: String,
        /// Before the colon.
        head: String,
        /// What to type if a file was meant.
        as_file: String,
    },
    /// A file ending that is no format's.
    #[error(
        "output {path:?}: the ending .{ending} says no format (folded, functions, samples, svg, json, jsonl, pb.gz and pprof do)\n  for folded stacks in that file type {as_folded:?}"
    )]
    Ending {
        /// As typed.
        path: String,
        /// Behind the last dot.
        ending: String,
        /// What to type for folded stacks.
        as_folded: String,
    },
    /// A TCP address without host or port.
    #[error(
        "output {whole:?}: {address:?} is no HOST:PORT\n  type for example tcp:localhost:9000, or tcp:[::1]:9000"
    )]
    Tcp {
        /// As typed.
        whole: String,
        /// Behind `tcp:`.
        address: String,
    },
}

impl SinkSpec {
    /// Reads `[FORMAT:]WHERE`; a place that says no format has the one of `unsaid`.
    pub fn parse(typed: &OsStr, unsaid: Format) -> Result<SinkSpec, ParseSinkError> {
        let whole = typed.as_bytes();
        let (format, place) = match head_of(whole).and_then(Format::named) {
            Some(format) => (Some(format), &whole[format.name().len() + 1..]),
            None => (None, whole),
        };
        let place = parse_place(place, typed)?;
        let format = match (format, &place) {
            (Some(format), _) => format,
            (None, Place::File(path)) => format_of_ending(path, unsaid)?,
            (None, _) => unsaid,
        };
        Ok(SinkSpec { format, place })
    }
}

impl FromStr for SinkSpec {
    type Err = ParseSinkError;

    fn from_str(typed: &str) -> Result<SinkSpec, ParseSinkError> {
        SinkSpec::parse(OsStr::new(typed), Format::Folded)
    }
}

/// The first output that goes to the place of an earlier one, however it is written; what both write would be mixed.
pub fn same_place_twice(specs: &[SinkSpec]) -> Option<&SinkSpec> {
    specs.iter().enumerate().find_map(|(idx, spec)| {
        let place = resolved(&spec.place);
        let is_taken = specs[..idx]
            .iter()
            .any(|earlier| resolved(&earlier.place) == place);
        is_taken.then_some(spec)
    })
}

/// The same without links and detours in the path, as far as it leads to something; a file that is not there yet by its folder.
fn resolved(place: &Place) -> Place {
    let Place::File(path) = place else {
        return place.clone();
    };
    let in_folder = || {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    Place::File(
        path.canonicalize()
            .ok()
            .or_else(in_folder)
            .unwrap_or_else(|| path.clone()),
    )
}

/// What stands before the first colon, unless a slash comes before it: then it is all a path.
fn head_of(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes
        .iter()
        .position(|byte| matches!(byte, b':' | b'/'))
        .filter(|end| bytes[*end] == b':')?;
    Some(&bytes[..end])
}

fn parse_place(bytes: &[u8], typed: &OsStr) -> Result<Place, ParseSinkError> {
    let whole = || typed.to_string_lossy().into_owned();
    let Some(head) = head_of(bytes) else {
        return match bytes {
            b"" => Err(ParseSinkError::NoPlace(whole())),
            b"-" => Ok(Place::Stdout),
            path => Ok(Place::File(path_of(path))),
        };
    };
    let rest = &bytes[head.len() + 1..];
    match head {
        b"unix" | b"tcp" if rest.is_empty() => Err(ParseSinkError::NoPlace(whole())),
        b"unix" => Ok(Place::Unix(path_of(rest))),
        b"tcp" => {
            let address = String::from_utf8_lossy(rest).into_owned();
            if is_host_and_port(&address) {
                return Ok(Place::Tcp(address));
            }
            Err(ParseSinkError::Tcp {
                whole: whole(),
                address,
            })
        }
        _ => {
            let file = String::from_utf8_lossy(bytes).into_owned();
            let front = &typed.as_bytes()[..typed.len() - bytes.len()];
            Err(ParseSinkError::Head {
                whole: whole(),
                head: String::from_utf8_lossy(head).into_owned(),
                as_file: format!("{}./{file}", String::from_utf8_lossy(front)),
            })
        }
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from(OsStr::from_bytes(bytes)))
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let is_bare = !host.contains(':') && !host.contains(['[', ']']);
    let is_bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    !host.is_empty() && (is_bare || is_bracketed) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn format_of_ending(path: &Path, unsaid: Format) -> Result<Format, ParseSinkError> {
    let Some(ending) = path.extension() else {
        return Ok(unsaid);
    };
    if path.as_os_str().as_bytes().ends_with(PPROF_ENDING) {
        return Ok(Format::Pprof);
    }
    Format::named(ending.as_bytes()).ok_or_else(|| ParseSinkError::Ending {
        path: path.to_string_lossy().into_owned(),
        ending: ending.to_string_lossy().into_owned(),
        as_folded: format!("folded:{}", Place::File(path.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, format: Format, place: Place) {
        let spec = SinkSpec { format, place };
        assert_eq!(typed.parse(), Ok(spec.clone()), "{typed}");
        assert_eq!(spec.to_string().parse(), Ok(spec), "{typed}");
    }

    fn file(path: &str) -> Place {
        Place::File(PathBuf::from(path))
    }

    #[test]
    fn the_format_follows_from_the_ending() {
        check("out.folded", Format::Folded, file("out.folded"));
        check("/a.b/out.svg", Format::Svg, file("/a.b/out.svg"));
        check("out.functions", Format::Functions, file("out.functions"));
        check("out.samples", Format::Samples, file("out.samples"));
        check("out.json", Format::Json, file("out.json"));
        check("out.jsonl", Format::Jsonl, file("out.jsonl"));
        check("out.pprof", Format::Pprof, file("out.pprof"));
        check("a.b/out.pb.gz", Format::Pprof, file("a.b/out.pb.gz"));
        check("/dev/full", Format::Folded, file("/dev/full"));
    }

    #[test]
    fn a_format_in_front_wins_over_the_ending() {
        check("svg:out.folded", Format::Svg, file("out.folded"));
        check("folded:out.txt", Format::Folded, file("out.txt"));
        check("json:-", Format::Json, Place::Stdout);
        check("functions:-", Format::Functions, Place::Stdout);
    }

    #[test]
    fn standard_output_and_sockets_are_folded() {
        check("-", Format::Folded, Place::Stdout);
        check(
            "unix:/run/x.json",
            Format::Folded,
            Place::Unix("/run/x.json".into()),
        );
        check(
            "jsonl:unix:/run/x",
            Format::Jsonl,
            Place::Unix("/run/x".into()),
        );
        check(
            "tcp:localhost:80",
            Format::Folded,
            Place::Tcp("localhost:80".into()),
        );
        check(
            "svg:tcp:[::1]:80",
            Format::Svg,
            Place::Tcp("[::1]:80".into()),
        );
    }

    #[test]
    fn a_place_that_says_no_format_has_the_one_that_the_run_is_about() {
        for (typed, expected) in [
            ("-", Format::Samples),
            ("out", Format::Samples),
            ("unix:/run/x.json", Format::Samples),
            ("out.folded", Format::Folded),
            ("folded:-", Format::Folded),
        ] {
            let spec = SinkSpec::parse(OsStr::new(typed), Format::Samples);
            assert_eq!(spec.map(|spec| spec.format), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn a_path_with_a_colon_begins_with_a_slash_or_a_dot() {
        check("./a:b", Format::Folded, file("./a:b"));
        check("/tmp/unix:b.svg", Format::Svg, file("/tmp/unix:b.svg"));
        check("svg:./unix:b", Format::Svg, file("./unix:b"));
        check("./-", Format::Folded, file("./-"));
    }

    #[test]
    fn an_error_says_what_to_type() {
        for (typed, remedy) in [
            ("", "type - for"),
            ("svg:", "type - for"),
            ("unix:", "unix:PATH"),
            ("a:b", "type \"./a:b\""),
            ("svg:a:b", "type \"svg:./a:b\""),
            ("flame.gz", "type \"folded:flame.gz\""),
            ("flame.html", "type \"folded:flame.html\""),
            ("tcp:9000", "tcp:localhost:9000"),
            ("tcp:::1:9000", "tcp:[::1]:9000"),
            ("tcp:host:0", "HOST:PORT"),
            ("tcp:host:99999", "HOST:PORT"),
        ] {
            let error = typed.parse::<SinkSpec>().unwrap_err().to_string();
            assert!(error.contains(remedy), "{typed}: {error}");
        }
    }

    #[test]
    fn the_same_place_twice_is_found() {
        let specs = ["out.svg", "-", "json:out.svg"].map(|typed| typed.parse().unwrap());
        assert_eq!(same_place_twice(&specs), Some(&specs[2]));
        assert_eq!(same_place_twice(&specs[..2]), None);
    }

    #[test]
    fn a_path_that_is_not_utf8_is_kept() {
        let typed = OsStr::from_bytes(b"svg:\xff");
        let place = Place::File(PathBuf::from(OsStr::from_bytes(b"\xff")));
        assert_eq!(
            SinkSpec::parse(typed, Format::Folded),
            Ok(SinkSpec {
                format: Format::Svg,
                place
            })
        );
    }
}
