//! Tracepoints: their numbers and names in tracefs.
//!
//! Mounts nothing: where tracefs is not mounted or not readable, the error says so.

use std::fs;
use std::io;

use super::SysRoots;
use super::event_source::{ResolveEventError, names_in, not_understood};
use crate::model::EventSource;

/// The number of a tracepoint, which is the `config` of its event.
pub(super) fn tracepoint_id(
    roots: &SysRoots,
    subsystem: &str,
    name: &str,
) -> Result<u64, ResolveEventError> {
    let mut denied = None;
    for tracefs in &roots.tracefs {
        let events = tracefs.join("events");
        let path = events.join(subsystem).join(name).join("id");
        match fs::read_to_string(&path) {
            Ok(text) => {
                return text
                    .trim()
                    .parse()
                    .map_err(|_| not_understood(&path, &text));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                denied.get_or_insert_with(|| tracefs.clone());
            }
            Err(_) if events.is_dir() => {
                return Err(ResolveEventError::NoSuchTracepoint {
                    subsystem: subsystem.to_owned(),
                    name: name.to_owned(),
                });
            }
            Err(_) => (),
        }
    }
    let tracepoint = format!("{subsystem}:{name}");
    Err(match denied {
        Some(path) => ResolveEventError::TracefsDenied { tracepoint, path },
        None => ResolveEventError::TracefsNotMounted {
            tracepoint,
            tried: roots.tracefs.clone(),
        },
    })
}

/// All tracepoints; none where tracefs is not mounted or not readable.
pub(super) fn tracepoints(roots: &SysRoots) -> Vec<EventSource> {
    let folders = roots.tracefs.iter().map(|tracefs| tracefs.join("events"));
    let Some(events) = folders.into_iter().find(|events| events.is_dir()) else {
        return Vec::new();
    };
    names_in(&events)
        .into_iter()
        .flat_map(|subsystem| {
            let names = names_in(&events.join(&subsystem));
            let folder = events.join(&subsystem);
            let names = names
                .into_iter()
                .filter(move |name| folder.join(name).join("id").is_file());
            names.map(move |name| EventSource::Tracepoint {
                subsystem: subsystem.clone(),
                name,
            })
        })
        .collect()
}
