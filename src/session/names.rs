//! The thread that names frames and folds windows, beside the way of the samples.
//!
//! New stacks come as they are first seen, so that when a window is closed only the names of its last stacks are
//! still to be found. The thread has a low priority: it takes the time that the target leaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::outputs::{Outputs, Piece};
use crate::aggregate::{Folding, TimedSample, WindowCounts};
use crate::debug_files;
use crate::model::{
    Frame, FrameName, Ledger, Module, ProcessCounts, Profile, RunInfo, StackLedger, WindowSpan,
};
use crate::symbolize::{Config, Inline, Resolver};
use crate::sys;
use crate::target::CommId;

/// Messages that may wait. When they do, the sampling thread keeps its new stacks and lets the window grow.
const QUEUE: usize = 64;
/// Debug information that may be open at the same time.
const MEMORY_BUDGET: usize = 256 << 20;

/// What the sampling thread says.
pub(super) enum Message {
    /// Stacks that were seen for the first time, and all modules and thread names that are new with them.
    New {
        modules: Vec<Arc<Module>>,
        comms: Vec<Arc<str>>,
        stacks: Vec<Arc<[Frame]>>,
    },
    /// Samples by themselves, in order of time; their stacks have been told.
    Samples(Vec<TimedSample<CommId>>),
    /// A window is closed.
    Window(Box<ClosedWindow>),
}

/// A window before naming.
pub(super) struct ClosedWindow {
    pub(super) span: WindowSpan,
    pub(super) counts: WindowCounts<CommId>,
    pub(super) processes: Vec<ProcessCounts>,
    pub(super) ledger: Ledger,
    /// On the last window.
    pub(super) whole_run: Option<(Vec<ProcessCounts>, Ledger)>,
}

/// The running thread.
pub(super) struct Names {
    pub(super) messages: Sender<Message>,
    thread: JoinHandle<Finished>,
}

/// What is left when all is named.
pub(super) struct Finished {
    pub(super) outputs: Outputs,
    /// The last window.
    pub(super) last: Option<Arc<Profile>>,
    /// What the user should know of the search for names.
    pub(super) notes: Vec<String>,
}

impl Names {
    /// Starts the thread; what it makes goes to `outputs`.
    pub(super) fn start(
        run: Arc<RunInfo>,
        inline: bool,
        proc_root: PathBuf,
        debug_files: debug_files::Config,
        outputs: Outputs,
    ) -> std::io::Result<Names> {
        let (messages, inbox) = bounded(QUEUE);
        let thread = thread::Builder::new()
            .name("perfd-names".into())
            .spawn(move || {
                sys::lower_priority();
                let inline = if inline { Inline::Show } else { Inline::Hide };
                let config = Config {
                    inline,
                    memory_budget: MEMORY_BUDGET,
                    proc_root,
                    debug_files,
                };
                let mut naming = Naming {
                    run,
                    resolver: Resolver::new(config),
                    folding: Folding::default(),
                    modules: Vec::new(),
                    comms: Vec::new(),
                    named: StackLedger::default(),
                    named_before: StackLedger::default(),
                    outputs,
                    last: None,
                };
                naming.work(&inbox);
                Finished {
                    notes: naming.resolver.notes(),
                    outputs: naming.outputs,
                    last: naming.last,
                }
            })?;
        Ok(Names { messages, thread })
    }

    /// Ends before the run has begun; files that were made for it are taken away again.
    pub(super) fn abandon(self) {
        self.finish().outputs.finish();
    }

    /// Waits until everything is named and handed to the outputs.
    pub(super) fn finish(self) -> Finished {
        drop(self.messages);
        match self.thread.join() {
            Ok(finished) => finished,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Naming {
    run: Arc<RunInfo>,
    resolver: Resolver,
    folding: Folding,
    modules: Vec<Arc<Module>>,
    comms: Vec<Arc<str>>,
    /// Frames with and without a name, over the run.
    named: StackLedger,
    /// The same as of the last window.
    named_before: StackLedger,
    outputs: Outputs,
    last: Option<Arc<Profile>>,
}

impl Naming {
    fn work(&mut self, inbox: &Receiver<Message>) {
        for message in inbox {
            match message {
                Message::New {
                    modules,
                    comms,
                    stacks,
                } => {
                    self.modules.extend(modules);
                    self.comms.extend(comms);
                    self.name(stacks);
                }
                Message::Samples(samples) => {
                    let named = self.folding.name_samples(
                        &samples,
                        |comm| self.comms[comm.0 as usize].clone(),
                        |module| self.modules[module.0 as usize].clone(),
                    );
                    self.outputs.write(&Piece::Samples(named.into()));
                }
                Message::Window(window) => {
                    let profile = Arc::new(self.fold(*window));
                    self.outputs.write(&Piece::Window(profile.clone()));
                    self.last = profile.span.is_last.then_some(profile);
                }
            }
        }
    }

    fn name(&mut self, stacks: Vec<Arc<[Frame]>>) {
        let Naming {
            folding,
            modules,
            resolver,
            named,
            ..
        } = self;
        folding.add_stacks(stacks, |frame| {
            let module = &modules[frame.module.0 as usize];
            let names: Vec<FrameName> = resolver.name(module, frame);
            for reason in names.iter().filter_map(|name| name.unnamed) {
                *named
                    .unnamed
                    .entry((reason, module.short_name()))
                    .or_default() += 1;
            }
            names
        });
    }

    fn fold(&mut self, window: ClosedWindow) -> Profile {
        let ClosedWindow {
            span,
            counts,
            processes,
            mut ledger,
            mut whole_run,
        } = window;
        self.named.frames = self.folding.n_frames() as u64;
        let in_window = self.named.since(&self.named_before);
        ledger.stacks.frames = in_window.frames;
        ledger.stacks.unnamed = in_window.unnamed;
        if let Some((_, whole)) = &mut whole_run {
            whole.stacks.frames = self.named.frames;
            whole.stacks.unnamed = self.named.unnamed.clone();
        }
        self.named_before = self.named.clone();
        let rows = self
            .folding
            .fold(&counts, |comm| self.comms[comm.0 as usize].clone());
        Profile {
            run: self.run.clone(),
            span,
            rows,
            processes,
            ledger,
            whole_run: whole_run.map(Box::new),
        }
    }
}
