//! The two places where `perfd stat` writes: text for a person, data for a program.

use std::io::{self, Write};

use anyhow::Context;

use crate::model::{Fault, FaultClass};

/// Standard error and standard output, or what stands for them in a test.
pub struct Output<'a> {
    /// What is said to a person.
    pub text: &'a mut dyn Write,
    /// Data.
    pub data: &'a mut dyn Write,
}

/// Whether somebody still reads the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Reader {
    There,
    /// The pipe was closed (`| head`): no error, and no reason to write more.
    Gone,
}

impl Output<'_> {
    /// To the person; if standard error is closed there is nobody to tell.
    pub(super) fn say(&mut self, text: &str) {
        let _ = self.text.write_all(text.as_bytes());
        let _ = self.text.flush();
    }

    /// One line of data, out at once.
    pub(super) fn line(&mut self, line: &str) -> anyhow::Result<Reader> {
        let written = writeln!(self.data, "{line}").and_then(|()| self.data.flush());
        match written {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error).context(Fault::new(
                FaultClass::OutputFailed,
                "write counts to standard output",
            )),
        }
    }
}
