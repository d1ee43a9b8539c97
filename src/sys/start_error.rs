//! Why a command could not be started, in words a user can act on.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::model::{Fault, FaultClass};

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `exec` refused it.
    #[error("start {program:?}")]
    Exec {
        /// The command, as typed.
        program: OsString,
        /// What `exec` said.
        #[source]
        cause: io::Error,
    },
    /// perfd lost its own pipe to it.
    #[error("start the forked command")]
    Pipe(#[source] io::Error),
}

impl StartError {
    /// What kind of trouble it is: a shell returns 127 for a command that is not found, 126 for one that is not executable.
    pub fn class(&self) -> FaultClass {
        match self {
            StartError::Exec { cause, .. } => match cause.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => FaultClass::CommandNotFound,
                _ => FaultClass::NotExecutable,
            },
            StartError::Pipe(_) => FaultClass::System,
        }
    }

    /// The error with its class and remedies, to be shown to the user.
    pub fn fault(&self) -> Fault {
        let (StartError::Exec { cause, .. } | StartError::Pipe(cause)) = &self;
        let fault = Fault::new(self.class(), format!("{self}: {cause}"));
        self.remedy().into_iter().fold(fault, Fault::hint)
    }

    /// What is so now and what would help, by what stands in the program's place.
    fn remedy(&self) -> Option<String> {
        let StartError::Exec { program, cause } = self else {
            return None;
        };
        let is_path = program.as_bytes().contains(&b'/');
        let path = Path::new(program);
        let shown = path.display();
        match cause.raw_os_error()? {
            libc::ENOENT if is_path && path.exists() => Some(format!(
                "{shown} is there, but not the interpreter or loader that it names: see head -1 {shown}, or file {shown}"
            )),
            libc::ENOENT if !is_path && path.is_file() => Some(format!(
                "no folder of PATH has it, this one does: try ./{shown}"
            )),
            libc::ENOENT if !is_path => Some("no folder of PATH has it: try its full path".into()),
            libc::EACCES if path.is_dir() => Some(format!("{shown} is a directory")),
            libc::EACCES => Some(format!("try: chmod +x {shown}   or: ls -ld {shown}")),
            libc::ENOEXEC => Some(format!(
                "it is neither a program for this machine nor a script that begins with #!: try sh {shown}"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_follows_from_what_stands_in_the_programs_place() {
        let check = |program: &str, errno, class, hint: &str| {
            let fault = StartError::Exec {
                program: program.into(),
                cause: io::Error::from_raw_os_error(errno),
            }
            .fault();
            assert_eq!(fault.class, class, "{program}");
            assert!(fault.hints.concat().contains(hint), "{fault:?}");
        };
        let (missing, forbidden) = (FaultClass::CommandNotFound, FaultClass::NotExecutable);
        check("no-such-command", libc::ENOENT, missing, "full path");
        check("Cargo.toml", libc::ENOENT, missing, "./Cargo.toml");
        check("./Cargo.toml", libc::ENOENT, missing, "interpreter");
        check("src", libc::EACCES, forbidden, "directory");
        check("./Cargo.toml", libc::EACCES, forbidden, "chmod +x");
        check("./Cargo.toml", libc::ENOEXEC, forbidden, "#!");
    }
}
