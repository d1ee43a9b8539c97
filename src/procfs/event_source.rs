//! Which events this host has, and what the kernel calls them: sysfs's `event_source` bus and tracefs.
//!
//! Opens no event: that a PMU is described here does not prove that the kernel lets perfd use it
//! (`sys::probe` asks that).
//!
//! ```text
//! <sys>/bus/event_source/devices/<pmu>/type            its number
//! <sys>/bus/event_source/devices/<pmu>/format/<term>   the bits a term fills
//! <sys>/bus/event_source/devices/<pmu>/events/<name>   terms that make up a named event
//! <tracefs>/events/<subsystem>/<name>/id               a tracepoint's number
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::SysRoots;
use super::pmu_format::{Field, Format, parse_event};
pub use super::resolve_event_error::ResolveEventError;
use super::tracefs::{tracepoint_id, tracepoints};
use crate::model::{CacheEvent, CacheOp, CacheResult, EventSource, EventSpec, ResolvedEvent};
use crate::model::{Modes, NAMES};

// `enum perf_type_id` of <linux/perf_event.h>.
const TYPE_HARDWARE: u32 = 0;
const TYPE_SOFTWARE: u32 = 1;
const TYPE_TRACEPOINT: u32 = 2;
const TYPE_HW_CACHE: u32 = 3;
const TYPE_RAW: u32 = 4;
const TYPE_BREAKPOINT: u32 = 5;

/// What the kernel calls the event.
///
/// A named hardware, software, cache, raw event or a breakpoint always resolves; whether this machine can count
/// it is known when it is opened.
pub fn resolve(roots: &SysRoots, source: &EventSource) -> Result<ResolvedEvent, ResolveEventError> {
    let of_type = |type_, config| ResolvedEvent {
        type_,
        config,
        ..ResolvedEvent::default()
    };
    let of_cpu = |type_, config| ResolvedEvent {
        host_only: true,
        ..of_type(type_, config)
    };
    Ok(match source {
        EventSource::Hardware(event) => of_cpu(TYPE_HARDWARE, *event as u64),
        EventSource::Software(event) => of_type(TYPE_SOFTWARE, *event as u64),
        EventSource::Cache(cache, op, result) => {
            of_cpu(TYPE_HW_CACHE, cache_config(*cache, *op, *result))
        }
        EventSource::Raw(config) => of_cpu(TYPE_RAW, *config),
        EventSource::Pmu { pmu, terms } => pmu_event(roots, pmu, terms)?,
        EventSource::Tracepoint { subsystem, name } => {
            of_type(TYPE_TRACEPOINT, tracepoint_id(roots, subsystem, name)?)
        }
        EventSource::Breakpoint {
            address,
            access,
            length,
        } => ResolvedEvent {
            type_: TYPE_BREAKPOINT,
            config: 0,
            config1: *address,
            config2: *length,
            bp_type: *access as u32,
            host_only: false,
        },
    })
}

/// `config = cache | op << 8 | result << 16`
fn cache_config(cache: CacheEvent, op: CacheOp, result: CacheResult) -> u64 {
    cache as u64 | (op as u64) << 8 | (result as u64) << 16
}

fn pmu_event(
    roots: &SysRoots,
    pmu: &str,
    terms: &[(String, Option<u64>)],
) -> Result<ResolvedEvent, ResolveEventError> {
    let device = devices(roots).join(pmu);
    let type_file = device.join("type");
    let Some(text) = read_if_there(&type_file)? else {
        return Err(ResolveEventError::NoSuchPmu {
            pmu: pmu.to_owned(),
            known: names_in(&devices(roots)),
        });
    };
    let type_ = text
        .trim()
        .parse()
        .map_err(|_| not_understood(&type_file, &text))?;
    let mut event = ResolvedEvent {
        type_,
        host_only: cpu_pmus(roots).iter().any(|name| name == pmu),
        ..ResolvedEvent::default()
    };
    for (name, value) in terms {
        if let Some(format) = format_of(&device, name)? {
            fill(&mut event, name, &format, value.unwrap_or(1))?;
            continue;
        }
        let named = device.join("events").join(name);
        let text = match value {
            None => read_if_there(&named)?,
            Some(_) => None,
        };
        let Some(text) = text else {
            return Err(no_such_term(&device, pmu, name));
        };
        for (part, value) in parse_event(&text).ok_or_else(|| not_understood(&named, &text))? {
            let format = format_of(&device, &part)?.ok_or_else(|| not_understood(&named, &text))?;
            let typed = terms.iter().find(|(term, _)| *term == part);
            match (value, typed) {
                // A term that was typed as well has the last word, wherever it stands.
                (_, Some(_)) => (),
                (Some(value), None) => fill(&mut event, &part, &format, value)?,
                (None, None) => {
                    return Err(ResolveEventError::ValueMissing {
                        pmu: pmu.to_owned(),
                        event: name.clone(),
                        term: part,
                    });
                }
            }
        }
    }
    Ok(event)
}

fn format_of(device: &Path, term: &str) -> Result<Option<Format>, ResolveEventError> {
    let path = device.join("format").join(term);
    if let Some(text) = read_if_there(&path)? {
        let format = Format::parse(&text).ok_or_else(|| not_understood(&path, &text))?;
        return Ok(Some(format));
    }
    Ok(match term {
        "config" => Some(Format::whole(Field::Config)),
        "config1" => Some(Format::whole(Field::Config1)),
        "config2" => Some(Format::whole(Field::Config2)),
        _ => None,
    })
}

fn fill(
    event: &mut ResolvedEvent,
    term: &str,
    format: &Format,
    value: u64,
) -> Result<(), ResolveEventError> {
    let bits = format
        .spread(value)
        .ok_or_else(|| ResolveEventError::ValueTooWide {
            term: term.to_owned(),
            value,
            bits: format.width(),
        })?;
    let field = match format.field {
        Field::Config => &mut event.config,
        Field::Config1 => &mut event.config1,
        Field::Config2 => &mut event.config2,
    };
    *field = *field & !format.mask() | bits;
    Ok(())
}

/// Every event that has a name on this host: the table's, each PMU's, tracefs's if it may be read; sorted within their kind.
///
/// The table's hardware events are listed whether or not there is a PMU.
pub fn list(roots: &SysRoots) -> Vec<EventSpec> {
    let named = NAMES.iter().map(|event| event.source.clone());
    let of_pmus = names_in(&devices(roots)).into_iter().flat_map(|pmu| {
        let events = names_in(&devices(roots).join(&pmu).join("events"));
        // Beside an event stand files with its unit and scale: `energy-pkg.unit`.
        let events = events.into_iter().filter(|name| !name.contains('.'));
        events.map(move |name| EventSource::Pmu {
            pmu: pmu.clone(),
            terms: vec![(name, None)],
        })
    });
    named
        .chain(of_pmus)
        .chain(tracepoints(roots))
        .map(|source| EventSpec {
            source,
            modes: Modes::ALL,
        })
        .collect()
}

/// The PMUs whose events are those of a CPU: `cpu`, `cpu_core`, `armv8_pmuv3_0`. None on a virtual machine without a PMU.
///
/// A CPU's PMU has the generalized `cycles`; its folder says so by an event or a `cpus` file, or by its name.
pub fn cpu_pmus(roots: &SysRoots) -> Vec<String> {
    let devices = devices(roots);
    let mut pmus = names_in(&devices);
    pmus.retain(|pmu| pmu == "cpu" || devices.join(pmu).join("cpus").is_file());
    pmus
}

pub(super) fn devices(roots: &SysRoots) -> PathBuf {
    roots.sys.join("bus/event_source/devices")
}

/// Names in a folder, sorted; none if it cannot be read.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn read_if_there(path: &Path) -> Result<Option<String>, ResolveEventError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ResolveEventError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

pub(super) fn not_understood(path: &Path, text: &str) -> ResolveEventError {
    ResolveEventError::Description {
        path: path.to_owned(),
        text: text.trim().to_owned(),
    }
}

fn no_such_term(device: &Path, pmu: &str, term: &str) -> ResolveEventError {
    let mut known = names_in(&device.join("format"));
    known.extend(names_in(&device.join("events")));
    known.retain(|name| !name.contains('.'));
    ResolveEventError::NoSuchTerm {
        pmu: pmu.to_owned(),
        term: term.to_owned(),
        known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with a PMU like AMD's and one tracepoint.
    fn host() -> (tempfile::TempDir, SysRoots) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let roots = SysRoots {
            proc: dir.path().join("proc"),
            sys: dir.path().join("sys"),
            tracefs: vec![dir.path().join("nowhere"), dir.path().join("tracefs")],
        };
        for (path, text) in [
            ("sys/bus/event_source/devices/cpu/type", "4\n"),
            (
                "sys/bus/event_source/devices/cpu/format/event",
                "config:0-7,32-35\n",
            ),
            (
                "sys/bus/event_source/devices/cpu/format/umask",
                "config:8-15\n",
            ),
            (
                "sys/bus/event_source/devices/cpu/format/edge",
                "config:18\n",
            ),
            (
                "sys/bus/event_source/devices/cpu/format/ldlat",
                "config1:0-15\n",
            ),
            (
                "sys/bus/event_source/devices/cpu/format/odd",
                "config3:0-15\n",
            ),
            (
                "sys/bus/event_source/devices/cpu/events/cache-misses",
                "event=0x64,umask=0x09\n",
            ),
            (
                "sys/bus/event_source/devices/cpu/events/mem-loads",
                "event=0xcd,umask=0x1,ldlat=?\n",
            ),
            (
                "sys/bus/event_source/devices/cpu/events/mem-loads.unit",
                "B\n",
            ),
            ("sys/bus/event_source/devices/software/type", "1\n"),
            ("tracefs/events/sched/sched_switch/id", "314\n"),
            ("tracefs/events/sched/enable", "0\n"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("has a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        (dir, roots)
    }

    fn resolved(roots: &SysRoots, text: &str) -> Result<ResolvedEvent, ResolveEventError> {
        let spec: EventSpec = text.parse().expect(text);
        resolve(roots, &spec.source)
    }

    #[test]
    fn terms_fill_the_bits_that_sysfs_names() {
        let (_dir, roots) = host();
        for (text, config, config1) in [
            ("cpu/event=0x1c2,umask=1/", 0x1_0000_01c2, 0),
            ("cpu/event=0xc2,edge/", 0x4_00c2, 0),
            ("cpu/cache-misses/", 0x964, 0),
            ("cpu/cache-misses,umask=2/", 0x264, 0),
            ("cpu/umask=2,cache-misses/", 0x264, 0),
            ("cpu/mem-loads,ldlat=30/", 0x1cd, 30),
            ("cpu/config=0x99,config1=7/", 0x99, 7),
            ("cpu//", 0, 0),
        ] {
            let event = resolved(&roots, text).expect(text);
            assert_eq!(
                (event.type_, event.config, event.config1),
                (4, config, config1),
                "{text}"
            );
            assert!(event.host_only, "{text}");
        }
    }

    #[test]
    fn what_a_host_does_not_have_is_named_with_what_it_has() {
        let (_dir, roots) = host();
        let error = |text| resolved(&roots, text).expect_err(text);
        assert!(matches!(
            error("gpu/x/"),
            ResolveEventError::NoSuchPmu { known, .. } if known == ["cpu", "software"]
        ));
        assert!(matches!(
            error("cpu/cache-mises/"),
            ResolveEventError::NoSuchTerm { known, .. } if known.contains(&"cache-misses".to_owned())
        ));
        assert!(matches!(
            error("cpu/umask=0x100/"),
            ResolveEventError::ValueTooWide { bits: 8, .. }
        ));
        assert!(matches!(
            error("cpu/mem-loads/"),
            ResolveEventError::ValueMissing { term, .. } if term == "ldlat"
        ));
        assert!(matches!(
            error("cpu/odd=1/"),
            ResolveEventError::Description { .. }
        ));
        assert!(matches!(
            error("sched:nothing"),
            ResolveEventError::NoSuchTracepoint { .. }
        ));
    }

    #[test]
    fn a_tracepoint_is_found_in_the_first_tracefs_that_has_events() {
        let (_dir, mut roots) = host();
        let event = resolved(&roots, "sched:sched_switch").expect("planted above");
        assert_eq!((event.type_, event.config), (2, 314));
        roots.tracefs.pop();
        assert!(matches!(
            resolved(&roots, "sched:sched_switch"),
            Err(ResolveEventError::TracefsNotMounted { .. })
        ));
    }

    #[test]
    fn the_kernel_numbers_of_named_events_and_breakpoints() {
        let roots = SysRoots::default();
        for (text, type_, config) in [
            ("instructions", 0, 1),
            ("task-clock", 1, 1),
            ("LLC-load-misses", 3, 0x1_0002),
            ("dTLB-stores", 3, 0x103),
            ("r01c2", 4, 0x1c2),
        ] {
            let event = resolved(&roots, text).expect(text);
            assert_eq!((event.type_, event.config), (type_, config), "{text}");
        }
        assert_eq!(
            resolved(&roots, "mem:0x401000:x").expect("needs no file"),
            ResolvedEvent {
                type_: 5,
                config: 0,
                config1: 0x40_1000,
                config2: 8,
                bp_type: 4,
                host_only: false
            }
        );
    }

    #[test]
    fn the_list_has_the_table_the_events_of_pmus_and_tracepoints() {
        let (_dir, roots) = host();
        let texts: Vec<_> = list(&roots).iter().map(EventSpec::to_string).collect();
        assert_eq!(texts.len(), NAMES.len() + 3);
        assert_eq!(
            texts[NAMES.len()..],
            ["cpu/cache-misses/", "cpu/mem-loads/", "sched:sched_switch"]
        );
        assert_eq!(cpu_pmus(&roots), ["cpu"]);
    }
}
