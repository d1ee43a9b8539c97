//! What the names thread has been told of modules, names and stacks, each once.

use crossbeam_channel::{Sender, TrySendError};

use super::names::Message;
use super::pipeline::Pipeline;

/// How many of each it knows.
#[derive(Debug, Default)]
pub(super) struct Told {
    n_modules: usize,
    n_comms: usize,
    n_python: usize,
}

impl Told {
    /// Tells the names thread of new stacks; if it is behind, they wait here. `true` if all are sent.
    pub(super) fn send_new(&mut self, pipeline: &mut Pipeline, names: &Sender<Message>) -> bool {
        let Some(message) = self.new_stacks(pipeline) else {
            return true;
        };
        let (n_modules, n_python) = match &message {
            Message::New {
                modules, python, ..
            } => (modules.len(), python.len()),
            _ => (0, 0),
        };
        match names.try_send(message) {
            Ok(()) => {
                self.n_modules += n_modules;
                self.n_python += n_python;
                self.n_comms = pipeline.processes.comms.len();
                true
            }
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                if let Message::New { stacks, spans, .. } = message {
                    pipeline.counting.stacks.put_back(stacks);
                    pipeline.held.put_back_spans(&spans);
                }
                false
            }
        }
    }

    /// What is new; `None` if nothing is.
    pub(super) fn new_stacks(&self, pipeline: &mut Pipeline) -> Option<Message> {
        let stacks = pipeline.counting.stacks.take_new();
        let (modules, comms) = (&pipeline.processes.modules, &pipeline.processes.comms);
        let spans = pipeline.held.take_spans();
        let is_quiet = self.n_comms == comms.len() && stacks.is_empty() && spans.is_empty();
        // Where a module is mapped may be learnt until a stack leads through it.
        let modules = match stacks.is_empty() {
            true => Vec::new(),
            false => modules.from(self.n_modules).to_vec(),
        };
        let python = pipeline.python.as_ref();
        let python = python.and_then(|python| python.names.get(self.n_python..));
        (!is_quiet).then(|| Message::New {
            modules,
            python: python.unwrap_or_default().to_vec(),
            comms: comms.from(self.n_comms).to_vec(),
            stacks,
            spans,
        })
    }
}
