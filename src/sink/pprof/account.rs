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

use super::{DecodeError, Labels, lines};
use crate::model::{
    Cost, EventLedger, Ledger, ProcessCounts, Profile, PythonLedger, RunInfo, WindowSpan,
};

mod facts;

use facts::{
    ByModule, CountLine, EventLine, LedgerLine, Named, NoteLine, ProcessLine, RateChangeLine,
    RefusedLine, RunLine, SpanLine, StacksLine,
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
