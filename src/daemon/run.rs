//! The daemon from its start to its end: one thread that waits for signals, clients, engines and the clock.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::activation;
use super::clients::{Clients, Heard, Leave};
use super::files::{self, Files};
use super::heartbeat::Heartbeat;
use super::listening::Listening;
use super::log::Log;
use super::metrics::{Answers, Sources};
use super::notify::Notify;
use super::opening::{control_socket, serve_metrics, start_files};
use super::registry::{Registry, Said};
use super::requests::{Came, Outcome, Requests, Scene, client_limits};
use super::settings::Settings;
use super::target::Target;
use super::told::tell;
use crate::control::{Refusal, RefusalClass};
use crate::model::{Fault, FaultClass, LossReason, MonoNs};
use crate::parser::Parsing;
use crate::sink::encode::figures::n_of;
use crate::sink::pprof::Labels;
use crate::sys::signals::{EndRequest, Signals};
use crate::sys::unix_socket::LineListener;
use crate::sys::{self, Poller, Ticker, Waker, Wakeup, limits};

/// How often what waits is looked for, and how often who watches is told.
const TICK: Duration = Duration::from_secs(1);

/// Signals that come so soon after each other are one request to end.
const ONE_REQUEST: Duration = Duration::from_millis(250);

/// What has no name so long after the daemon was asked to end gets none: who stops a service waits for it.
const NAMES_WITHIN: Duration = Duration::from_secs(5);

const SIGNALS: Wakeup = Wakeup(0);
const WAKER: Wakeup = Wakeup(1);
const CLOCK: Wakeup = Wakeup(2);

/// Whether the daemon goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    On,
    /// It ends when all has been written.
    Draining,
    /// It ends now.
    AtOnce,
}

/// Runs until somebody ends it.
///
/// # Errors
/// It cannot begin, or the system fails it.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let signals = Signals::block().context("block the signals that end the daemon")?;
    let _ = limits::raise_open_files();
    sys::give_back_memory();
    let mut daemon = Daemon::start(settings, signals)?;
    daemon.work()?;
    daemon.finish();
    Ok(())
}

struct Daemon {
    settings: Arc<Settings>,
    signals: Signals,
    poller: Poller,
    waker: Waker,
    clock: Ticker,
    log: Log,
    notify: Notify,
    heartbeat: Heartbeat,
    registry: Registry,
    clients: Clients,
    requests: Requests,
    /// What clients have said, while it is worked on.
    heard: Vec<Heard>,
    files: Option<Files>,
    metrics: Option<Answers>,
    /// Sockets that perfd has made itself.
    own: Vec<Listening>,
    started: MonoNs,
    course: Course,
    /// When it was asked to end.
    asked: MonoNs,
}

impl Daemon {
    fn start(settings: Settings, signals: Signals) -> anyhow::Result<Daemon> {
        let started = sys::now();
        let log = Log::new(settings.has_journal);
        let config = settings.config.read()?;
        let notify = Notify::new(&settings.notify).context("reach the service manager")?;
        let passed = activation::take(&settings.activation)?;
        sys::private_folder(&settings.state).map_err(|error| {
            let what = format!("keep state in {}: {error}", settings.state.display());
            Fault::new(FaultClass::CannotCreate, what)
                .hint("try: --state FOLDER, one of your own that nobody else may write to")
        })?;
        let waker = Waker::new().context("create an eventfd")?;
        let settings = Arc::new(settings);
        let mut own = Vec::new();
        let (control, place) = control_socket(&settings, passed.control, &mut own)?;
        let metrics = serve_metrics(&settings, passed.metrics, &mut own, &waker)?;
        let files = start_files(&settings, &config, &waker, &log);
        let poller = Poller::new().context("create an epoll")?;
        let clock = Ticker::every(TICK).context("create a timer")?;
        poller.add(&signals, SIGNALS).context("wait for signals")?;
        poller.add(&waker, WAKER).context("wait for engines")?;
        poller.add(&clock, CLOCK).context("wait for the clock")?;
        let listener = LineListener::from_fd(control).context("use the control socket")?;
        let clients = Clients::new(listener, client_limits(&config), &poller);
        let clients = clients.context("wait for clients")?;
        let requests = Requests::new(&config, settings.roots.clone(), waker.clone());
        let n_configured = config.targets.len();
        let registry = Registry::new(config, settings.clone(), waker.clone());
        let mut daemon = Daemon {
            heartbeat: Heartbeat::new(notify.watchdog_period(), started),
            settings,
            signals,
            poller,
            waker,
            clock,
            log,
            notify,
            registry,
            clients,
            requests,
            heard: Vec::new(),
            files,
            metrics,
            own,
            started,
            course: Course::On,
            asked: started,
        };
        daemon.log.info(format!(
            "started: version {}, control socket {place}, {}",
            env!("CARGO_PKG_VERSION"),
            n_of(
                n_configured as u64,
                "configured target",
                "configured targets"
            ),
        ));
        daemon.registry.look();
        daemon.pass_on();
        daemon.notify.ready(&daemon.status());
        Ok(daemon)
    }

    fn work(&mut self) -> anyhow::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.poller.wait(&mut ready).context("wait for events")?;
            for wakeup in &ready {
                match *wakeup {
                    SIGNALS => self.take_signals()?,
                    WAKER => self.waker.acknowledge(),
                    CLOCK => self.tick(),
                    client => self
                        .clients
                        .ready(client, &self.poller, sys::now(), &mut self.heard),
                }
            }
            self.take_heard();
            self.pass_on();
            self.hear();
            self.answer_metrics();
            self.flush_clients();
            if self.course == Course::AtOnce || self.registry.is_over() {
                return Ok(());
            }
        }
    }

    fn take_signals(&mut self) -> anyhow::Result<()> {
        while let Some(signal) = self.signals.next().context("read a signal")? {
            match (signal.request, self.course) {
                (EndRequest::Hangup, Course::On) => self.reload(),
                (EndRequest::Hangup, _) => (),
                (EndRequest::Interrupt | EndRequest::Terminate, Course::On) => {
                    self.stop("asked by a signal")
                }
                // A shell that goes away, or `timeout`, signals twice and means it once.
                (_, Course::Draining) if sys::now().since(self.asked) < ONE_REQUEST => (),
                (EndRequest::Interrupt | EndRequest::Terminate, _) => {
                    self.log.warning("ended at once: asked a second time");
                    self.course = Course::AtOnce;
                }
            }
        }
        Ok(())
    }

    /// Reads the configuration again: all of it is taken, or nothing.
    fn reload(&mut self) {
        self.notify.reloading(sys::now());
        match self.settings.config.read() {
            Ok(config) => {
                if let Some(files) = &mut self.files {
                    files.set_limits(files::limits(&config.files));
                }
                self.clients.set_limits(client_limits(&config));
                self.requests.configure(&config);
                let reloaded = self.registry.reload(config);
                self.log.info(format!(
                    "reloaded: of configured targets {} go on, {} end, {} begin",
                    reloaded.kept, reloaded.ended, reloaded.begun
                ));
                self.registry.look();
            }
            Err(fault) => {
                let hints = fault.hints.iter().map(|hint| format!("; {hint}"));
                let hints: String = hints.collect();
                self.log
                    .error(format!("not reloaded, goes on as before: {fault}{hints}"));
            }
        }
        self.notify.ready(&self.status());
    }

    fn stop(&mut self, why: &str) {
        (self.course, self.asked) = (Course::Draining, sys::now());
        self.log.info(format!("stopping: {why}"));
        self.notify.stopping("writing the last windows");
        if let Parsing::InChild(limits) = &self.settings.parsing {
            limits.last_moment.set(self.asked.plus(NAMES_WITHIN));
        }
        self.registry.stop();
    }

    fn tick(&mut self) {
        self.clock.acknowledge();
        self.registry.look();
        if let Some(files) = &mut self.files {
            let news = files.news();
            news.iter().for_each(|line| self.log.warning(line));
        }
        for line in self.requests.news() {
            self.log.of_client(sys::now(), line);
        }
        self.clients.tick(&self.poller, sys::now(), &mut self.heard);
        if self.course == Course::On {
            let status = self.status();
            self.notify.status(status);
        }
        let engines = self.registry.engines();
        let progress = engines
            .iter()
            .map(|(id, way, stats)| (*id, way.window(), stats.cost.elapsed_ns));
        if self.heartbeat.is_due(sys::now(), progress) {
            self.notify.alive();
        }
    }

    /// Does what clients have asked for, and forgets those that have left.
    fn take_heard(&mut self) {
        for heard in std::mem::take(&mut self.heard) {
            match heard {
                Heard::Request {
                    client,
                    peer,
                    id,
                    request,
                    descriptors,
                } => {
                    let came = Came {
                        client,
                        peer: &peer,
                        id,
                        request,
                        descriptors,
                    };
                    let (requests, mut scene) = self.scene();
                    match requests.take(came, &mut scene) {
                        Outcome::GoOn => (),
                        Outcome::TellStats { client, id } => {
                            let stats = self.sources().stats();
                            self.clients.answer(client, id, &stats);
                        }
                        Outcome::Stop if self.course == Course::On => {
                            self.stop(&format!("asked by user {}", peer.uid));
                        }
                        Outcome::Stop => (),
                    }
                }
                Heard::Gone(client, leave) => {
                    self.registry.client_left(client);
                    self.requests.client_left(client);
                    let why = match leave {
                        Leave::Closed => continue,
                        Leave::TookNothing => "it took nothing of what waited for it",
                        Leave::HalfRequest => "a request never came to its end",
                        Leave::TooLong => "a request was too long",
                    };
                    self.log.of_client(
                        sys::now(),
                        format!("client {}: disconnected, {why}", client.0),
                    );
                }
                Heard::OutOfDescriptors => {
                    self.log.of_client(
                        sys::now(),
                        "no descriptor is left for another client; accepting pauses",
                    );
                }
            }
        }
    }

    /// Sends clients what there is for them.
    fn flush_clients(&mut self) {
        let (requests, mut scene) = self.scene();
        requests.answer_made(&mut scene);
        self.clients
            .flush(&self.poller, sys::now(), &mut self.heard);
        if !self.heard.is_empty() {
            // Who has left is seen to at once, and not with the next event.
            self.take_heard();
            self.pass_on();
        }
    }

    fn scene(&mut self) -> (&mut Requests, Scene<'_>) {
        let scene = Scene {
            registry: &mut self.registry,
            clients: &mut self.clients,
        };
        (&mut self.requests, scene)
    }

    /// Takes in what engines have said until now, up to some number of things, so that nobody else waits for long.
    fn hear(&mut self) {
        const MOST: usize = 64;
        for _ in 0..MOST {
            if !self.registry.hear() {
                return;
            }
            self.pass_on();
        }
        // There is more, which waits for who else has something.
        self.waker.wake();
    }

    /// Hands on what the registry has to say.
    fn pass_on(&mut self) {
        while let Some(said) = self.registry.next_said() {
            tell(&self.log, &self.registry, &said);
            if let Some(files) = &mut self.files {
                keep(files, &self.registry, &said);
            }
            let (requests, mut scene) = self.scene();
            requests.pass_on(&said, &mut scene);
        }
    }

    fn answer_metrics(&mut self) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        while let Ok(question) = metrics.try_recv() {
            question.answer(self.sources().text());
        }
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            registry: &self.registry,
            clients: self.clients.figures(),
            files: self.files.as_ref().map(Files::figures),
            children: self.settings.parsing.children(),
            roots: &self.settings.roots,
            started: self.started,
        }
    }

    fn status(&self) -> String {
        let n_targets = self.registry.targets().count();
        let n_running = self
            .registry
            .targets()
            .filter(|target| target.is_running())
            .count();
        format!(
            "{n_running} of {} running, {}",
            n_of(n_targets as u64, "target", "targets"),
            n_of(self.clients.figures().connected, "client", "clients")
        )
    }

    fn finish(self) {
        let Daemon {
            files,
            log,
            own,
            registry,
            requests,
            clients,
            started,
            ..
        } = self;
        clients.stop(&Refusal::new(RefusalClass::Stopping, "the daemon ends"));
        if let Err(error) = requests.finish() {
            log.error(format!("wait for outputs: {error}"));
        }
        if let Some(files) = files {
            files.finish().iter().for_each(|line| log.warning(line));
        }
        drop(own);
        let ledgers = registry
            .past()
            .iter()
            .flat_map(|(_, stats)| &stats.ledger.events);
        let (delivered, lost) = ledgers.fold((0, 0), |(delivered, lost), event| {
            // What was passed over is lost to nobody.
            let lost_of = event.lost.iter();
            let lost_of = lost_of.filter(|(reason, _)| **reason != LossReason::Foreign);
            (
                delivered + event.delivered,
                lost + lost_of.map(|(_, n)| n).sum::<i64>(),
            )
        });
        let seconds = sys::now().since(started).as_secs();
        log.info(format!(
            "ended after {seconds} s: {delivered} samples, {lost} lost"
        ));
    }
}

/// Windows of targets that have files go there.
fn keep(files: &mut Files, registry: &Registry, said: &Said) {
    match said {
        Said::Window {
            target,
            phase,
            profile,
        } => {
            let Ok(target) = registry.target(*target) else {
                return;
            };
            if target.has_files() {
                files.add(profile.clone(), labels(target, phase.clone()));
            }
        }
        Said::Ended { target, .. } if target.has_files() => files.end(target.name()),
        _ => (),
    }
}

/// What a file says of the windows of a target.
pub(super) fn labels(target: &Target, phase: Option<String>) -> Labels {
    Labels {
        target: Some(target.name().to_owned()),
        unit: match target.selector() {
            super::selector::Selector::Unit(unit) => Some(unit.clone()),
            _ => None,
        },
        phase,
    }
}
