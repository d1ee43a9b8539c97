//! The file as it is written: every key may be missing. Layers of it make a [`Config`].

use serde::Deserialize;
use toml::Spanned;

use super::super::selector::{Selector, SelectorError};
use super::values::{Events, Frequency, Kept, Number, Size, Time};
use super::{Config, ConfiguredTarget, Files, Limits, Names, Sampling, keys};
use crate::model::{Fault, FaultClass, Hz};

const DAY: u64 = 86_400_000;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Declares a table whose keys may all be missing, and how one lies over another.
macro_rules! layer {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $value:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($key: Option<$value>,)*
        }

        impl $name {
            fn over(self, below: $name) -> $name {
                $name { $($key: self.$key.or(below.$key),)* }
            }
        }
    };
}

layer! {
    /// `[names]`.
    RawNames {
        inline: bool,
        cache: bool,
        memory: Size<{ 16 * MIB }, { 64 << 30 }>,
    }
}

layer! {
    /// `[limits]`.
    RawLimits {
        targets: Number<1, 1024>,
        targets_per_user: Number<0, 1024>,
        processes: Number<16, 65_536>,
        engines: Number<1, 16>,
        user_frequency: Frequency,
        clients: Number<1, 4096>,
        clients_per_user: Number<1, 4096>,
        client_queue: Size<{ 64 << 10 }, { 1 << 30 }>,
        client_patience: Time<100, DAY>,
        snapshot: Size<{ 64 << 10 }, { 1 << 30 }>,
        tables: Size<{ 4 * MIB }, { 64 << 30 }>,
    }
}

layer! {
    /// `[files]`.
    RawFiles {
        targets: Kept,
        window: Time<1000, DAY>,
        max_bytes: Size<{ 64 << 10 }, { 4 << 30 }>,
        keep_for: Time<60_000, { 3660 * DAY }>,
        keep_bytes: Size<MIB, { 1024 * TIB }>,
    }
}

/// A `[[target]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    name: Option<String>,
    pid: Option<i64>,
    comm: Option<String>,
    cgroup: Option<String>,
    unit: Option<String>,
    container: Option<String>,
    host: Option<bool>,
    events: Option<Events>,
    frequency: Option<Frequency>,
    python: Option<bool>,
    files: Option<bool>,
}

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    frequency: Option<Frequency>,
    events: Option<Events>,
    python: Option<bool>,
    window: Option<Time<100, 3_600_000>>,
    admin_group: Option<String>,
    #[serde(default)]
    names: RawNames,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    files: RawFiles,
    #[serde(default)]
    target: Vec<Spanned<RawTarget>>,
}

/// Reads the text; values are held to their bounds.
pub(super) fn parse(text: &str) -> Result<Raw, Fault> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map(|span| span.start);
        if let Some(key) = start.and_then(|start| key_without_value(text, start)) {
            return without_value(text, start, key);
        }
        // serde lists what is allowed behind a comma; that is a line of its own here.
        let (what, allowed) = match error.message().split_once(", expected ") {
            Some((what, allowed)) => in_words(what, allowed),
            None => (error.message().to_owned(), None),
        };
        let fault = wrong(text, start, &what);
        match allowed {
            Some(allowed) => fault.hint(format!(
                "allowed here: {}",
                allowed.trim_start_matches("one of ")
            )),
            None => fault,
        }
        .hint("try: perfd config   for all keys and what they are for")
    })
}

/// What serde says, in the words of the file; and what is allowed, where it is a list.
fn in_words<'a>(what: &str, allowed: &'a str) -> (String, Option<&'a str>) {
    let Some(found) = what.strip_prefix("invalid type: ") else {
        let what = what.replace("unknown field", "unknown key");
        return (
            what.replace("unknown variant", "unknown value"),
            Some(allowed),
        );
    };
    let wanted = match allowed {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "a list: [\"…\", \"…\"]",
        // Of Rust's structs.
        _ => "a table",
    };
    (format!("{found}, where {wanted} belongs"), None)
}

/// The key of the line at a place, if there is nothing behind it.
fn key_without_value(text: &str, start: usize) -> Option<&str> {
    let line = text.lines().nth(line_of(text, start)?)?;
    let line = line.split('#').next()?.trim();
    let key = line.strip_suffix('=').unwrap_or(line).trim_end();
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (!key.is_empty() && key.bytes().all(is_key)).then_some(key)
}

fn without_value(text: &str, start: Option<usize>, key: &str) -> Fault {
    let before = start
        .and_then(|start| text.get(..start))
        .unwrap_or_default();
    let mut tables = before.lines().rev().map(str::trim);
    let table = tables.find_map(|line| line.strip_prefix('[')?.split(']').next());
    let fault = wrong(text, start, &format!("key `{key}` has no value"));
    match keys::default_of(table.unwrap_or_default(), key) {
        Some(default) => fault.hint(format!(
            "try: {key} = {default}   which is the default, or without this line"
        )),
        None => fault.hint("try: a value behind it, or without this line"),
    }
    .hint("try: perfd config   for all keys and what they are for")
}

/// Where a key of a table stands, the first being that without a name.
fn place_of(text: &str, table: &str, key: &str) -> Option<usize> {
    let (mut place, mut present) = (0, "");
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if let Some(heading) = trimmed.strip_prefix('[') {
            present = heading.split(']').next().unwrap_or_default().trim();
        }
        let name = trimmed.split('=').next().unwrap_or_default().trim();
        if present == table && name == key {
            return Some(place);
        }
        place += line.len();
    }
    None
}

/// The number of the line at a place, from 0 on.
fn line_of(text: &str, start: usize) -> Option<usize> {
    Some(text.get(..start)?.matches('\n').count())
}

/// What is wrong at a place of the text, with its line.
fn wrong(text: &str, start: Option<usize>, what: &str) -> Fault {
    let place = start.and_then(|start| {
        let number = line_of(text, start)?;
        let line = text.lines().nth(number)?.trim();
        let shown: String = line.chars().take(80).collect();
        Some(format!("line {}: {shown}: ", number + 1))
    });
    let text = format!("{}{}", place.unwrap_or_default(), what.replace('\n', " "));
    Fault::new(FaultClass::Configuration, text)
}

impl Raw {
    /// What this one does not say is as below.
    pub(super) fn over(self, below: Raw) -> Raw {
        Raw {
            frequency: self.frequency.or(below.frequency),
            events: self.events.or(below.events),
            python: self.python.or(below.python),
            window: self.window.or(below.window),
            admin_group: self.admin_group.or(below.admin_group),
            names: self.names.over(below.names),
            limits: self.limits.over(below.limits),
            files: self.files.over(below.files),
            target: self.target,
        }
    }

    /// What all of it means; `text` is where places of targets are found.
    ///
    /// # Errors
    /// A target that is none or several, or has another's name; limits that contradict each other.
    pub(super) fn check(self, text: &str) -> Result<Config, Fault> {
        let missing = |key: &str| Fault::new(FaultClass::Internal, format!("{key} has no default"));
        macro_rules! value {
            ($($key:ident).+) => {
                self.$($key).+.ok_or_else(|| missing(stringify!($($key).+)))?
            };
        }
        let sampling = Sampling {
            frequency: Hz::from(value!(frequency)),
            python: value!(python),
            events: self.events.ok_or_else(|| missing("events"))?.0,
        };
        let files = Files {
            targets: value!(files.targets),
            window: value!(files.window).0,
            max_bytes: value!(files.max_bytes).0,
            keep_for: value!(files.keep_for).0,
            keep_bytes: value!(files.keep_bytes).0,
        };
        let limits = Limits {
            targets: value!(limits.targets).count(),
            targets_per_user: value!(limits.targets_per_user).count(),
            processes: value!(limits.processes).count(),
            engines: value!(limits.engines).count(),
            user_frequency: Hz::from(value!(limits.user_frequency)),
            clients: value!(limits.clients).count(),
            clients_per_user: value!(limits.clients_per_user).count(),
            client_queue: value!(limits.client_queue).0,
            client_patience: value!(limits.client_patience).0,
            snapshot: value!(limits.snapshot).0,
            tables: value!(limits.tables).0,
        };
        let names = Names {
            inline: value!(names.inline),
            cache: value!(names.cache),
            memory: value!(names.memory).0,
        };
        let window = value!(window).0;
        let mut targets: Vec<ConfiguredTarget> = Vec::with_capacity(self.target.len());
        for spanned in self.target {
            let start = spanned.span().start;
            let target = check_target(spanned.into_inner(), &sampling, files.targets)
                .map_err(|what| of_target(text, start, &what))?;
            if targets.iter().any(|earlier| earlier.name == target.name) {
                let what = format!("there is a target of the name {:?} already", target.name);
                return Err(
                    of_target(text, start, &what).hint("try: name = \"…\" to tell them apart")
                );
            }
            targets.push(target);
        }
        if targets.len() > limits.targets {
            let what = format!(
                "{} targets; limits.targets is {}",
                targets.len(),
                limits.targets
            );
            return Err(Fault::new(FaultClass::Configuration, what));
        }
        if files.window < window {
            let what = format!(
                "files.window is {:?}, shorter than window, {window:?}",
                files.window
            );
            // One of them stands there, or both: they are not so by default.
            let place = place_of(text, "files", "window").or_else(|| place_of(text, "", "window"));
            return Err(wrong(text, place, &what).hint(
                "a file holds whole windows: try a longer files.window, or a shorter window",
            ));
        }
        Ok(Config {
            sampling,
            window,
            admin_group: self.admin_group.filter(|group| !group.is_empty()),
            names,
            limits,
            files,
            targets,
        })
    }
}

fn of_target(text: &str, start: usize, what: &str) -> Fault {
    wrong(text, Some(start), what)
}

/// A target from its keys: exactly one says what it is.
fn check_target(
    raw: RawTarget,
    default: &Sampling,
    kept: Kept,
) -> Result<ConfiguredTarget, String> {
    let pid = raw
        .pid
        .map(|pid| Selector::pid(u64::try_from(pid).unwrap_or(0)));
    let of = |value: Option<String>, parse: fn(&str) -> Result<Selector, SelectorError>| {
        value.map(|value| parse(&value))
    };
    let host = match raw.host {
        Some(false) => return Err("host = false is no target".to_owned()),
        Some(true) => Some(Ok(Selector::Host)),
        None => None,
    };
    let named = [
        pid,
        of(raw.comm, Selector::comm),
        of(raw.cgroup, Selector::cgroup),
        of(raw.unit, Selector::unit),
        of(raw.container, Selector::container),
        host,
    ];
    let mut selectors = named.into_iter().flatten();
    let (Some(selector), None) = (selectors.next(), selectors.next()) else {
        return Err(
            "a target has exactly one of pid, comm, cgroup, unit, container, host".to_owned(),
        );
    };
    let selector = selector.map_err(|error| error.to_string())?;
    let name = raw.name.unwrap_or_else(|| selector.default_name());
    check_name(&name)?;
    Ok(ConfiguredTarget {
        name,
        selector,
        sampling: Sampling {
            events: raw
                .events
                .map_or_else(|| default.events.clone(), |events| events.0),
            frequency: raw.frequency.map_or(default.frequency, Hz::from),
            python: raw.python.unwrap_or(default.python),
        },
        files: raw.files.unwrap_or(kept != Kept::None),
    })
}

/// A name is one line of a list, a label and, escaped, a folder.
fn check_name(name: &str) -> Result<(), String> {
    match (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!(
            "name {name:?}: not 1 to {MAX_NAME} bytes without control characters"
        )),
    }
}

/// As long as a file's name may be, with room for escapes.
const MAX_NAME: usize = 200;
