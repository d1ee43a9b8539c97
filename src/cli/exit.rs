//! Exit codes: perfd's own are those of sysexits(3), so that a script can tell its faults from its command's.

use std::process::ExitCode;

use crate::model::FaultClass;

/// How a command of perfd ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Ok,
    /// `--strict`, and the account is bad.
    StrictFailed,
    /// The command line makes no sense.
    Usage,
    /// No such process or input.
    NoInput,
    /// This machine lacks the event or facility.
    Unavailable,
    /// perfd contradicts itself.
    Internal,
    /// A system call failed that does not usually fail.
    System,
    /// An output cannot be opened.
    CannotCreate,
    /// An output failed during the run.
    OutputFailed,
    /// A limit of the daemon is reached.
    Limit,
    /// The user may not do that.
    Permission,
    /// The configuration makes no sense.
    Configuration,
    /// What the command of `record` or `stat` returned.
    Command(u8),
}

/// The table of README: perfd's own codes and what each means.
pub const EXIT_CODES: [(Exit, &str); 12] = [
    (Exit::Ok, "all went well"),
    (
        Exit::StrictFailed,
        "`--strict`: samples were lost or stacks broken",
    ),
    (Exit::Usage, "the command line makes no sense"),
    (
        Exit::NoInput,
        "no such process or input, or one that cannot be profiled",
    ),
    (
        Exit::Unavailable,
        "this machine does not have the event or facility",
    ),
    (Exit::Internal, "a fault of perfd itself"),
    (
        Exit::System,
        "a system call failed that does not usually fail",
    ),
    (
        Exit::CannotCreate,
        "an output cannot be created (77 where that is not permitted)",
    ),
    (Exit::OutputFailed, "an output failed during the run"),
    (
        Exit::Limit,
        "a limit of the daemon is reached; later there may be room",
    ),
    (Exit::Permission, "permission denied"),
    (
        Exit::Configuration,
        "the daemon's configuration makes no sense",
    ),
];

/// Command codes of a shell: the command is there but cannot be executed, the command is not there.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

impl Exit {
    /// The number that the process returns.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::StrictFailed => 1,
            Exit::Usage => 64,
            Exit::NoInput => 66,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::System => 71,
            Exit::CannotCreate => 73,
            Exit::OutputFailed => 74,
            Exit::Limit => 75,
            Exit::Permission => 77,
            Exit::Configuration => 78,
            Exit::Command(code) => code,
        }
    }
}

impl From<FaultClass> for Exit {
    fn from(class: FaultClass) -> Exit {
        match class {
            FaultClass::Usage => Exit::Usage,
            FaultClass::Configuration => Exit::Configuration,
            FaultClass::NoSuchTarget => Exit::NoInput,
            FaultClass::Unavailable => Exit::Unavailable,
            FaultClass::Internal => Exit::Internal,
            FaultClass::System => Exit::System,
            FaultClass::CannotCreate => Exit::CannotCreate,
            FaultClass::OutputFailed => Exit::OutputFailed,
            FaultClass::Permission => Exit::Permission,
            FaultClass::Limit => Exit::Limit,
            FaultClass::NotExecutable => Exit::Command(NOT_EXECUTABLE),
            FaultClass::CommandNotFound => Exit::Command(NOT_FOUND),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
