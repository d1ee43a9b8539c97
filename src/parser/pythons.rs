//! Python interpreters, whose files a child reads.

use std::time::Duration;

use super::message::{Answer, Request};
use super::opener::begins_as_elf;
use super::process::{About, Begin, Failure, Parser, Source};
use crate::model::{Module, Pid};
use crate::procfs::module_file;
use crate::python::{Looked, PythonFile, Unreadable};

/// Looks for interpreters, into each file by a request.
#[derive(Debug)]
pub struct Pythons {
    parser: Parser,
    begin: Begin,
}

impl Pythons {
    /// Starts nothing yet.
    pub fn new(begin: Begin, source: Source) -> Pythons {
        Pythons {
            parser: Parser::new(begin.clone(), source),
            begin,
        }
    }

    /// How long to wait for more work before [`Pythons::rest`]; `None`: for ever.
    pub fn idle(&self) -> Option<Duration> {
        self.parser.idle()
    }

    /// The child, if there is one now: for who wants to know what it takes.
    pub fn child(&self) -> Option<Pid> {
        self.parser.child()
    }

    /// There is nothing to do: what the child takes is given back.
    pub fn rest(&mut self) {
        self.parser.finish();
    }

    /// Looks into the file of a module; `None` if that cannot be done this time, because the file cannot be opened or too many children have
    /// failed.
    pub fn look(&mut self, module: &Module) -> Option<Looked> {
        let file = module_file::open_as_file(&self.begin.config.proc_root, module).ok()?;
        if !begins_as_elf(&file).unwrap_or(false) {
            return Some(Ok(None));
        }
        let about = About {
            file: &file,
            path: &module.path,
            pid: None,
        };
        let name = module.short_name();
        let answer = self.parser.ask(&about, |_| {
            let name = name.clone();
            (Request::Python { name }, Some(&file))
        });
        match answer {
            Ok(Answer::Python(looked)) => Some(looked),
            Ok(_) => {
                self.parser.said_nonsense();
                Some(failed(&name))
            }
            Err(Failure::Blamed) => Some(failed(&name)),
            Err(Failure::NotStarted | Failure::TooLate) => None,
        }
    }
}

/// Of a file that is not tried again: of an interpreter the user should know why it has no frames.
fn failed(name: &str) -> Looked {
    match PythonFile::is_named(name) {
        true => Err(Unreadable::ParserFailed),
        false => Ok(None),
    }
}
