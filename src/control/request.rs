//! What a client asks for.

use serde::{Deserialize, Serialize};

use super::{MAX_DESCRIPTORS, MAX_NAME, TargetChoice};

/// A request; the field `do` says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Profile something.
    Attach(Attach),
    /// Stop profiling it.
    Detach(Detach),
    /// Say what is being profiled.
    List(List),
    /// Say what the daemon itself does and takes.
    Stats(StatsAsked),
    /// Begin a phase of a target: what comes is kept apart from what was.
    Mark(Mark),
    /// Give what there is so far, without stopping.
    Snapshot(Snapshot),
    /// Send every window of a target from now on.
    Tail(Tail),
    /// End the daemon.
    Shutdown(Shutdown),
}

impl Request {
    /// The word that stands behind `do`.
    pub fn word(&self) -> &'static str {
        match self {
            Request::Attach(_) => "attach",
            Request::Detach(_) => "detach",
            Request::List(_) => "list",
            Request::Stats(_) => "stats",
            Request::Mark(_) => "mark",
            Request::Snapshot(_) => "snapshot",
            Request::Tail(_) => "tail",
            Request::Shutdown(_) => "shutdown",
        }
    }

    /// What types do not hold: sizes of names, numbers that go with each other.
    ///
    /// # Errors
    /// What is wrong, in words for the client.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Request::Attach(attach) => attach.check(),
            Request::Mark(Mark {
                phase: Some(Phase(phase)),
                ..
            }) => checked_name("phase", phase),
            Request::Tail(Tail {
                heartbeat: Some(0), ..
            }) => Err("heartbeat: 0 seconds; leave it out for none".to_owned()),
            _ => Ok(()),
        }
    }
}

/// `attach`. With a pid come two descriptors, if the client is not an administrator: a pidfd of the process and its `/proc/PID/maps`, opened by the
/// client. Behind them one for each output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// What.
    pub target: TargetChoice,
    /// Events as `perfd record -e` takes them; those of the daemon's configuration if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Samples per second and CPU; that of the daemon's configuration if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<u64>,
    /// Whether the functions of Python programs are shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub python: bool,
    /// With a pid: whether its living descendants are taken too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tree: bool,
    /// What the target is called in lists and files; the daemon finds a name if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the target lives on when the client that asked for it leaves.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep: bool,
    /// Places that windows are written to: one descriptor of the request for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputAsked>,
}

impl Attach {
    /// Of this target, and nothing else said.
    pub fn to(target: TargetChoice) -> Attach {
        Attach {
            target,
            events: None,
            frequency: None,
            python: false,
            tree: false,
            name: None,
            keep: false,
            outputs: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(name) = &self.name {
            checked_name("name", name)?;
        }
        if self.outputs.len() > MAX_DESCRIPTORS {
            return Err(format!(
                "outputs: {} of them; a request brings at most {MAX_DESCRIPTORS} descriptors",
                self.outputs.len()
            ));
        }
        if self.events.as_ref().is_some_and(Vec::is_empty) {
            return Err("events: an empty list; leave it out for the daemon's own".to_owned());
        }
        if self.frequency == Some(0) {
            return Err("frequency: 0 is no number of samples a second".to_owned());
        }
        if self.tree && !matches!(self.target, TargetChoice::Pid(_)) {
            return Err("tree: only a pid has descendants to take".to_owned());
        }
        Ok(())
    }
}

/// An output that comes with `attach` as a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputAsked {
    /// In which form windows are written.
    pub format: OutputFormat,
    /// The event that is shown, where the form shows one; the first if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<String>,
}

/// The forms of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Folded stacks of every window.
    Folded,
    /// A table of functions, at the end.
    Functions,
    /// A flame graph, at the end.
    Svg,
    /// Counters and ledger, at the end.
    Json,
    /// The same, a line for each window.
    Jsonl,
    /// A pprof of all of it, at the end.
    Pprof,
}

/// `detach`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detach {
    /// The number that `attach` answered.
    pub target: u32,
}

/// `list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}

/// `stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsAsked {}

/// `shutdown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {}

/// The name of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phase(pub String);

/// `mark`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The number that `attach` answered.
    pub target: u32,
    /// The phase that begins; `null` ends the present one and begins none. Must be there, so that a forgotten name is not taken for that.
    #[serde(deserialize_with = "Option::deserialize")]
    pub phase: Option<Phase>,
}

/// `snapshot`; one descriptor may come with it, into which it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The number that `attach` answered.
    pub target: u32,
    /// In which form.
    pub format: SnapshotFormat,
    /// From when on.
    #[serde(default)]
    pub since: Since,
    /// The event that is shown, where the form shows one; the first if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<String>,
}

/// The forms of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotFormat {
    /// Folded stacks.
    Folded,
    /// A table of functions.
    Functions,
    /// A flame graph.
    Svg,
    /// Counters and ledger.
    Json,
    /// A pprof.
    Pprof,
}

/// Where a snapshot begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Since {
    /// When the target was attached.
    #[default]
    Start,
    /// With the present phase.
    Mark,
}

/// `tail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// The number that `attach` answered.
    pub target: u32,
    /// In which form windows come.
    pub format: TailFormat,
    /// The event that is shown, where the form shows one; the first if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<String>,
    /// A sign of life whenever nothing was sent for so many seconds; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<u32>,
}

/// The forms of a window on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TailFormat {
    /// Folded stacks, as a text.
    Folded,
    /// Counters and ledger, as an object: a line of the output format `jsonl`.
    Json,
    /// A compressed pprof, in base64.
    Pprof,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A name that a client gives stands in lists, logs and file names: short, and nothing in it that does more than be read.
fn checked_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{what}: an empty name; leave it out for none"));
    }
    if name.len() > MAX_NAME {
        return Err(format!("{what}: a name of more than {MAX_NAME} bytes"));
    }
    let is_plain = |char: char| !char.is_control() && char != '/' && !is_invisible(char);
    match name.chars().all(is_plain) && !name.starts_with('.') {
        true => Ok(()),
        false => Err(format!(
            "{what}: {name:?}: a name begins with no dot and has no slash, control or direction characters"
        )),
    }
}

/// Characters that change the order in which others are shown, or cannot be seen at all.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request, String> {
        let request: Request = serde_json::from_str(text).map_err(|error| error.to_string())?;
        request.check().map(|()| request)
    }

    #[test]
    fn every_request_is_read_back_as_it_was_written() {
        let attach = Attach {
            events: Some(vec!["cycles:u".to_owned()]),
            keep: true,
            outputs: vec![OutputAsked {
                format: OutputFormat::Svg,
                show: None,
            }],
            ..Attach::to(TargetChoice::Pid(42))
        };
        let requests = [
            Request::Attach(attach),
            Request::Attach(Attach::to(TargetChoice::Host)),
            Request::Detach(Detach { target: 7 }),
            Request::List(List {}),
            Request::Stats(StatsAsked {}),
            Request::Mark(Mark {
                target: 7,
                phase: Some(Phase("iteration 3".to_owned())),
            }),
            Request::Mark(Mark {
                target: 7,
                phase: None,
            }),
            Request::Snapshot(Snapshot {
                target: 7,
                format: SnapshotFormat::Folded,
                since: Since::Mark,
                show: None,
            }),
            Request::Tail(Tail {
                target: 7,
                format: TailFormat::Pprof,
                show: Some("cycles".to_owned()),
                heartbeat: Some(5),
            }),
            Request::Shutdown(Shutdown {}),
        ];
        for request in requests {
            let text = serde_json::to_string(&request).unwrap();
            assert!(text.starts_with(&format!("{{\"do\":\"{}\"", request.word())));
            assert_eq!(read(&text), Ok(request), "{text}");
        }
    }

    #[test]
    fn what_is_absent_has_its_documented_meaning() {
        let read = read(r#"{"do":"attach","target":{"comm":"postgres"}}"#).unwrap();
        let expected = Attach::to(TargetChoice::Comm("postgres".to_owned()));
        assert_eq!(read, Request::Attach(expected));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_field_that_is_wrong() {
        for (text, reason) in [
            (r#"{}"#, "missing field `do`"),
            (r#"{"do":"frobnicate"}"#, "unknown variant"),
            (r#"{"do":"list","more":1}"#, "unknown field `more`"),
            (r#"{"do":"attach"}"#, "missing field `target`"),
            (r#"{"do":"attach","target":{}}"#, "exactly one of"),
            (
                r#"{"do":"attach","target":{"pid":1,"comm":"a"}}"#,
                "exactly one of",
            ),
            (r#"{"do":"attach","target":{"pid":0}}"#, "from 1 to"),
            (
                r#"{"do":"attach","target":{"pid":4294967295}}"#,
                "from 1 to",
            ),
            (r#"{"do":"attach","target":{"pid":-1}}"#, "invalid value"),
            (r#"{"do":"attach","target":{"host":false}}"#, "host is true"),
            (r#"{"do":"attach","target":{"unit":""}}"#, "empty"),
            (
                r#"{"do":"attach","target":{"pid":1},"path":"/etc"}"#,
                "unknown field `path`",
            ),
            (
                r#"{"do":"attach","target":{"pid":1},"name":"../x"}"#,
                "no slash",
            ),
            (
                r#"{"do":"attach","target":{"pid":1},"name":"a\nb"}"#,
                "control",
            ),
            (
                r#"{"do":"attach","target":{"pid":1},"name":"a\u202eb"}"#,
                "direction",
            ),
            (
                r#"{"do":"attach","target":{"pid":1},"events":[]}"#,
                "empty list",
            ),
            (
                r#"{"do":"attach","target":{"pid":1},"frequency":0}"#,
                "frequency",
            ),
            (
                r#"{"do":"attach","target":{"host":true},"tree":true}"#,
                "tree",
            ),
            (r#"{"do":"mark","target":1}"#, "missing field `phase`"),
            (
                r#"{"do":"mark","target":1,"phase":""}"#,
                "phase: an empty name",
            ),
            (
                r#"{"do":"tail","target":1,"format":"svg"}"#,
                "unknown variant",
            ),
            (
                r#"{"do":"tail","target":1,"format":"json","heartbeat":0}"#,
                "heartbeat",
            ),
            (r#"{"do":"detach","target":1e999}"#, "out of range"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(reason), "{text}: {said}");
        }
    }
}
