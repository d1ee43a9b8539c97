//! Sockets that perfd makes itself, where no service manager has passed one.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::settings::MetricsPlace;
use crate::model::{Fault, FaultClass};

/// A unix socket that perfd has made; its file goes with it.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub socket: OwnedFd,
    path: PathBuf,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Another perfd cannot have taken the path: it would have found that this one answers.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Everybody; each request is decided on.
    Everybody = 0o666,
    /// The user that perfd runs as.
    Owner = 0o600,
}

/// Listens at a path, in the place of a perfd that is not there any more.
///
/// # Errors
/// Another perfd listens there, there is something else, or the socket cannot be made.
pub fn unix(path: &Path, open: Open) -> Result<Listening, Fault> {
    let fault =
        |class, why: String| Fault::new(class, format!("listen on {}: {why}", path.display()));
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(fault(
                FaultClass::CannotCreate,
                "there is something that is no socket".to_owned(),
            ));
        }
        match UnixStream::connect(path) {
            Ok(_) => {
                return Err(fault(
                    FaultClass::CannotCreate,
                    "another perfd listens there".to_owned(),
                )
                .hint("try: --socket PATH   or end the other: perfd ctl shutdown"));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(path);
            }
            Err(error) => return Err(fault(FaultClass::CannotCreate, error.to_string())),
        }
    }
    let made = UnixListener::bind(path).and_then(|listener| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(open as u32))?;
        Ok(listener)
    });
    match made {
        Ok(listener) => Ok(Listening {
            socket: listener.into(),
            path: path.to_owned(),
        }),
        Err(error) => {
            let class = match error.kind() {
                io::ErrorKind::PermissionDenied => FaultClass::Permission,
                _ => FaultClass::CannotCreate,
            };
            Err(fault(class, error.to_string())
                .hint("try: --socket PATH, in a folder that you may write to"))
        }
    }
}

/// Listens where metrics are to be asked for.
///
/// # Errors
/// As for [`unix`], or the port is in use.
pub fn metrics(place: &MetricsPlace) -> Result<(OwnedFd, Option<Listening>), Fault> {
    let failed = |what: String| {
        move |error: io::Error| Fault::new(FaultClass::CannotCreate, format!("{what}: {error}"))
    };
    match place {
        MetricsPlace::Unix(path) => {
            let listening = unix(path, Open::Owner)?;
            let what = format!("listen on {}", path.display());
            let socket = listening.socket.try_clone().map_err(failed(what))?;
            Ok((socket, Some(listening)))
        }
        MetricsPlace::Loopback(address) => {
            let bound = TcpListener::bind(address).map_err(|error| {
                let is_taken = error.kind() == io::ErrorKind::AddrInUse;
                let fault = failed(format!("listen on {address}"))(error);
                match is_taken {
                    true => fault.hint("try: --metrics with another port"),
                    false => fault,
                }
            });
            Ok((bound?.into(), None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_others_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let first = unix(&path, Open::Everybody).expect("made");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o666);
        let second = unix(&path, Open::Owner).expect_err("another listens");
        assert!(second.what.contains("another perfd"), "{second}");
        drop(first);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).expect("bound"));
        unix(&path, Open::Owner).expect("nobody listens there any more");
        let file = folder.path().join("file");
        std::fs::write(&file, "x").expect("written");
        unix(&file, Open::Owner).expect_err("a file");
        assert_eq!(std::fs::read(&file).expect("there"), b"x");
    }
}
