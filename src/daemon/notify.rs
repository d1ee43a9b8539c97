//! Words to the service manager (`sd_notify(3)`): ready, reloading, stopping, what it is at, and that it is alive.
//!
//! One datagram for each, to the socket that `NOTIFY_SOCKET` names; without one nobody is told. What cannot be sent is not sent: the
//! manager's time limits say what that means.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::model::MonoNs;

/// The variables, as the program has found them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// `NOTIFY_SOCKET`: a path, or with an `@` in front a name.
    pub socket: Option<String>,
    /// `WATCHDOG_USEC`: how long the manager waits for a sign of life.
    pub watchdog_usec: Option<String>,
    /// `WATCHDOG_PID`: of whom it waits for it.
    pub watchdog_pid: Option<String>,
}

/// The service manager, or nobody.
#[derive(Debug)]
pub struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    status: String,
}

impl Notify {
    /// Whom the variables name.
    ///
    /// # Errors
    /// No socket can be made, or the name cannot be one.
    pub fn new(variables: &Variables) -> io::Result<Notify> {
        let manager = match variables.socket.as_deref() {
            None | Some("") => None,
            Some(name) => {
                let address = match name.strip_prefix('@') {
                    Some(name) => SocketAddr::from_abstract_name(name)?,
                    None => SocketAddr::from_pathname(name)?,
                };
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Some((socket, address))
            }
        };
        Ok(Notify {
            watchdog: watchdog(variables, std::process::id()).filter(|_| manager.is_some()),
            manager,
            status: String::new(),
        })
    }

    /// How often the manager wants a sign of life at least: half of its patience.
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    /// The service serves.
    pub fn ready(&mut self, status: &str) {
        self.status = status.to_owned();
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The service has begun to read its configuration again, at `now`; it is ready again behind that.
    pub fn reloading(&self, now: MonoNs) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.0 / 1000));
    }

    /// The service ends.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
    }

    /// What the service is at, for a person; told if it is another than before.
    pub fn status(&mut self, status: String) {
        if self.status != status {
            self.send(&format!("STATUS={}", one_line(&status)));
            self.status = status;
        }
    }

    /// A sign of life.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.manager {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// How long the manager waits, if it waits for this process.
fn watchdog(variables: &Variables, own: u32) -> Option<Duration> {
    let is_other = |pid: &String| pid.parse() != Ok(own);
    if variables.watchdog_pid.as_ref().is_some_and(is_other) {
        return None;
    }
    let usec: u64 = variables.watchdog_usec.as_ref()?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let n = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    #[test]
    fn the_manager_is_told_on_its_socket_once_for_each_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        manager.set_nonblocking(true).expect("set");
        let variables = Variables {
            socket: Some(path.display().to_string()),
            watchdog_usec: Some("30000000".to_owned()),
            watchdog_pid: Some(std::process::id().to_string()),
        };
        let mut notify = Notify::new(&variables).expect("made");
        assert_eq!(notify.watchdog_period(), Some(Duration::from_secs(15)));
        notify.ready("0 targets");
        notify.status("0 targets".to_owned());
        notify.status("1\ntarget".to_owned());
        notify.reloading(MonoNs(5_000_999));
        notify.alive();
        notify.stopping("draining");
        let told: Vec<String> = std::iter::from_fn(|| received(&manager)).collect();
        let expected = [
            "READY=1\nSTATUS=0 targets",
            "STATUS=1 target",
            "RELOADING=1\nMONOTONIC_USEC=5000",
            "WATCHDOG=1",
            "STOPPING=1\nSTATUS=draining",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_abstract_name_is_one_and_without_a_socket_nobody_is_told() {
        let name = format!("perfd-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("bound");
        let variables = Variables {
            socket: Some(format!("@{name}")),
            ..Variables::default()
        };
        let mut notify = Notify::new(&variables).expect("made");
        notify.ready("");
        assert_eq!(received(&manager).as_deref(), Some("READY=1\nSTATUS="));
        let nobody = Notify::new(&Variables {
            watchdog_usec: Some("1".to_owned()),
            ..Variables::default()
        });
        assert_eq!(nobody.expect("made").watchdog_period(), None);
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_fed() {
        let of = |pid: &str, usec: &str| Variables {
            watchdog_pid: Some(pid.to_owned()),
            watchdog_usec: Some(usec.to_owned()),
            socket: None,
        };
        assert_eq!(watchdog(&of("7", "10"), 7), Some(Duration::from_micros(10)));
        for (pid, usec) in [("8", "10"), ("7", "0"), ("7", "x")] {
            assert_eq!(watchdog(&of(pid, usec), 7), None, "{pid} {usec}");
        }
    }
}
