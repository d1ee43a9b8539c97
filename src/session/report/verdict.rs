//! The verdict of `--strict`: whether a ledger is good enough to be relied on.
//!
//! Bad are: samples that nothing explains; samples lost in the kernel's ring, in perfd's queue, as malformed records or without their stack;
//! lost side-band records; samples that should have been written one by one and were not; stacks in the overflow bucket; and more than one in a hundred user stacks truncated. Not
//! bad are samples that the kernel did not raise (it does so on every busy machine, and the rest of a period at each
//! thread's end counts as one) and samples of processes that are no targets.

use std::fmt::{self, Write};

use super::{grouped, n_of, percent, safe};
use crate::model::{Ended, Ledger, LossReason, RunInfo};

/// One in so many user stacks may be truncated.
const TRUNCATED_ONE_IN: u64 = 100;

/// What is wrong with a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the numbers that the variants name"
)]
pub enum Flaw {
    /// An event's columns do not add up.
    Unexplained { event: usize, n_samples: i64 },
    /// An event lost samples in a way that need not be.
    Lost {
        event: usize,
        reason: LossReason,
        n_samples: i64,
    },
    /// Records of mappings, names and forks were lost.
    SideBandLost { n_records: u64 },
    /// Samples are missing where every one was to be written.
    RecordsLeftOut { n_samples: u64 },
    /// Stacks stand in the overflow bucket.
    StackTableFull { n_stacks: u64 },
    /// Too many user stacks do not reach their root.
    Truncated { n_stacks: u64, n_walked: u64 },
}

/// The verdict on a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong; empty in a good ledger.
    pub flaws: Vec<Flaw>,
}

impl Verdict {
    /// Whether the ledger passes.
    pub fn is_good(&self) -> bool {
        self.flaws.is_empty()
    }
}

/// Judges a run's ledger.
pub fn verdict(ledger: &Ledger) -> Verdict {
    let mut flaws = Vec::new();
    for (event, account) in ledger.events.iter().enumerate() {
        if let Some(n_samples) = account.unexplained().filter(|n| *n != 0) {
            flaws.push(Flaw::Unexplained { event, n_samples });
        }
        for (reason, n_samples) in &account.lost {
            if is_avoidable(*reason) && *n_samples != 0 {
                flaws.push(Flaw::Lost {
                    event,
                    reason: *reason,
                    n_samples: *n_samples,
                });
            }
        }
    }
    if ledger.side_band_lost > 0 {
        flaws.push(Flaw::SideBandLost {
            n_records: ledger.side_band_lost,
        });
    }
    if ledger.records_left_out > 0 {
        flaws.push(Flaw::RecordsLeftOut {
            n_samples: ledger.records_left_out,
        });
    }
    if ledger.stacks.stack_table_full > 0 {
        flaws.push(Flaw::StackTableFull {
            n_stacks: ledger.stacks.stack_table_full,
        });
    }
    let sum = |is_counted: fn(Ended) -> bool| -> u64 {
        let ended = ledger.stacks.ended.iter();
        ended
            .filter(|row| is_counted(*row.0))
            .map(|row| row.1)
            .sum()
    };
    let n_stacks = sum(Ended::is_truncated);
    let n_walked = sum(|ended| ended != Ended::NoUserStack);
    if n_stacks > n_walked / TRUNCATED_ONE_IN {
        flaws.push(Flaw::Truncated { n_stacks, n_walked });
    }
    Verdict { flaws }
}

/// Writes a line for each flaw; nothing for a good ledger.
pub fn write_verdict(run: &RunInfo, verdict: &Verdict, out: &mut impl Write) -> fmt::Result {
    let name = |event: usize| {
        let event = run.events.get(event);
        event.map_or_else(String::new, |event| safe(&event.spec.to_string()))
    };
    for flaw in &verdict.flaws {
        out.write_str("strict: ")?;
        match *flaw {
            Flaw::Unexplained { event, n_samples } => {
                let n = n_of(n_samples, "sample", "samples");
                writeln!(out, "{}: {n} unexplained", name(event))
            }
            Flaw::Lost {
                event,
                reason,
                n_samples,
            } => {
                let n = n_of(n_samples, "sample", "samples");
                writeln!(out, "{}: {n} lost: {reason}", name(event))
            }
            Flaw::SideBandLost { n_records } => {
                let n = n_of(n_records, "side-band record", "side-band records");
                writeln!(out, "{n} lost")
            }
            Flaw::RecordsLeftOut { n_samples } => {
                let n = n_of(n_samples, "sample", "samples");
                writeln!(out, "{n} not written by themselves")
            }
            Flaw::StackTableFull { n_stacks } => {
                let n = n_of(n_stacks, "stack", "stacks");
                writeln!(out, "{n} beyond the table of distinct stacks")
            }
            Flaw::Truncated { n_stacks, n_walked } => writeln!(
                out,
                "{} of {} user stacks truncated ({}, allowed is 1 %)",
                grouped(n_stacks),
                grouped(n_walked),
                percent(n_stacks, n_walked)
            ),
        }?;
    }
    Ok(())
}

fn is_avoidable(reason: LossReason) -> bool {
    match reason {
        LossReason::RingFull
        | LossReason::QueueFull
        | LossReason::Malformed
        | LossReason::StackMissing
        | LossReason::NotStored => true,
        LossReason::NotRaised
        | LossReason::Foreign
        | LossReason::Duplicate
        | LossReason::NotAuthorised
        | LossReason::KernelMode => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EventLedger;

    fn ledger(emitted: u64, delivered: u64, lost: &[(LossReason, i64)]) -> Ledger {
        Ledger {
            events: vec![EventLedger {
                emitted: Some(emitted),
                delivered,
                lost: lost.iter().copied().collect(),
                ..EventLedger::default()
            }],
            ..Ledger::default()
        }
    }

    fn check(ledger: &Ledger, expected: &[Flaw]) {
        assert_eq!(verdict(ledger).flaws, expected);
    }

    #[test]
    fn what_the_kernel_did_not_raise_and_what_was_not_ours_is_no_flaw() {
        use LossReason::{Foreign, NotRaised};
        check(&ledger(10, 7, &[(NotRaised, 2), (Foreign, 1)]), &[]);
        check(&ledger(10, 11, &[(NotRaised, -1)]), &[]);
    }

    #[test]
    fn lost_and_unexplained_samples_are_flaws() {
        let reason = LossReason::RingFull;
        let lost = Flaw::Lost {
            event: 0,
            reason,
            n_samples: 3,
        };
        check(&ledger(10, 7, &[(reason, 3)]), &[lost]);
        let unexplained = Flaw::Unexplained {
            event: 0,
            n_samples: 3,
        };
        check(&ledger(10, 7, &[]), &[unexplained]);
    }

    #[test]
    fn one_truncated_stack_in_a_hundred_is_allowed_and_no_more() {
        let mut ledger = ledger(0, 0, &[]);
        let ended = &mut ledger.stacks.ended;
        ended.insert(Ended::Root, 990);
        ended.insert(Ended::NoUserStack, 5000);
        ended.insert(Ended::NoRow, 10);
        check(&ledger, &[]);
        ledger.stacks.ended.insert(Ended::CopyTooShort, 1);
        let truncated = Flaw::Truncated {
            n_stacks: 11,
            n_walked: 1001,
        };
        check(&ledger, &[truncated]);
    }

    #[test]
    fn a_full_table_and_lost_records_are_flaws() {
        let mut ledger = ledger(0, 0, &[]);
        ledger.side_band_lost = 2;
        ledger.records_left_out = 4;
        ledger.stacks.stack_table_full = 3;
        check(
            &ledger,
            &[
                Flaw::SideBandLost { n_records: 2 },
                Flaw::RecordsLeftOut { n_samples: 4 },
                Flaw::StackTableFull { n_stacks: 3 },
            ],
        );
    }
}
