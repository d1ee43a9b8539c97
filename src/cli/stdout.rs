//! Standard output of the commands that print text and end: `doctor`, `list`, `man`, `completions`, help.

use std::io::{self, Write};

use anyhow::Context;

use super::Exit;
use crate::model::{Fault, FaultClass};

/// Writes the text. A reader that has gone (`perfd list | head`) is not an error.
pub(super) fn print(text: &[u8]) -> anyhow::Result<Exit> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context(Fault::new(
            FaultClass::OutputFailed,
            "write to standard output",
        )),
        _ => Ok(Exit::Ok),
    }
}
