//! The facts of each line: what is in it, and how it is made from the profile's own types and becomes them again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    Count, Ended, EventLedger, EventSpec, Hz, JitFileNote, Ledger, Modes, MonoNs, Pid,
    ProcessCounts, Rate, RateChange, RunInfo, SampledEvent, StackLedger, WindowSpan,
};

#[derive(Serialize, Deserialize)]
pub(super) struct RunLine {
    version: String,
    hostname: String,
    kernel: String,
    target: String,
}

impl RunLine {
    pub(super) fn of(run: &RunInfo) -> RunLine {
        RunLine {
            version: run.perfd_version.to_string(),
            hostname: run.hostname.clone(),
            kernel: run.kernel.clone(),
            target: run.target.clone(),
        }
    }

    pub(super) fn into_run(self) -> RunInfo {
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
pub(super) struct SpanLine {
    sequence: u64,
    start_ns: u64,
    end_ns: u64,
    start_unix_ns: u64,
    is_last: bool,
}

impl SpanLine {
    pub(super) fn of(span: &WindowSpan) -> SpanLine {
        SpanLine {
            sequence: span.sequence,
            start_ns: span.start.0,
            end_ns: span.end.0,
            start_unix_ns: span.start_unix_ns,
            is_last: span.is_last,
        }
    }

    pub(super) fn into_span(self) -> WindowSpan {
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
pub(super) struct EventLine {
    name: String,
    #[serde(flatten)]
    rate: RateFacts,
    user: bool,
    kernel: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RateFacts {
    frequency_hz: Option<u64>,
    period: Option<u64>,
}

impl EventLine {
    pub(super) fn of(event: &SampledEvent) -> EventLine {
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

    pub(super) fn into_event(self) -> Option<SampledEvent> {
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
pub(super) struct NoteLine {
    pub(super) text: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ProcessLine {
    pid: Option<u32>,
    comm: String,
}

impl ProcessLine {
    pub(super) fn of(process: &ProcessCounts) -> ProcessLine {
        ProcessLine {
            pid: process.pid.map(|pid| pid.0),
            comm: process.comm.to_string(),
        }
    }

    pub(super) fn into_process(self) -> ProcessCounts {
        ProcessCounts {
            pid: self.pid.map(Pid),
            comm: self.comm.into(),
            counts: Vec::new(),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct CountLine {
    event: String,
    value: u64,
    enabled_ns: u64,
    running_ns: u64,
    group: usize,
}

impl CountLine {
    pub(super) fn of(count: &Count) -> CountLine {
        CountLine {
            event: count.event.to_string(),
            value: count.value,
            enabled_ns: nanos(count.enabled),
            running_ns: nanos(count.running),
            group: count.group,
        }
    }

    pub(super) fn into_count(self) -> Option<Count> {
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
pub(super) struct LedgerLine {
    side_band_lost: u64,
    out_of_order: u64,
    records_left_out: u64,
}

impl LedgerLine {
    pub(super) fn of(ledger: &Ledger) -> LedgerLine {
        LedgerLine {
            side_band_lost: ledger.side_band_lost,
            out_of_order: ledger.out_of_order,
            records_left_out: ledger.records_left_out,
        }
    }

    pub(super) fn put_into(self, ledger: &mut Ledger) {
        ledger.side_band_lost = self.side_band_lost;
        ledger.out_of_order = self.out_of_order;
        ledger.records_left_out = self.records_left_out;
    }
}

#[derive(Serialize)]
pub(super) struct Named<'a> {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) account: &'a EventLedger,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StacksLine {
    frames: u64,
    stack_table_full: u64,
    #[serde(default)]
    ended: BTreeMap<Ended, u64>,
}

impl StacksLine {
    pub(super) fn of(stacks: &StackLedger) -> StacksLine {
        StacksLine {
            frames: stacks.frames,
            stack_table_full: stacks.stack_table_full,
            ended: stacks.ended.clone(),
        }
    }

    pub(super) fn put_into(self, stacks: &mut StackLedger) {
        stacks.frames = self.frames;
        stacks.stack_table_full = self.stack_table_full;
        stacks.ended = self.ended;
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ByModule<R> {
    pub(super) reason: R,
    pub(super) module: String,
    pub(super) count: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RateChangeLine {
    at_ns: u64,
    after_ns: u64,
    /// As text, which is read back to the last bit.
    used_share: String,
    /// `997 Hz, every 1000`.
    rates: String,
}

impl RateChangeLine {
    pub(super) fn of(change: &RateChange) -> RateChangeLine {
        let rates: Vec<String> = change.rates.iter().map(ToString::to_string).collect();
        RateChangeLine {
            at_ns: change.at.0,
            after_ns: nanos(change.after),
            used_share: change.used.to_string(),
            rates: rates.join(", "),
        }
    }

    pub(super) fn into_change(self) -> Option<RateChange> {
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
pub(super) struct RefusedLine {
    pid: u32,
    file: String,
    reason: String,
}

/// What a runtime's file should be, as ledgers say it.
const RUNTIME_FILES: [&str; 3] = ["perf map", "jitdump", "report"];

impl RefusedLine {
    pub(super) fn of(pid: Pid, note: &JitFileNote) -> RefusedLine {
        RefusedLine {
            pid: pid.0,
            file: note.file.to_owned(),
            reason: note.reason.clone(),
        }
    }

    pub(super) fn into_refused(self) -> Option<(Pid, JitFileNote)> {
        let file = RUNTIME_FILES.into_iter().find(|file| *file == self.file)?;
        let reason = self.reason;
        Some((Pid(self.pid), JitFileNote { file, reason }))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
