//! The PMUs: what they are called, how many counters they have, and how many of those somebody else holds.
//!
//! First the facts, then their rows. The names are sysfs's; the numbers are measured, as no file has them.

use std::io;

use serde::Serialize;

use super::checks::{Check, Status, row};
use super::facts::Facts;
use crate::model::{EventSource, EventSpec, HardwareEvent};
use crate::procfs::cpu_pmu::CpuPmu;
use crate::sys::counter_room;

/// What a PMU is filled with: the events for which some have a counter of their own, and one for which none has.
const KINDS: [HardwareEvent; 4] = [
    HardwareEvent::Cycles,
    HardwareEvent::Instructions,
    HardwareEvent::RefCycles,
    HardwareEvent::BranchInstructions,
];

/// Counters that `perfd record` uses by default: three events, each sampled, and counted beside that.
const USED_BY_DEFAULT: usize = 6;

/// A PMU, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pmu {
    pub(super) name: String,
    /// The name of its model, where sysfs has one.
    pub(super) model: Option<String>,
    /// `None` if they could not be counted.
    pub(super) counters: Option<PmuCounters>,
}

/// The counters of one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PmuCounters {
    /// All that events can be counted with at the same time.
    pub(super) total: usize,
    /// Those of them that count any event.
    pub(super) for_any_event: usize,
    /// Events that can be counted with one of the others.
    pub(super) with_their_own: Vec<String>,
    /// Those that nobody held when it was tried; `None` if the CPU on which it was tried has another PMU.
    pub(super) free: Option<usize>,
}

impl Pmu {
    /// Counters that somebody else holds, where that could be tried.
    fn held(&self) -> Option<usize> {
        let counters = self.counters.as_ref()?;
        Some(counters.total.saturating_sub(counters.free?))
    }
}

/// Asks each PMU of the host.
pub(super) fn measure(pmus: Vec<CpuPmu>) -> Vec<Pmu> {
    let are_several = pmus.len() > 1;
    let measured = pmus.into_iter().map(|pmu| Pmu {
        counters: counters(&pmu, are_several).ok().flatten(),
        name: pmu.name,
        model: pmu.model,
    });
    measured.collect()
}

fn counters(pmu: &CpuPmu, is_one_of_several: bool) -> io::Result<Option<PmuCounters>> {
    let kinds = KINDS.map(|kind| pmu.event(kind));
    let Some(total) = counter_room::capacity(&kinds)? else {
        return Ok(None);
    };
    let mut alone = Vec::new();
    for (kind, event) in KINDS.iter().zip(kinds) {
        match counter_room::capacity(&[event])? {
            // This PMU does not have the event.
            None | Some(0) => (),
            Some(n) => alone.push((kind, n)),
        }
    }
    let Some(for_any_event) = alone.iter().map(|(_, n)| *n).min() else {
        return Ok(None);
    };
    let with_their_own = alone.into_iter().filter(|(_, n)| *n > for_any_event);
    let free = counter_room::free(&kinds)?;
    Ok(Some(PmuCounters {
        total,
        for_any_event,
        with_their_own: with_their_own
            .map(|(kind, _)| EventSpec::new(EventSource::Hardware(*kind)).to_string())
            .collect(),
        free: (free > 0 || !is_one_of_several).then_some(free),
    }))
}

/// A row for each PMU.
pub(super) fn pmus(facts: &Facts) -> impl Iterator<Item = Check> {
    facts.pmus.iter().map(|pmu| {
        let model = { pmu.model.as_ref() }.map_or(String::new(), |model| format!(" ({model})"));
        let named = format!("{}{model}", pmu.name);
        let Some(counters) = &pmu.counters else {
            let finding = format!("{named}; how many counters it has could not be tried");
            return row(NAME, Status::Ok, finding);
        };
        let finding = format!("{named}: {}", counted(counters));
        match counters.free {
            Some(free) if free < USED_BY_DEFAULT => row(
                NAME,
                Status::Limited,
                format!(
                    "{finding}; the default events take up to {USED_BY_DEFAULT} (3, each sampled and counted), and will take turns"
                ),
            )
            .remedy("perfd record -e cycles,instructions …"),
            _ => row(NAME, Status::Ok, finding),
        }
    })
}

/// `7 counters on each CPU, 6 for any event and 1 for cycles; all are free`
fn counted(counters: &PmuCounters) -> String {
    let of_their_own = match counters.with_their_own.as_slice() {
        [] => "each for any event".to_owned(),
        own => format!(
            "{} for any event and {} for {}",
            counters.for_any_event,
            counters.total.saturating_sub(counters.for_any_event),
            own.join(", ")
        ),
    };
    let free = match counters.free {
        None => String::new(),
        Some(free) if free == counters.total => "; all are free".to_owned(),
        Some(1) => "; 1 is free".to_owned(),
        Some(free) => format!("; {free} are free"),
    };
    format!(
        "{} counters on each CPU, {of_their_own}{free}",
        counters.total
    )
}

/// Who holds counters, if anybody does.
pub(super) fn held(facts: &Facts) -> Option<Check> {
    let is_watching = facts.sysctls.nmi_watchdog == Some(1);
    let held = facts.pmus.iter().filter_map(Pmu::held).max();
    let (finding, others) = match (held, is_watching) {
        (Some(0), _) | (None, false) => return None,
        (None, true) if facts.cycles_counted.is_err() => return None,
        (None, true) => (
            "kernel.nmi_watchdog is 1: it may hold 1 on each CPU".to_owned(),
            0,
        ),
        (Some(1), true) => (WATCHDOG.to_owned(), 0),
        (Some(n), true) => (format!("{WATCHDOG}; others hold {}", n - 1), n - 1),
        (Some(n), false) => (format!("{n} held by another profiler or the kernel"), n),
    };
    let mut check = row("taken counters", Status::Limited, finding);
    if is_watching {
        check = check.remedy("sudo sysctl kernel.nmi_watchdog=0");
    }
    if others > 0 {
        check = check.remedy(END_OTHERS);
    }
    Some(check)
}

const NAME: &str = "PMU";

const WATCHDOG: &str = "the NMI watchdog holds 1 on each CPU (kernel.nmi_watchdog is 1)";

/// Finds those who have perf events open.
const END_OTHERS: &str =
    r"end who shows up in: sudo find /proc/[0-9]*/fd -lname 'anon_inode:\[perf_event\]'";

#[cfg(test)]
mod tests {
    use super::*;

    fn pmu(total: usize, for_any_event: usize, own: &[&str], free: Option<usize>) -> Pmu {
        Pmu {
            name: "cpu".to_owned(),
            model: None,
            counters: Some(PmuCounters {
                total,
                for_any_event,
                with_their_own: own.iter().map(|name| (*name).to_owned()).collect(),
                free,
            }),
        }
    }

    fn facts(pmus: Vec<Pmu>, nmi_watchdog: Option<u64>) -> Facts {
        let mut facts = Facts::of_a_usual_user();
        facts.cycles_counted = Ok(());
        facts.pmus = pmus;
        facts.sysctls.nmi_watchdog = nmi_watchdog;
        facts
    }

    fn check(pmu: Pmu, status: Status, finding: &str) {
        let rows: Vec<_> = pmus(&facts(vec![pmu], None)).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].status, rows[0].finding.as_str()),
            (status, finding)
        );
    }

    #[test]
    fn a_pmu_is_named_with_its_model_and_the_counters_that_were_tried() {
        check(
            pmu(6, 6, &[], Some(6)),
            Status::Ok,
            "cpu: 6 counters on each CPU, each for any event; all are free",
        );
        check(
            Pmu {
                model: Some("skylake".to_owned()),
                ..pmu(11, 8, &["cycles", "instructions", "ref-cycles"], Some(10))
            },
            Status::Ok,
            "cpu (skylake): 11 counters on each CPU, 8 for any event and 3 for cycles, instructions, ref-cycles; 10 are free",
        );
        check(
            pmu(7, 6, &["cycles"], None),
            Status::Ok,
            "cpu: 7 counters on each CPU, 6 for any event and 1 for cycles",
        );
        check(
            pmu(6, 6, &[], Some(5)),
            Status::Limited,
            "cpu: 6 counters on each CPU, each for any event; 5 are free; the default events take up to 6 (3, each \
             sampled and counted), and will take turns",
        );
        check(
            Pmu {
                counters: None,
                ..pmu(0, 0, &[], None)
            },
            Status::Ok,
            "cpu; how many counters it has could not be tried",
        );
    }

    fn check_held(pmu: Pmu, nmi_watchdog: Option<u64>, expected: Option<(&str, usize)>) {
        let found = held(&facts(vec![pmu], nmi_watchdog));
        let found = { found.as_ref() }.map(|row| (row.finding.as_str(), row.remedies.len()));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_holds_a_counter_is_the_watchdog_where_it_is_on_and_somebody_else_beyond_that() {
        check_held(pmu(6, 6, &[], Some(6)), Some(0), None);
        // The watchdog of newer kernels may do without a counter.
        check_held(pmu(6, 6, &[], Some(6)), Some(1), None);
        check_held(pmu(6, 6, &[], Some(5)), Some(1), Some((WATCHDOG, 1)));
        let both = format!("{WATCHDOG}; others hold 2");
        check_held(pmu(6, 6, &[], Some(3)), Some(1), Some((&both, 2)));
        let others = "2 held by another profiler or the kernel";
        check_held(pmu(6, 6, &[], Some(4)), Some(0), Some((others, 1)));
        check_held(pmu(6, 6, &[], Some(4)), None, Some((others, 1)));
    }

    #[test]
    fn where_counters_cannot_be_tried_the_setting_is_all_there_is_to_say() {
        let unknown = "kernel.nmi_watchdog is 1: it may hold 1 on each CPU";
        check_held(pmu(6, 6, &[], None), Some(1), Some((unknown, 1)));
        check_held(pmu(6, 6, &[], None), Some(0), None);
        let usual = Facts::of_a_usual_user();
        assert_eq!(usual.sysctls.nmi_watchdog, Some(1));
        assert!(held(&usual).is_none(), "no PMU");
    }
}
