//! Unwind tables that a child makes.

use std::time::Duration;

use super::message::{Answer, Request, SaidTable};
use super::opener::begins_as_elf;
use super::process::{About, Begin, Parser, Source};
use crate::model::{Module, Pid};
use crate::procfs::module_file;
use crate::unwind::{Table, TableParts};

/// Makes tables, each by a request.
#[derive(Debug)]
pub struct Tables {
    parser: Parser,
    begin: Begin,
}

impl Tables {
    /// Starts nothing yet.
    pub fn new(begin: Begin, source: Source) -> Tables {
        Tables {
            parser: Parser::new(begin.clone(), source),
            begin,
        }
    }

    /// How long to wait for more work before [`Tables::rest`]; `None`: for ever.
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

    /// The table of a module that has a file; `None` if it has none, whatever the reason.
    pub fn table(&mut self, module: &Module) -> Option<Table> {
        let file = module_file::open_as_file(&self.begin.config.proc_root, module).ok()?;
        if !begins_as_elf(&file).ok()? {
            return None;
        }
        let about = About {
            file: &file,
            path: &module.path,
            pid: None,
        };
        let answer = self.parser.ask(&about, |_| (Request::Table, Some(&file)));
        let said = match answer.ok()? {
            Answer::Table(said) => said?,
            _ => {
                self.parser.said_nonsense();
                return None;
            }
        };
        let table = Table::from_parts(&parts(said)).ok();
        if table.is_none() {
            self.parser.said_nonsense();
        }
        table
    }
}

fn parts(said: SaidTable) -> TableParts {
    TableParts {
        first_page: said.first_page,
        index: said.index.0,
        rows: said.rows.0,
        rules: said.rules.0,
        skipped: said.skipped,
    }
}
