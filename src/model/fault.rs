//! Trouble that ends a command, in the form in which the user is told of it.
//!
//! A [`Fault`] is a link of an `anyhow` chain: the error itself, or a context around what a lower floor returned.
//! `cli` finds it there, prints the chain once, the hints under it, and takes the exit code from the class.
//! What becomes of samples is not trouble but data: see `ledger`.

use std::fmt;
use std::io;

/// What kind of trouble; each has an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The command line asks for something that makes no sense.
    Usage,
    /// The configuration asks for something that makes no sense.
    Configuration,
    /// No such process, thread or input file; or it is one that cannot be profiled (a zombie).
    NoSuchTarget,
    /// This machine has no such event or facility.
    Unavailable,
    /// perfd contradicts itself.
    Internal,
    /// A system call failed that does not usually fail.
    System,
    /// An output cannot be opened.
    CannotCreate,
    /// An output failed during the run.
    OutputFailed,
    /// The user may not do that.
    Permission,
    /// There are as many of them as may be; later there may be fewer.
    Limit,
    /// The command exists but cannot be executed.
    NotExecutable,
    /// The command does not exist.
    CommandNotFound,
}

impl FaultClass {
    /// What it means that the kernel does not open an event.
    ///
    /// `EINVAL` is what a PMU answers to a config or a mode that it does not have.
    pub fn of_refused_event(error: &io::Error) -> FaultClass {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => FaultClass::Permission,
            Some(libc::ESRCH) => FaultClass::NoSuchTarget,
            Some(
                libc::ENOENT
                | libc::ENODEV
                | libc::ENXIO
                | libc::EINVAL
                | libc::EOPNOTSUPP
                | libc::ENOSYS
                | libc::E2BIG,
            ) => FaultClass::Unavailable,
            _ => FaultClass::System,
        }
    }
}

/// What went wrong with which object, the present value behind it and what to do about it.
///
/// The cause stands in the errors below it in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Kind of trouble.
    pub class: FaultClass,
    /// What perfd did to which object: `attach pid 4242`.
    pub what: String,
    /// Present values and remedies, one line each: `kernel.perf_event_paranoid is 3`, `try: sudo sysctl …`.
    pub hints: Vec<String>,
}

impl Fault {
    /// A fault without hints.
    pub fn new(class: FaultClass, what: impl Into<String>) -> Fault {
        Fault {
            class,
            what: what.into(),
            hints: Vec::new(),
        }
    }

    /// The same with one more line under it.
    pub fn hint(mut self, line: impl Into<String>) -> Fault {
        self.hints.push(line.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}
