//! What a daemon opens at its start: its sockets, its files.

use std::os::fd::OwnedFd;

use anyhow::Context;

use super::config::Config;
use super::files::{self, Files};
use super::listening::{self, Listening, Open};
use super::log::Log;
use super::metrics::{self, Answers};
use super::settings::Settings;
use crate::model::Fault;
use crate::procfs::SysRoots;
use crate::session::engine::is_permitted;
use crate::sys::Waker;

/// Whether there can be a target at all: a daemon that refuses each would only be found out later.
///
/// # Errors
/// There cannot: with the host's setting, and what helps.
pub fn check_rights(roots: &SysRoots) -> Result<(), Fault> {
    is_permitted(roots).map_err(|fault| {
        let what = format!("a daemon samples whole CPUs: {}", fault.what);
        let fault = Fault { what, ..fault };
        fault.hint("or without a daemon: perfd attach, for processes of your own where kernel.perf_event_paranoid is 2 or less")
    })
}

/// The socket of clients: the one that was passed, or one of perfd's own.
pub(super) fn control_socket(
    settings: &Settings,
    passed: Option<OwnedFd>,
    own: &mut Vec<Listening>,
) -> anyhow::Result<(OwnedFd, String)> {
    if let Some(socket) = passed {
        return Ok((socket, "of the service manager".to_owned()));
    }
    if let Some(folder) = settings.socket.parent() {
        // Made here only if it is not there; whoever has made it knows who may look into it.
        let _ = std::fs::create_dir(folder);
    }
    let listening = listening::unix(&settings.socket, Open::Everybody)?;
    let socket = listening
        .socket
        .try_clone()
        .context("hold the control socket")?;
    own.push(listening);
    Ok((socket, settings.socket.display().to_string()))
}

pub(super) fn serve_metrics(
    settings: &Settings,
    mut sockets: Vec<OwnedFd>,
    own: &mut Vec<Listening>,
    waker: &Waker,
) -> anyhow::Result<Option<Answers>> {
    if let Some(place) = &settings.metrics {
        let (socket, listening) = listening::metrics(place)?;
        sockets.push(socket);
        own.extend(listening);
    }
    if sockets.is_empty() {
        return Ok(None);
    }
    let answers = metrics::serve(sockets, waker).context("serve metrics")?;
    Ok(Some(answers))
}

/// Without files the daemon does all else.
pub(super) fn start_files(
    settings: &Settings,
    config: &Config,
    waker: &Waker,
    log: &Log,
) -> Option<Files> {
    let root = settings.state.join("windows");
    match Files::start(&root, files::limits(&config.files), waker.clone()) {
        Ok(files) => Some(files),
        Err(error) => {
            log.error(format!(
                "no windows are kept in files: {:#}; all else goes on; a folder of its own: --state",
                anyhow::Error::new(error)
            ));
            None
        }
    }
}
