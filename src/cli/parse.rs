//! What perfd executes itself as to read foreign files (`parser`): `perfd parse`, with a socket for standard input.
//!
//! Not for people, and so not in the flag table: what is looked at before the child has given up its rights should be little.

use std::ffi::OsString;

use super::Exit;
use crate::parser::child;

/// Whether these are the arguments, the program's name first, of such a child.
pub(super) fn is_asked_for(args: &[OsString]) -> bool {
    matches!(args, [_, command] if command == child::COMMAND)
}

/// Runs `perfd parse`. What goes wrong is told to nobody but perfd, by the exit code.
pub(super) fn run() -> Exit {
    match child::run() {
        Ok(()) => Exit::Ok,
        Err(_) => Exit::Internal,
    }
}
