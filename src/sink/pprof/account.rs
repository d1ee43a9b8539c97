//! What a profile holds beside its stacks, as comments of the file: a line each (`lines.rs`).
//!
//! ```text
//! perfd version="0.1.0" hostname="box" kernel="6.18.0" target="pid 42"
//! labels phase="warm-up"
//! span sequence=7 start_ns=… end_ns=… start_unix_ns=… is_last=false
//! event name="cpu-clock" frequency_hz=997 user=true kernel=true
//! note text="…"
//! process pid=42 comm="gzip"
//! count event="task-clock" value=… enabled_ns=… running_ns=… group=0
//! ledger side_band_lost=0 out_of_order=0 records_left_out=0
//! ledger.event name="cpu-clock" delivered=… emitted=… lost.ring_full=…
//! ledger.stacks frames=… stack_table_full=0 ended.root=…
//! ledger.truncated reason="bad_frame" module="libc.so.6" count=3
//! ```
//!
//! Counts belong to the process above them. A line that is none of these is kept as a note, so that what a later perfd
//! says, or a person, is not lost.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DecodeError, Labels, lines};
use crate::model::{
    Cost, Count, EventLedger, EventSpec, Hz, JitFileNote, Ledger, Modes, MonoNs, Pid,
    ProcessCounts, Profile, PythonLedger, Rate, RateChange, RunInfo, SampledEvent, StackLedger,
    WindowSpan,
};

/// Everything of a profile but its rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    pub(super) run: RunInfo,
    pub(super) span: WindowSpan,
    pub(super) processes: Vec<ProcessCounts>,
    pub(super) ledger: Ledger,
    pub(super) labels: Labels,
}

/// The lines of a profile.
pub(super) fn comments(profile: &Profile, labels: &Labels) -> Vec<String> {
    let (run, span, ledger) = (&profile.run, &profile.span, &profile.ledger);
    let mut comments = vec![
        lines::line("perfd", &RunLine::of(run)),
        lines::line("span", &SpanLine::of(span)),
    ];
    let mut add = |line: String| comments.push(line);
    if *labels != Labels::default() {
        add(lines::line("labels", labels));
    }
    for event in &run.events {
        add(lines::line("event", &EventLine::of(event)));
    }
    for note in &run.notes {
        add(lines::line("note", &NoteLine { text: note.clone() }));
    }
    for process in &profile.processes {
        add(lines::line("process", &ProcessLine::of(process)));
        for count in &process.counts {
            add(lines::line("count", &CountLine::of(count)));
        }
    }
    add(lines::line("ledger", &LedgerLine::of(ledger)));
    for (idx, account) in ledger.events.iter().enumerate() {
        let name = run.events.get(idx).map(|event| event.spec.to_string());
        let name = name.unwrap_or_default();
        add(lines::line("ledger.event", &Named { name, account }));
    }
    add(lines::line(
        "ledger.stacks",
        &StacksLine::of(&ledger.stacks),
    ));
    for ((reason, module), count) in &ledger.stacks.truncated_in {
        let row = ByModule {
            reason: *reason,
            module: module.clone(),
            count: *count,
        };
        add(lines::line("ledger.truncated", &row));
    }
    for ((reason, module), count) in &ledger.stacks.unnamed {
        let row = ByModule {
            reason: *reason,
            module: module.clone(),
            count: *count,
        };
        add(lines::line("ledger.unnamed", &row));
    }
    if let Some(python) = &ledger.python {
        let unreadable = Default::default();
        let samples = python.samples.clone();
        add(lines::line(
            "ledger.python",
            &PythonLedger {
                samples,
                unreadable,
            },
        ));
        for text in &python.unreadable {
            let text = text.clone();
            add(lines::line("ledger.python_unreadable", &NoteLine { text }));
        }
    }
    if let Some(cost) = &ledger.cost {
        add(lines::line("cost", cost));
    }
    for change in &ledger.rate_changes {
        add(lines::line("rate_change", &RateChangeLine::of(change)));
    }
    for (pid, note) in &ledger.jit.refused {
        add(lines::line(
            "jit_file_refused",
            &RefusedLine::of(*pid, note),
        ));
    }
    comments
}

/// Reads the lines of a file; `None` if perfd did not write it.
///
/// # Errors
/// An event that is not known: without it nobody knows whose the others' values are.
pub(super) fn read<'a>(
    comments: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Account>, DecodeError> {
    let mut comments = comments.into_iter();
    let Some(run) = comments.next().and_then(run_of) else {
        return Ok(None);
    };
    let mut account = Account {
        run: run.into_run(),
        span: SpanLine::default().into_span(),
        processes: Vec::new(),
        ledger: Ledger::default(),
        labels: Labels::default(),
    };
    for comment in comments {
        match account.take_in(comment) {
            Some(()) => (),
            None if comment.starts_with("event ") => {
                return Err(DecodeError::Malformed(
                    "an event that this perfd does not know",
                ));
            }
            None => account.run.notes.push(comment.to_owned()),
        }
    }
    Ok(Some(account))
}

/// What the first line of a file says that perfd wrote.
fn run_of(line: &str) -> Option<RunLine> {
    let (topic, facts) = lines::parse(line)?;
    lines::read(facts).filter(|_| topic == "perfd")
}

impl Account {
    /// `None` if the line says nothing that is known.
    fn take_in(&mut self, comment: &str) -> Option<()> {
        let (topic, facts) = lines::parse(comment)?;
        let (run, ledger) = (&mut self.run, &mut self.ledger);
        match topic {
            "labels" => self.labels = lines::read(facts)?,
            "span" => self.span = lines::read::<SpanLine>(facts)?.into_span(),
            "event" => run
                .events
                .push(lines::read::<EventLine>(facts)?.into_event()?),
            "note" => run.notes.push(lines::read::<NoteLine>(facts)?.text),
            "process" => {
                let process = lines::read::<ProcessLine>(facts)?.into_process();
                self.processes.push(process);
            }
            "count" => {
                let count = lines::read::<CountLine>(facts)?.into_count()?;
                self.processes.last_mut()?.counts.push(count);
            }
            "ledger" => lines::read::<LedgerLine>(facts)?.put_into(ledger),
            "ledger.event" => {
                let mut facts = facts;
                facts.remove("name");
                let event: EventLedger = lines::read(facts)?;
                ledger.events.push(event);
            }
            "ledger.stacks" => lines::read::<StacksLine>(facts)?.put_into(&mut ledger.stacks),
            "ledger.truncated" => {
                let row: ByModule<_> = lines::read(facts)?;
                let rows = &mut ledger.stacks.truncated_in;
                rows.insert((row.reason, row.module), row.count);
            }
            "ledger.unnamed" => {
                let row: ByModule<_> = lines::read(facts)?;
                let rows = &mut ledger.stacks.unnamed;
                rows.insert((row.reason, row.module), row.count);
            }
            "ledger.python" => ledger.python = Some(lines::read(facts)?),
            "ledger.python_unreadable" => {
                let python = ledger.python.as_mut()?;
                python
                    .unreadable
                    .insert(lines::read::<NoteLine>(facts)?.text);
            }
            "cost" => ledger.cost = Some(lines::read::<Cost>(facts)?),
            "rate_change" => {
                let change = lines::read::<RateChangeLine>(facts)?.into_change()?;
                ledger.rate_changes.push(change);
            }
            "jit_file_refused" => {
                let refused = lines::read::<RefusedLine>(facts)?.into_refused()?;
                ledger.jit.refused.push(refused);
            }
            _ => return None,
        }
        Some(())
    }
}

#[derive(Serialize, Deserialize)]
struct RunLine {
    version: String,
    hostname: String,
    kernel: String,
    target: String,
}

impl RunLine {
    fn of(run: &RunInfo) -> RunLine {
        RunLine {
            version: run.perfd_version.to_string(),
            hostname: run.hostname.clone(),
            kernel: run.kernel.clone(),
            target: run.target.clone(),
        }
    }

    fn into_run(self) -> RunInfo {
        RunInfo {
            perfd_version: self.version.into(),
            hostname: self.hostname,
            kernel: self.kernel,
            target: self.target,
            events: Vec::new(),
            notes: Vec::new(),
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct SpanLine {
    sequence: u64,
    start_ns: u64,
    end_ns: u64,
    start_unix_ns: u64,
    is_last: bool,
}

impl SpanLine {
    fn of(span: &WindowSpan) -> SpanLine {
        SpanLine {
            sequence: span.sequence,
            start_ns: span.start.0,
            end_ns: span.end.0,
            start_unix_ns: span.start_unix_ns,
            is_last: span.is_last,
        }
    }

    fn into_span(self) -> WindowSpan {
        WindowSpan {
            sequence: self.sequence,
            start: MonoNs(self.start_ns),
            end: MonoNs(self.end_ns),
            start_unix_ns: self.start_unix_ns,
            is_last: self.is_last,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct EventLine {
    name: String,
    #[serde(flatten)]
    rate: RateFacts,
    user: bool,
    kernel: bool,
}

#[derive(Serialize, Deserialize)]
struct RateFacts {
    frequency_hz: Option<u64>,
    period: Option<u64>,
}

impl EventLine {
    fn of(event: &SampledEvent) -> EventLine {
        EventLine {
            name: event.spec.to_string(),
            rate: match event.rate {
                Rate::Frequency(hz) => RateFacts {
                    frequency_hz: Some(hz.0),
                    period: None,
                },
                Rate::Period(period) => RateFacts {
                    frequency_hz: None,
                    period: Some(period),
                },
            },
            user: event.modes.user,
            kernel: event.modes.kernel,
        }
    }

    fn into_event(self) -> Option<SampledEvent> {
        Some(SampledEvent {
            spec: self.name.parse().ok()?,
            rate: match (self.rate.frequency_hz, self.rate.period) {
                (Some(hz), None) => Rate::Frequency(Hz(hz)),
                (None, Some(period)) => Rate::Period(period),
                _ => return None,
            },
            modes: Modes {
                user: self.user,
                kernel: self.kernel,
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
struct NoteLine {
    text: String,
}

#[derive(Serialize, Deserialize)]
struct ProcessLine {
    pid: Option<u32>,
    comm: String,
}

impl ProcessLine {
    fn of(process: &ProcessCounts) -> ProcessLine {
        ProcessLine {
            pid: process.pid.map(|pid| pid.0),
            comm: process.comm.to_string(),
        }
    }

    fn into_process(self) -> ProcessCounts {
        ProcessCounts {
            pid: self.pid.map(Pid),
            comm: self.comm.into(),
            counts: Vec::new(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct CountLine {
    event: String,
    value: u64,
    enabled_ns: u64,
    running_ns: u64,
    group: usize,
}

impl CountLine {
    fn of(count: &Count) -> CountLine {
        CountLine {
            event: count.event.to_string(),
            value: count.value,
            enabled_ns: nanos(count.enabled),
            running_ns: nanos(count.running),
            group: count.group,
        }
    }

    fn into_count(self) -> Option<Count> {
        let event: EventSpec = self.event.parse().ok()?;
        Some(Count {
            event,
            value: self.value,
            enabled: Duration::from_nanos(self.enabled_ns),
            running: Duration::from_nanos(self.running_ns),
            group: self.group,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct LedgerLine {
    side_band_lost: u64,
    out_of_order: u64,
    records_left_out: u64,
}

impl LedgerLine {
    fn of(ledger: &Ledger) -> LedgerLine {
        LedgerLine {
            side_band_lost: ledger.side_band_lost,
            out_of_order: ledger.out_of_order,
            records_left_out: ledger.records_left_out,
        }
    }

    fn put_into(self, ledger: &mut Ledger) {
        ledger.side_band_lost = self.side_band_lost;
        ledger.out_of_order = self.out_of_order;
        ledger.records_left_out = self.records_left_out;
    }
}

#[derive(Serialize)]
struct Named<'a> {
    name: String,
    #[serde(flatten)]
    account: &'a EventLedger,
}

#[derive(Serialize, Deserialize)]
struct StacksLine {
    frames: u64,
    stack_table_full: u64,
    #[serde(default)]
    ended: std::collections::BTreeMap<crate::model::Ended, u64>,
}

impl StacksLine {
    fn of(stacks: &StackLedger) -> StacksLine {
        StacksLine {
            frames: stacks.frames,
            stack_table_full: stacks.stack_table_full,
            ended: stacks.ended.clone(),
        }
    }

    fn put_into(self, stacks: &mut StackLedger) {
        stacks.frames = self.frames;
        stacks.stack_table_full = self.stack_table_full;
        stacks.ended = self.ended;
    }
}

#[derive(Serialize, Deserialize)]
struct ByModule<R> {
    reason: R,
    module: String,
    count: u64,
}

#[derive(Serialize, Deserialize)]
struct RateChangeLine {
    at_ns: u64,
    after_ns: u64,
    /// As text, which is read back to the last bit.
    used_share: String,
    /// `997 Hz, every 1000`.
    rates: String,
}

impl RateChangeLine {
    fn of(change: &RateChange) -> RateChangeLine {
        let rates: Vec<String> = change.rates.iter().map(ToString::to_string).collect();
        RateChangeLine {
            at_ns: change.at.0,
            after_ns: nanos(change.after),
            used_share: change.used.to_string(),
            rates: rates.join(", "),
        }
    }

    fn into_change(self) -> Option<RateChange> {
        let rate = |text: &str| match text.strip_prefix("every ") {
            Some(period) => period.parse().ok().map(Rate::Period),
            None => {
                let hz = text.strip_suffix(" Hz")?.parse().ok()?;
                Some(Rate::Frequency(Hz(hz)))
            }
        };
        let rates = self.rates.split(", ").filter(|text| !text.is_empty());
        Some(RateChange {
            at: MonoNs(self.at_ns),
            after: Duration::from_nanos(self.after_ns),
            used: self.used_share.parse().ok()?,
            rates: rates.map(rate).collect::<Option<_>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct RefusedLine {
    pid: u32,
    file: String,
    reason: String,
}

/// What a runtime's file should be, as ledgers say it.
const RUNTIME_FILES: [&str; 3] = ["perf map", "jitdump", "report"];

impl RefusedLine {
    fn of(pid: Pid, note: &JitFileNote) -> RefusedLine {
        RefusedLine {
            pid: pid.0,
            file: note.file.to_owned(),
            reason: note.reason.clone(),
        }
    }

    fn into_refused(self) -> Option<(Pid, JitFileNote)> {
        let file = RUNTIME_FILES.into_iter().find(|file| *file == self.file)?;
        let reason = self.reason;
        Some((Pid(self.pid), JitFileNote { file, reason }))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The run and the rest as a profile without rows.
impl From<Account> for Profile {
    fn from(account: Account) -> Profile {
        Profile {
            run: Arc::new(account.run),
            span: account.span,
            rows: Vec::new(),
            processes: account.processes,
            ledger: account.ledger,
            whole_run: None,
        }
    }
}
