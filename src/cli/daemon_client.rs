//! What every command that asks the daemon needs: its socket, and words for what goes wrong with it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::control::client::{ClientError, Connection};
use crate::control::{DEFAULT_SOCKET, List, Listed, Request};
use crate::model::{Fault, FaultClass, Pid};
use crate::sys::pidfd::PidFd;

/// Where the daemon is.
#[derive(Args, Clone, Debug)]
pub(super) struct SocketArgs {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", global = true, default_value = DEFAULT_SOCKET)]
    pub(super) socket: PathBuf,
}

/// Connects to the daemon.
pub(super) fn connect(socket: &Path) -> anyhow::Result<Connection> {
    Connection::open(socket).map_err(|error| fault(error, socket))
}

/// What is printed, and the exit code, for an error of the connection.
pub(super) fn fault(error: ClientError, socket: &Path) -> anyhow::Error {
    let at = socket.display();
    let unavailable = |what: String| Fault::new(FaultClass::Unavailable, what);
    match error {
        ClientError::Refused(refusal) | ClientError::Farewell(refusal) => {
            refusal.into_fault().into()
        }
        ClientError::Connect(source) => {
            let what = format!("connect {at}: {source}");
            if source.kind() == std::io::ErrorKind::PermissionDenied {
                return Fault::new(FaultClass::Permission, what)
                    .hint("this user may not write to that socket, or not enter its folder; it is made for everybody")
                    .into();
            }
            unavailable(what)
                .hint("no daemon listens there; it is started by: sudo systemctl start perfd")
                .hint("or in the foreground, for a look: sudo perfd daemon --state FOLDER")
                .hint("one of your own listens elsewhere: --socket \"$XDG_RUNTIME_DIR/perfd/control.sock\"")
                .into()
        }
        ClientError::Io(source) => anyhow::Error::new(source).context(Fault::new(
            FaultClass::System,
            format!("talk to the daemon at {at}"),
        )),
        ClientError::Closed => unavailable(format!("the daemon at {at} has closed the connection"))
            .hint("it may have been restarted; see: systemctl status perfd")
            .into(),
        error @ ClientError::Malformed(_) => anyhow::Error::new(error).context(
            Fault::new(
                FaultClass::Unavailable,
                format!("talk to the daemon at {at}"),
            )
            .hint("is it perfd that listens there?"),
        ),
        error @ ClientError::Version { .. } => unavailable(error.to_string())
            .hint("use the perfd that the daemon is of")
            .into(),
    }
}

/// What shows the daemon that its client may look into a process: a hold on it, and its `maps`, opened by this user.
#[derive(Debug)]
pub(super) struct Proof {
    pidfd: PidFd,
    maps: Option<OwnedFd>,
}

impl Proof {
    /// Opens both.
    ///
    /// # Errors
    /// There is no such process. One that may not be looked into is the daemon's to refuse.
    pub(super) fn of(pid: Pid) -> anyhow::Result<Proof> {
        let no_such = || Fault::new(FaultClass::NoSuchTarget, format!("attach pid {pid}"));
        let pidfd = PidFd::open(pid).with_context(no_such)?;
        let maps = File::open(format!("/proc/{pid}/maps")).ok();
        match pidfd.is_alive() {
            Ok(true) => Ok(Proof {
                pidfd,
                maps: maps.map(OwnedFd::from),
            }),
            _ => Err(no_such().hint("it has ended").into()),
        }
    }

    /// Both, in the order in which they are passed.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let maps = self.maps.as_ref().map(AsFd::as_fd);
        std::iter::once(self.pidfd.as_fd()).chain(maps).collect()
    }
}

/// The number of a target that was typed as its number or name.
pub(super) fn target_number(
    connection: &mut Connection,
    socket: &Path,
    typed: &str,
) -> anyhow::Result<u32> {
    if let Ok(number) = typed.parse() {
        return Ok(number);
    }
    let listed: Listed = connection
        .ask(Request::List(List {}), &[])
        .map_err(|error| fault(error, socket))?;
    let mut named = listed.targets.iter().filter(|it| it.name == typed);
    match (named.next(), named.next()) {
        (Some(found), None) => Ok(found.target),
        (Some(_), Some(_)) => Err(Fault::new(
            FaultClass::Usage,
            format!("several targets are called {typed:?}"),
        )
        .hint("name it by its number: perfd ctl list")
        .into()),
        (None, _) => Err(Fault::new(
            FaultClass::NoSuchTarget,
            format!("no target is called {typed:?}"),
        )
        .hint("see: perfd ctl list")
        .into()),
    }
}
