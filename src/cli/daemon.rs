//! Profiles continuously, for all who may ask: a service, which runs in the foreground.
//!
//! Targets come from the configuration, found again whenever they restart, and from clients (`perfd ctl`, `perfd attach --daemon`) on the control socket.
//! Windows go to clients, and to pprof files in the state folder, which `perfd export` reads. SIGHUP reads the configuration again, all of it or nothing;
//! SIGTERM and Ctrl-C write the last windows and end, a second one ends at once. Under systemd the sockets are passed, and perfd says
//! when it is ready; `docs/DAEMON.md` says how to install it. Root profiles everything; another user has a daemon of his own, for
//! his own processes, where that user may sample whole CPUs (`kernel.perf_event_paranoid` of 0 or less, or CAP_PERFMON), with its socket in `$XDG_RUNTIME_DIR/perfd` and its files in `~/.local/state/perfd`.
//!
//! ```text
//! $ sudo perfd daemon --config perfd.toml
//! $ perfd daemon --metrics 127.0.0.1:9464
//! ```

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;
use nix::unistd::geteuid;

use super::{Exit, manual};
use crate::daemon::config::{Place, USUAL_PLACE};
use crate::daemon::settings::{MetricsPlace, Settings};
use crate::daemon::{self, activation, notify};
use crate::model::{Fault, FaultClass};
use crate::parser::{self, Parsing};
use crate::procfs::{SysRoots, kallsyms};
use crate::{control, sys};

/// Where the service keeps its state.
const DEFAULT_STATE: &str = "/var/lib/perfd";

/// Profile continuously, for all who may ask
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("daemon.rs")))]
pub(super) struct DaemonArgs {
    /// The configuration [default: /etc/perfd/perfd.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where clients connect, if systemd has passed no socket [default: /run/perfd/control.sock, or $XDG_RUNTIME_DIR/perfd/control.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Where windows and names are kept [default: /var/lib/perfd, or ~/.local/state/perfd]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Where Prometheus finds metrics: ADDRESS:PORT of this host, or unix:PATH
    #[arg(long, value_name = "PLACE", value_parser = metrics_place)]
    metrics: Option<MetricsPlace>,
}

/// Why a place for metrics was not understood.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not a port of this host (127.0.0.1:9464, [::1]:9464) and not unix:PATH")]
struct NoMetricsPlace;

fn metrics_place(text: &str) -> Result<MetricsPlace, NoMetricsPlace> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(MetricsPlace::Unix(PathBuf::from(path)));
    }
    // Metrics name targets: who wants them elsewhere lets the service manager open that socket.
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(MetricsPlace::Loopback(address)),
        _ => Err(NoMetricsPlace),
    }
}

/// Runs `perfd daemon`.
pub(super) fn run(args: &DaemonArgs) -> anyhow::Result<Exit> {
    let roots = SysRoots::default();
    daemon::check_rights(&roots)?;
    let variable = |name: &str| std::env::var(name).ok();
    let is_service_user = geteuid().is_root() || variable("STATE_DIRECTORY").is_some();
    let home = Home::of(is_service_user, |name| {
        std::env::var_os(name).map(PathBuf::from)
    });
    let socket =
        args.socket.clone().or(home.socket).ok_or_else(|| {
            no_place("control socket", "XDG_RUNTIME_DIR").hint("try: --socket PATH")
        })?;
    let state = args.state.clone().or(home.state);
    let state = state.ok_or_else(|| no_place("state", "HOME").hint("try: --state FOLDER"))?;
    if let (None, Some(folder)) = (&args.socket, socket.parent())
        && !is_service_user
    {
        sys::private_folder(folder).map_err(|error| {
            Fault::new(
                FaultClass::CannotCreate,
                format!("{}: {error}", folder.display()),
            )
        })?;
    }
    daemon::run(Settings {
        config: match &args.config {
            Some(path) => Place::File(path.clone()),
            None if is_service_user => Place::IfThere(PathBuf::from(USUAL_PLACE)),
            None => Place::Nowhere,
        },
        socket,
        state,
        metrics: args.metrics.clone(),
        activation: activation::Variables {
            pid: variable("LISTEN_PID"),
            count: variable("LISTEN_FDS"),
            names: variable("LISTEN_FDNAMES"),
        },
        notify: notify::Variables {
            socket: variable("NOTIFY_SOCKET"),
            watchdog_usec: variable("WATCHDOG_USEC"),
            watchdog_pid: variable("WATCHDOG_PID"),
        },
        has_journal: variable("JOURNAL_STREAM").is_some(),
        parsing: Parsing::InChild(parser::Limits::default()),
        roots,
        kallsyms: kallsyms::Source::opened(std::io::stdin().as_fd()).unwrap_or_default(),
    })?;
    Ok(Exit::Ok)
}

fn no_place(what: &str, variable: &str) -> Fault {
    Fault::new(
        FaultClass::Usage,
        format!("no place for the {what}: {variable} is not set"),
    )
}

/// Where a daemon has its socket and its files, if nobody says otherwise.
#[derive(Debug, PartialEq, Eq)]
struct Home {
    socket: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Home {
    /// The system's for the service, the user's own for everybody else.
    fn of(is_service: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Home {
        if is_service {
            return Home {
                socket: Some(PathBuf::from(control::DEFAULT_SOCKET)),
                state: Some(variable("STATE_DIRECTORY").unwrap_or(PathBuf::from(DEFAULT_STATE))),
            };
        }
        let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        Home {
            socket: absolute("XDG_RUNTIME_DIR").map(|folder| folder.join("perfd/control.sock")),
            state: state.map(|folder| folder.join("perfd")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_has_the_systems_places_and_a_user_his_own() {
        let none = |_: &str| None;
        let path = |text: &str| Some(PathBuf::from(text));
        let service = Home::of(true, none);
        assert_eq!(service.socket, path("/run/perfd/control.sock"));
        assert_eq!(service.state, path("/var/lib/perfd"));
        let user = Home::of(false, |name| match name {
            "XDG_RUNTIME_DIR" => path("/run/user/7"),
            "HOME" => path("/home/u"),
            _ => None,
        });
        assert_eq!(user.socket, path("/run/user/7/perfd/control.sock"));
        assert_eq!(user.state, path("/home/u/.local/state/perfd"));
        assert_eq!(
            Home::of(false, none),
            Home {
                socket: None,
                state: None
            }
        );
    }

    #[test]
    fn metrics_are_for_this_host() {
        assert!(metrics_place("127.0.0.1:9464").is_ok());
        assert!(metrics_place("[::1]:9464").is_ok());
        assert_eq!(
            metrics_place("unix:/run/x").ok(),
            Some(MetricsPlace::Unix("/run/x".into()))
        );
        for text in [
            "0.0.0.0:9464",
            "192.0.2.1:1",
            "9464",
            "unix:",
            "localhost:9464",
            "",
        ] {
            assert!(metrics_place(text).is_err(), "{text}");
        }
    }
}
