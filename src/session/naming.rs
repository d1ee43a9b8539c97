//! Who names frames: this process, or a child of it that has no rights. Both are asked in the same way.

use std::time::Duration;

use super::naming_threads;
use crate::model::{Frame, FrameName, Module};
use crate::parser::{self, Begin, Source};
use crate::symbolize::jit::JitNames;
use crate::symbolize::{Config, Resolver};

/// Names frames of one run.
pub(super) enum Naming {
    Here(Box<Resolver>),
    InChild(Box<parser::Names>),
}

impl Naming {
    /// `begin`: that of children, if files are read in one.
    pub(super) fn new(config: Config, begin: Option<Begin>, jit: JitNames) -> Naming {
        match begin {
            None => Naming::Here(Box::new(Resolver::new(config).with_jit(jit))),
            Some(begin) => {
                let names = parser::Names::new(begin, Source::Program, jit);
                Naming::InChild(Box::new(names))
            }
        }
    }

    /// What is new is asked for next, in the order of these frames' modules: what can be done for many at a time is done.
    pub(super) fn prepare<'a>(&mut self, new: impl Iterator<Item = (Frame, &'a Module)>) {
        match self {
            Naming::Here(resolver) => {
                naming_threads::run(resolver.jobs(new, naming_threads::n_threads()));
            }
            Naming::InChild(names) => names.prepare(new),
        }
    }

    /// Names of one frame, outermost function first. Never empty.
    pub(super) fn name(&mut self, module: &Module, frame: Frame) -> Vec<FrameName> {
        match self {
            Naming::Here(resolver) => resolver.name(module, frame),
            Naming::InChild(names) => names.name(module, frame),
        }
    }

    /// The names of code made at run time.
    pub(super) fn jit(&mut self) -> &mut JitNames {
        match self {
            Naming::Here(resolver) => resolver.jit(),
            Naming::InChild(names) => names.jit(),
        }
    }

    /// How long to wait for more work before [`Naming::rest`]; `None`: for ever.
    pub(super) fn idle(&self) -> Option<Duration> {
        match self {
            Naming::Here(_) => None,
            Naming::InChild(names) => names.idle(),
        }
    }

    /// Closes the files that nobody has asked for names of for a while.
    pub(super) fn close_unused(&mut self) {
        if let Naming::InChild(names) = self {
            names.close_unused();
        }
    }

    /// There is nothing to do.
    pub(super) fn rest(&mut self) {
        if let Naming::InChild(names) = self {
            names.rest();
        }
    }

    /// What the user should know of the search for names.
    pub(super) fn notes(&self) -> Vec<String> {
        match self {
            Naming::Here(resolver) => resolver.notes(),
            Naming::InChild(names) => names.notes(),
        }
    }

    /// Leaves for later runs what was learnt.
    pub(super) fn finish(self) {
        match self {
            Naming::Here(resolver) => resolver.finish(),
            Naming::InChild(names) => names.finish(),
        }
    }
}
