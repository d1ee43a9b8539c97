//! The thread that has files looked into for Python interpreters, where that is done in a child: what a file makes the child do is not waited for
//! by samples.
//!
//! It decides nothing: what is wanted and what becomes of it is [`Interpreters`](super::python::Interpreters)' business.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::table_workers::{Queue, Wanted};
use crate::model::{Module, ModuleId};
use crate::parser::{Begin, Pythons, Source};
use crate::python::Looked;
use crate::sys::Waker;

/// Answers that nobody has taken yet; with more the thread waits.
const ANSWERS: usize = 64;

/// A module, and what was found in its file; `None`: it could not be looked into this time.
pub(super) type Answer = (ModuleId, Option<Looked>);

/// The ends of its channels.
pub(super) struct PythonReader {
    wanted: Queue<Wanted>,
    answers: Receiver<Answer>,
}

impl PythonReader {
    /// The other ends are the test's.
    #[cfg(test)]
    pub(super) fn of_test() -> (
        PythonReader,
        Receiver<Wanted>,
        crossbeam_channel::Sender<Answer>,
    ) {
        let (wanted, inbox) = Queue::new();
        let (sender, answers) = bounded(ANSWERS);
        (PythonReader { wanted, answers }, inbox, sender)
    }

    /// Starts the thread; `waker` is woken for every answer.
    pub(super) fn start(begin: Begin, waker: &Waker) -> io::Result<PythonReader> {
        let (wanted, inbox) = Queue::new();
        let (sender, answers) = bounded(ANSWERS);
        let waker = waker.clone();
        let mut pythons = Pythons::new(begin, Source::Program);
        thread::Builder::new()
            .name("perfd-python".to_owned())
            .spawn(move || {
                while let Some((id, module)) = next(&mut pythons, &inbox) {
                    if sender.send((id, pythons.look(&module))).is_err() {
                        return;
                    }
                    waker.wake();
                }
            })?;
        Ok(PythonReader { wanted, answers })
    }

    /// Has the file of a module looked into.
    pub(super) fn want(&mut self, id: ModuleId, module: &Arc<Module>) {
        self.wanted.push((id, module.clone()));
    }

    /// The next answer, if there is one.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.wanted.feed();
        self.answers.try_recv().ok()
    }
}

/// The next module; `None` if there will be none. A child that has nothing to do gives back what it takes.
fn next(pythons: &mut Pythons, wanted: &Receiver<Wanted>) -> Option<Wanted> {
    if let Some(idle) = pythons.idle() {
        match wanted.recv_timeout(idle) {
            Err(RecvTimeoutError::Timeout) => pythons.rest(),
            received => return received.ok(),
        }
    }
    wanted.recv().ok()
}
