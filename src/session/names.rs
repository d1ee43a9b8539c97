//! The thread that names frames and folds windows, beside the way of the samples.
//!
//! New stacks come as they are first seen, so that when a window is closed only the names of its last stacks are
//! still to be found. The thread has a low priority: it takes the time that the target leaves.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::made_at_run_time::{MadeAtRunTime, Which};
use super::naming::Naming as Namer;
use super::outputs::{Outputs, Piece};
use super::spec::JitReporting;
use crate::aggregate::{Folding, TimedSample, WindowCounts};
use crate::model::{
    Frame, FrameName, Ledger, Module, ModuleId, ModuleKind, NameKind, ProcessCounts, Profile,
    RunInfo, Span, StackLedger, WindowSpan,
};
use crate::parser::Begin;
use crate::symbolize::Config;
use crate::symbolize::jit::{Codes, JitNames};
use crate::sys;
use crate::target::CommId;

/// Messages that may wait. When they do, the sampling thread keeps its new stacks and lets the window grow.
const QUEUE: usize = 64;

/// What the sampling thread says.
pub(super) enum Message {
    /// Stacks that were seen for the first time, and all modules and thread names that are new with them.
    New {
        modules: Vec<Arc<Module>>,
        comms: Vec<Arc<str>>,
        /// Names of Python functions, which frames of their module bear the numbers of.
        python: Vec<Option<Arc<str>>>,
        stacks: Vec<Arc<[Frame]>>,
        /// When the samples of modules with code made at run time were taken, until now.
        spans: Vec<(ModuleId, Span)>,
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
        config: Config,
        begin: Option<Begin>,
        jit: Arc<dyn Codes>,
        reporting: JitReporting,
        outputs: Outputs,
    ) -> std::io::Result<Names> {
        let (messages, inbox) = bounded(QUEUE);
        let thread = thread::Builder::new()
            .name("perfd-names".into())
            .spawn(move || {
                sys::lower_priority();
                let mut naming = Naming {
                    run,
                    namer: Namer::new(config, begin, JitNames::new(jit.clone())),
                    made_at_run_time: MadeAtRunTime::new(jit, reporting),
                    folding: Folding::default(),
                    modules: Vec::new(),
                    comms: Vec::new(),
                    python: Vec::new(),
                    named: StackLedger::default(),
                    named_before: StackLedger::default(),
                    outputs,
                    last: None,
                };
                naming.work(&inbox);
                let notes = naming.namer.notes();
                naming.namer.finish();
                Finished {
                    notes,
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
    namer: Namer,
    made_at_run_time: MadeAtRunTime,
    folding: Folding,
    modules: Vec<Arc<Module>>,
    comms: Vec<Arc<str>>,
    python: Vec<Option<Arc<str>>>,
    /// Frames with and without a name, over the run.
    named: StackLedger,
    /// The same as of the last window.
    named_before: StackLedger,
    outputs: Outputs,
    last: Option<Arc<Profile>>,
}

impl Naming {
    fn work(&mut self, inbox: &Receiver<Message>) {
        while let Some(message) = self.next(inbox) {
            match message {
                Message::New {
                    modules,
                    comms,
                    python,
                    stacks,
                    spans,
                } => {
                    self.modules.extend(modules);
                    self.comms.extend(comms);
                    self.namer.jit().sampled(spans);
                    self.python.extend(python);
                    self.name(stacks);
                }
                Message::Samples(samples) => {
                    self.name_again();
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

    /// The next message; `None` if there will be none. What takes memory without work gives it back meanwhile.
    fn next(&mut self, inbox: &Receiver<Message>) -> Option<Message> {
        if let Some(idle) = self.namer.idle() {
            match inbox.recv_timeout(idle) {
                Err(RecvTimeoutError::Timeout) => self.namer.rest(),
                received => return received.ok(),
            }
        }
        inbox.recv().ok()
    }

    fn name(&mut self, stacks: Vec<Arc<[Frame]>>) {
        let Naming {
            folding,
            modules,
            python,
            namer,
            made_at_run_time,
            named,
            ..
        } = self;
        let new = folding.new_frames(&stacks);
        let modules_of_new = new
            .iter()
            .map(|frame| (*frame, &*modules[frame.module.0 as usize]));
        namer.prepare(modules_of_new);
        folding.add_stacks(stacks, |frame| {
            let module = &modules[frame.module.0 as usize];
            let names: Vec<FrameName> = match python_name(module, frame, python) {
                Some(name) => vec![name],
                None => namer.name(module, frame),
            };
            if let ModuleKind::Anonymous { .. } = module.kind {
                // Its name is one only when the window is closed.
                made_at_run_time.add(frame, &names);
                return names;
            }
            for reason in names.iter().filter_map(|name| name.unnamed) {
                *named
                    .unnamed
                    .entry((reason, module.short_name()))
                    .or_default() += 1;
            }
            names
        });
    }

    /// Asks again for the names of code made at run time: more of it may be written down by now, or it was replaced.
    fn name_again(&mut self) {
        let Naming {
            folding,
            modules,
            namer,
            made_at_run_time,
            ..
        } = self;
        made_at_run_time.name_again(|frames| {
            let module = |frame: &Frame| &*modules[frame.module.0 as usize];
            let asked: Vec<(&Module, Frame)> =
                frames.iter().map(|frame| (module(frame), *frame)).collect();
            let names = namer.jit().names(&asked);
            for (frame, name) in frames.iter().zip(&names) {
                folding.rename(*frame, name.clone());
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
        self.made_at_run_time.read();
        self.name_again();
        self.named.frames = self.folding.n_frames() as u64;
        let in_window = self.named.since(&self.named_before);
        ledger.stacks.frames = in_window.frames;
        ledger.stacks.unnamed = in_window.unnamed;
        let made = &mut self.made_at_run_time;
        made.count_unnamed(Which::OfWindow, &mut ledger.stacks.unnamed);
        if let Some((_, whole)) = &mut whole_run {
            whole.stacks.frames = self.named.frames;
            whole.stacks.unnamed = self.named.unnamed.clone();
            made.count_unnamed(Which::OfRun, &mut whole.stacks.unnamed);
        }
        self.named_before = self.named.clone();
        let rows = self
            .folding
            .fold(&counts, |comm| self.comms[comm.0 as usize].clone());
        made.window_closed(&rows, |module| {
            let last = self.namer.jit().last_sampled(module);
            last.is_none_or(|last| span.start <= last)
        });
        if let Some((_, whole)) = &mut whole_run {
            whole.jit = made.account();
        }
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

/// The name of a Python function, which was read at the sample.
fn python_name(module: &Module, frame: Frame, names: &[Option<Arc<str>>]) -> Option<FrameName> {
    if module.kind != ModuleKind::Python {
        return None;
    }
    let number = usize::try_from(frame.offset.0).ok()?;
    Some(FrameName {
        text: names.get(number)?.clone()?,
        kind: NameKind::Python,
        unnamed: None,
    })
}
