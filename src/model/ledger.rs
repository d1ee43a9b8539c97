//! The ledger: what became of every sample, every stack and every frame.
//!
//! For each event `emitted = delivered + Σ lost(reason)`, where `emitted` comes from the event's own count and
//! never from the other columns. What the columns do not explain is itself a row ([`LossReason::NotRaised`]).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::profile::ALL_THE_TIME;
use super::{Cost, Ended, JitLedger, MonoNs, PythonLedger, Rate, Unnamed};

/// A way to lose a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The kernel's ring was full (`PERF_FORMAT_LOST`).
    RingFull,
    /// The event counted a whole period but its overflow was never raised: late or merged timer ticks,
    /// throttling, and per thread and CPU the rest below one period. Negative if more was delivered than counted.
    NotRaised,
    /// perfd's own queue was full.
    QueueFull,
    /// The record could not be parsed.
    Malformed,
    /// It belonged to a process that is no target (a reused pid).
    Foreign,
    /// A second copy of a sample: its thread had the event twice, because it was created while perfd attached.
    Duplicate,
    /// It was walked in the kernel, but its stack was not in the kernel's table.
    StackMissing,
    /// Its process had just become another program, or records of it were lost, and it was not known yet whether its user may profile it.
    NotAuthorised,
    /// It was taken in kernel mode, which who has asked for the target may not see.
    KernelMode,
    /// It was in a window that could not be written to a continuous file: the disk was full, or failed.
    NotStored,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossReason::RingFull => "ring full",
            LossReason::NotRaised => "not raised by the kernel",
            LossReason::QueueFull => "queue full",
            LossReason::Malformed => "malformed record",
            LossReason::Foreign => "foreign process",
            LossReason::Duplicate => "second copy",
            LossReason::StackMissing => "stack not in the kernel's table",
            LossReason::NotAuthorised => "not authorised",
            LossReason::KernelMode => "kernel mode",
            LossReason::NotStored => "could not be written",
        })
    }
}

/// The account of one event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventLedger {
    /// Samples that rate × running time asks for; `None` where the rate is a count, which asks for nothing but `emitted`.
    pub expected: Option<u64>,
    /// ⌊count ∕ period⌋ of the event; `None` where the kernel adjusts the period, so that the count says nothing about samples.
    pub emitted: Option<u64>,
    /// Samples that reached the profile.
    pub delivered: u64,
    /// Samples lost, by reason. Only [`LossReason::NotRaised`] can be negative.
    pub lost: BTreeMap<LossReason, i64>,
    /// Times that the kernel throttled the event.
    pub throttled: u64,
    /// Weight of the delivered samples.
    pub sampled_weight: u64,
    /// What the event counted in all, scaled if it did not run all the time; `None` if it never ran.
    pub counted_weight: Option<u64>,
    /// Nanoseconds in which the event was enabled, over all threads.
    pub enabled_ns: u64,
    /// Nanoseconds in which it was counting: less than `enabled_ns` where the PMU's counters were shared in turns.
    pub running_ns: u64,
    /// Nanoseconds in which the event was closed to be opened anew with another stack copy size or rate.
    pub reopened_gap_ns: u64,
    /// What became of its samples in the kernel; `None` if they are not walked there.
    pub kernel_walk: Option<KernelWalkLedger>,
}

/// What became of an event's samples in the kernel, where a BPF program walks their stacks. What it leaves to the ring is walked by perfd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelWalkLedger {
    /// Walked and counted there.
    pub walked: u64,
    /// Left to the ring: a mapping or an unwind table was not loaded.
    pub left_to_ring: u64,
    /// Left to the ring: no room for the count.
    pub no_room_for_count: u64,
    /// Left to the ring: no room for the stack.
    pub no_room_for_stack: u64,
    /// Passed over: of processes that are no targets.
    pub foreign: u64,
}

impl KernelWalkLedger {
    /// All samples of targets.
    pub fn of_targets(&self) -> u64 {
        self.walked + self.left_to_ring + self.no_room()
    }

    /// Samples that found a table full.
    pub fn no_room(&self) -> u64 {
        self.no_room_for_count + self.no_room_for_stack
    }

    /// What has been added since an earlier state of the same account.
    pub fn since(&self, earlier: &KernelWalkLedger) -> KernelWalkLedger {
        KernelWalkLedger {
            walked: self.walked - earlier.walked,
            left_to_ring: self.left_to_ring - earlier.left_to_ring,
            no_room_for_count: self.no_room_for_count - earlier.no_room_for_count,
            no_room_for_stack: self.no_room_for_stack - earlier.no_room_for_stack,
            foreign: self.foreign - earlier.foreign,
        }
    }

    /// Adds another account.
    pub fn merge(&mut self, other: &KernelWalkLedger) {
        add(&mut self.walked, other.walked);
        add(&mut self.left_to_ring, other.left_to_ring);
        add(&mut self.no_room_for_count, other.no_room_for_count);
        add(&mut self.no_room_for_stack, other.no_room_for_stack);
        add(&mut self.foreign, other.foreign);
    }
}

impl EventLedger {
    /// `emitted − delivered − Σ lost`; zero in a ledger that is in order, `None` where `emitted` is not known.
    pub fn unexplained(&self) -> Option<i64> {
        let columns = self.lost.values().copied();
        let explained = columns.fold(signed(self.delivered), i64::saturating_add);
        Some(signed(self.emitted?).saturating_sub(explained))
    }

    /// The share of the counted total that the samples explain, 1.0 if all of it.
    pub fn coverage(&self) -> Option<f64> {
        let counted = self.counted_weight.filter(|counted| *counted > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
        Some(self.sampled_weight as f64 / counted as f64)
    }

    /// Share of the enabled time in which the event was counting, 0.0 to 1.0.
    pub fn running_share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
        match self.enabled_ns {
            0 => 1.0,
            enabled => (self.running_ns as f64 / enabled as f64).min(1.0),
        }
    }

    /// Whether it was counting whenever it was enabled.
    pub fn ran_all_the_time(&self) -> bool {
        self.running_share() >= ALL_THE_TIME
    }

    /// Adds the account of a later window. Numbers out of files may be anything, and stop at the largest.
    pub fn merge(&mut self, window: &EventLedger) {
        let add_known = |to: &mut Option<u64>, n: Option<u64>| {
            if let Some(n) = n {
                add(to.get_or_insert(0), n);
            }
        };
        add_known(&mut self.expected, window.expected);
        add_known(&mut self.emitted, window.emitted);
        add_known(&mut self.counted_weight, window.counted_weight);
        add(&mut self.delivered, window.delivered);
        for (reason, n) in &window.lost {
            let lost = self.lost.entry(*reason).or_default();
            *lost = lost.saturating_add(*n);
        }
        add(&mut self.throttled, window.throttled);
        add(&mut self.sampled_weight, window.sampled_weight);
        add(&mut self.enabled_ns, window.enabled_ns);
        add(&mut self.running_ns, window.running_ns);
        add(&mut self.reopened_gap_ns, window.reopened_gap_ns);
        if let Some(kernel_walk) = &window.kernel_walk {
            let all = self.kernel_walk.get_or_insert_default();
            all.merge(kernel_walk);
        }
    }

    /// Adds to a row.
    pub fn lose(&mut self, reason: LossReason, n_samples: u64) {
        if n_samples > 0 {
            *self.lost.entry(reason).or_default() += signed(n_samples);
        }
    }
}

fn add(to: &mut u64, n: u64) {
    *to = to.saturating_add(n);
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The account of stacks and names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StackLedger {
    /// User stacks by how their walk ended.
    pub ended: BTreeMap<Ended, u64>,
    /// Truncated stacks by reason and by the module (its short name) in which the walk ended.
    #[serde(serialize_with = "as_rows")]
    pub truncated_in: BTreeMap<(Ended, String), u64>,
    /// Distinct frames that were named, or not, so far.
    pub frames: u64,
    /// Distinct frames without a name, by reason and module.
    #[serde(serialize_with = "as_rows")]
    pub unnamed: BTreeMap<(Unnamed, String), u64>,
    /// Stacks that came after the table of distinct stacks was full, and stand in the bucket `[stack table full]`.
    pub stack_table_full: u64,
}

fn as_rows<S: Serializer, R: Serialize>(
    map: &BTreeMap<(R, String), u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a, R> {
        reason: &'a R,
        module: &'a str,
        count: u64,
    }
    serializer.collect_seq(map.iter().map(|((reason, module), count)| Row {
        reason,
        module,
        count: *count,
    }))
}

/// The whole account of a run, or of one window of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// One for each sampled event, in the run's order.
    pub events: Vec<EventLedger>,
    /// Stacks and names, over all events.
    pub stacks: StackLedger,
    /// Side-band records (mmap, comm, fork, exit) that the ring had no room for: names may be missing after that.
    pub side_band_lost: u64,
    /// Records that came later than the time order they belong in.
    pub out_of_order: u64,
    /// With `--timestamps`: samples that are in the profile but not among those that were written one by one, because these could not be
    /// written as fast.
    pub records_left_out: u64,
    /// Python frames; `None` where nobody asked for them.
    pub python: Option<PythonLedger>,
    /// What perfd itself took; `None` where it was not measured.
    pub cost: Option<Cost>,
    /// Changes of the rate, in the order of time.
    pub rate_changes: Vec<RateChange>,
    /// Of code made at run time; on the account of the whole run alone.
    pub jit: JitLedger,
}

/// The rate of all events was lowered, because perfd took more than it was allowed to (`--max-overhead`).
#[derive(Clone, Debug, PartialEq)]
pub struct RateChange {
    /// When, on `CLOCK_MONOTONIC`.
    pub at: MonoNs,
    /// How long after the beginning of the run.
    pub after: Duration,
    /// What sampling had taken in the second before, as a share of one CPU.
    pub used: f64,
    /// The events' rates from then on, in the run's order.
    pub rates: Vec<Rate>,
}

impl Ledger {
    /// Adds the account of a later window. Its events come in the order of this one's.
    pub fn merge(&mut self, window: &Ledger) {
        if self.events.len() < window.events.len() {
            self.events
                .resize_with(window.events.len(), EventLedger::default);
        }
        for (all, event) in self.events.iter_mut().zip(&window.events) {
            all.merge(event);
        }
        self.stacks.merge(&window.stacks);
        add(&mut self.side_band_lost, window.side_band_lost);
        add(&mut self.out_of_order, window.out_of_order);
        add(&mut self.records_left_out, window.records_left_out);
        if let Some(python) = &window.python {
            self.python.get_or_insert_default().merge(python);
        }
        if let Some(cost) = &window.cost {
            self.cost.get_or_insert_default().merge(cost);
        }
        self.rate_changes.extend_from_slice(&window.rate_changes);
        self.jit.merge(&window.jit);
    }
}

impl StackLedger {
    /// Adds the account of a later window.
    pub fn merge(&mut self, window: &StackLedger) {
        add_rows(&mut self.ended, &window.ended);
        add_rows(&mut self.truncated_in, &window.truncated_in);
        add(&mut self.frames, window.frames);
        add_rows(&mut self.unnamed, &window.unnamed);
        add(&mut self.stack_table_full, window.stack_table_full);
    }

    /// Counts a stack that was walked in so many samples.
    pub fn count(&mut self, ended: Ended, samples: u64, module: impl FnOnce() -> String) {
        *self.ended.entry(ended).or_default() += samples;
        if ended.is_truncated() {
            *self.truncated_in.entry((ended, module())).or_default() += samples;
        }
    }

    /// What has been added since an earlier state of the same account.
    pub fn since(&self, earlier: &StackLedger) -> StackLedger {
        StackLedger {
            ended: subtract(&self.ended, &earlier.ended),
            truncated_in: subtract(&self.truncated_in, &earlier.truncated_in),
            frames: self.frames - earlier.frames,
            unnamed: subtract(&self.unnamed, &earlier.unnamed),
            stack_table_full: self.stack_table_full - earlier.stack_table_full,
        }
    }
}

fn add_rows<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, rows: &BTreeMap<K, u64>) {
    for (key, n) in rows {
        match to.get_mut(key) {
            Some(sum) => add(sum, *n),
            None => {
                to.insert(key.clone(), *n);
            }
        }
    }
}

/// Row by row; rows that have not grown are left out.
fn subtract<K: Ord + Clone>(
    now: &BTreeMap<K, u64>,
    earlier: &BTreeMap<K, u64>,
) -> BTreeMap<K, u64> {
    now.iter()
        .map(|(key, n)| (key.clone(), n - earlier.get(key).copied().unwrap_or(0)))
        .filter(|(_, n)| *n > 0)
        .collect()
}
