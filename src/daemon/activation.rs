//! Sockets that a service manager holds for perfd (`sd_listen_fds(3)`): `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`.
//!
//! The manager makes and binds them, so that a service needs neither a network nor the right to write to `/run`, and clients that come while
//! it restarts wait for it. Which is which is told by its name: `control` or `metrics`.

use std::io;
use std::os::fd::OwnedFd;

use crate::model::{Fault, FaultClass};

/// The variables, as the program has found them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// `LISTEN_PID`: for whom they are.
    pub pid: Option<String>,
    /// `LISTEN_FDS`: how many descriptors, from 3 on.
    pub count: Option<String>,
    /// `LISTEN_FDNAMES`: their names, with colons between.
    pub names: Option<String>,
}

/// The sockets by what they are for.
#[derive(Debug, Default)]
pub struct Passed {
    /// Where clients connect.
    pub control: Option<OwnedFd>,
    /// Where metrics are asked for; there may be several.
    pub metrics: Vec<OwnedFd>,
}

/// Takes what was passed; nothing if nothing was.
///
/// # Errors
/// The variables make no sense, or name a socket that perfd has no use for.
pub fn take(variables: &Variables) -> Result<Passed, Fault> {
    let names = names(variables, std::process::id())?;
    let fault = |error: io::Error| {
        let what = format!("take the sockets that LISTEN_FDS names: {error}");
        Fault::new(FaultClass::System, what)
    };
    let fds = crate::sys::inherited::passed(names.len()).map_err(fault)?;
    let mut passed = Passed::default();
    for (name, fd) in names.into_iter().zip(fds) {
        match name {
            Name::Control => passed.control = Some(fd),
            Name::Metrics => passed.metrics.push(fd),
        }
    }
    Ok(passed)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Control,
    Metrics,
}

/// What each passed descriptor is, if they are for the process `own`.
fn names(variables: &Variables, own: u32) -> Result<Vec<Name>, Fault> {
    let is_for_us = |pid: &String| pid.parse() == Ok(own);
    if !variables.pid.as_ref().is_some_and(is_for_us) {
        return Ok(Vec::new());
    }
    let wrong = |what: String| Fault::new(FaultClass::Configuration, what);
    let count = variables.count.as_deref().unwrap_or("0");
    let count: usize = count
        .parse()
        .map_err(|_| wrong(format!("LISTEN_FDS is {count:?}, not a number")))?;
    let names: Vec<&str> = match variables.names.as_deref() {
        None | Some("") => Vec::new(),
        Some(names) => names.split(':').collect(),
    };
    if names.len() != count {
        let what = format!(
            "LISTEN_FDS is {count}, but LISTEN_FDNAMES has {} names",
            names.len()
        );
        return Err(wrong(what)
            .hint("name each socket: FileDescriptorName=control, FileDescriptorName=metrics"));
    }
    let mut known = Vec::with_capacity(count.min(64));
    for name in names {
        let name = match name {
            "control" if known.contains(&Name::Control) => {
                return Err(wrong("two sockets are named control".to_owned()));
            }
            "control" => Name::Control,
            "metrics" => Name::Metrics,
            other => {
                let what = format!(
                    "a socket is named {other:?} (FileDescriptorName=), which is neither control nor metrics"
                );
                return Err(wrong(what));
            }
        };
        known.push(name);
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pid: &str, count: &str, names: &str) -> Variables {
        Variables {
            pid: Some(pid.to_owned()),
            count: Some(count.to_owned()),
            names: Some(names.to_owned()),
        }
    }

    #[test]
    fn sockets_are_known_by_their_names() {
        let of = |count: &str, list: &str| names(&variables("7", count, list), 7);
        assert_eq!(
            of("2", "metrics:control"),
            Ok(vec![Name::Metrics, Name::Control])
        );
        assert_eq!(of("2", "metrics:metrics"), Ok(vec![Name::Metrics; 2]));
        assert_eq!(of("0", ""), Ok(Vec::new()));
        for (count, list) in [
            ("1", ""),
            ("1", "perfd.socket"),
            ("2", "control"),
            ("x", "control"),
            ("2", "control:control"),
            ("-1", ""),
        ] {
            assert!(of(count, list).is_err(), "{count} {list}");
        }
    }

    #[test]
    fn what_is_meant_for_another_process_is_left_alone() {
        assert_eq!(names(&variables("8", "1", "control"), 7), Ok(Vec::new()));
        assert_eq!(names(&Variables::default(), 7), Ok(Vec::new()));
    }
}
