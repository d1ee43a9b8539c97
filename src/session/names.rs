//! The thread that names frames and folds windows, beside the way of the samples.
//!
//! New stacks come as they are first seen, so that when a window is closed only the names of its last stacks are
//! still to be found. The thread has a low priority: it takes the time that the target leaves. Whoever gets what it makes is a [`Destination`].

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::engine::EngineEvent;
use super::made_at_run_time::{MadeAtRunTime, Which};
use super::members::Whose;
use super::naming::Naming as Namer;
use super::spec::JitReporting;
use super::window_of_target::{self, OfTarget};
use crate::aggregate::{Folding, TimedSample, WindowCounts};
use crate::model::{
    Frame, FrameName, Ledger, Module, ModuleId, ModuleKind, MonoNs, NameKind, NamedSample, Pid,
    ProcessCounts, Profile, RunInfo, Span, StackLedger, WindowSpan,
};
use crate::parser::Begin;
use crate::symbolize::Config;
use crate::symbolize::jit::{Codes, JitNames};
use crate::sys;

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
    Samples(Vec<TimedSample<Whose>>),
    /// A window is closed.
    Window(Box<ClosedWindow>),
    /// These, one after the other.
    Several(Vec<Message>),
    /// Stacks begin with number 0 again; those that were told are in no window that is still to come.
    Forget,
    /// These processes had left by then, and all that was sampled of them is in windows that have been told.
    Left(Vec<Pid>, MonoNs),
    /// To be passed on behind all that has been said before.
    Say(EngineEvent),
}

/// A window before naming.
pub(super) struct ClosedWindow {
    pub(super) span: WindowSpan,
    pub(super) counts: WindowCounts<Whose>,
    pub(super) processes: Vec<ProcessCounts>,
    pub(super) ledger: Ledger,
    /// On the last window.
    pub(super) whole_run: Option<(Vec<ProcessCounts>, Ledger)>,
    /// Of a target of an engine.
    pub(super) of: Option<OfTarget>,
}

/// Who gets what the thread makes.
pub(super) trait Destination: Send + 'static {
    /// Samples by themselves, in order of time.
    fn samples(&mut self, samples: Vec<NamedSample>);
    /// A window.
    fn window(&mut self, profile: Arc<Profile>, of: Option<OfTarget>);
    /// What an engine has to say.
    fn say(&mut self, event: EngineEvent);
}

/// The running thread.
pub(super) struct Names<D> {
    pub(super) messages: Sender<Message>,
    thread: JoinHandle<Finished<D>>,
}

/// What is left when all is named.
pub(super) struct Finished<D> {
    pub(super) destination: D,
    /// The last window.
    pub(super) last: Option<Arc<Profile>>,
    /// What the user should know of the search for names.
    pub(super) notes: Vec<String>,
}

impl<D: Destination> Names<D> {
    /// Starts the thread.
    pub(super) fn start(
        run: Arc<RunInfo>,
        config: Config,
        begin: Option<Begin>,
        jit: Arc<dyn Codes>,
        reporting: JitReporting,
        destination: D,
    ) -> std::io::Result<Names<D>> {
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
                    destination,
                    last: None,
                };
                naming.work(&inbox);
                let notes = naming.namer.notes();
                naming.namer.finish();
                Finished {
                    notes,
                    destination: naming.destination,
                    last: naming.last,
                }
            })?;
        Ok(Names { messages, thread })
    }

    /// Waits until everything is named and handed on.
    pub(super) fn finish(self) -> Finished<D> {
        drop(self.messages);
        match self.thread.join() {
            Ok(finished) => finished,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Naming<D> {
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
    destination: D,
    last: Option<Arc<Profile>>,
}

impl<D: Destination> Naming<D> {
    fn work(&mut self, inbox: &Receiver<Message>) {
        while let Some(message) = self.next(inbox) {
            self.take(message);
        }
    }

    fn take(&mut self, message: Message) {
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
                    |whose| self.comms[whose.comm.0 as usize].clone(),
                    |module| self.modules[module.0 as usize].clone(),
                );
                self.destination.samples(named);
            }
            Message::Window(window) => {
                let mut window = *window;
                let of = window.of.take();
                let profile = Arc::new(match &of {
                    None => self.fold(window),
                    Some(of) => self.fold_of_target(window, of),
                });
                self.last = profile.span.is_last.then(|| profile.clone());
                self.destination.window(profile, of);
            }
            Message::Several(messages) => {
                messages.into_iter().for_each(|message| self.take(message))
            }
            Message::Forget => self.folding = Folding::default(),
            Message::Left(pids, by) => self.made_at_run_time.forget(&pids, by),
            Message::Say(event) => self.destination.say(event),
        }
    }

    /// The next message; `None` if there will be none. What takes memory without work gives it back meanwhile.
    fn next(&mut self, inbox: &Receiver<Message>) -> Option<Message> {
        self.namer.close_unused();
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
            of: _,
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
            .fold(&counts, |whose| self.comms[whose.comm.0 as usize].clone());
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

    /// Of its frames, all are counted that are in it, whether they are new or not.
    fn fold_of_target(&mut self, window: ClosedWindow, of: &OfTarget) -> Profile {
        let ClosedWindow {
            span,
            counts,
            processes,
            mut ledger,
            ..
        } = window;
        self.made_at_run_time.read();
        self.name_again();
        let module = |module: ModuleId| self.modules[module.0 as usize].short_name();
        ledger.stacks = window_of_target::stacks(&counts, &self.folding, module);
        let rows = self
            .folding
            .fold(&counts, |whose| self.comms[whose.comm.0 as usize].clone());
        let oldest_open = of.oldest_open;
        self.made_at_run_time.window_closed(&rows, |module| {
            let last = self.namer.jit().last_sampled(module);
            last.is_none_or(|last| oldest_open <= last)
        });
        Profile {
            run: of.run.clone(),
            span,
            rows,
            processes,
            ledger,
            whole_run: None,
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
