//! Weights by function and event, added up over the windows of a run.

use std::cmp::Reverse;
use std::time::Duration;

use crate::model::{Count, EventLedger, Profile, Weight, total};
use crate::sink::encode::View;
use crate::sink::encode::texts::{Seen, Texts};

/// Share of an event from which on a function is worth a line, of its own or with what it calls.
pub(super) const MIN_SHARE: f64 = 0.005;

/// The leaf of a stack that has no frame at all.
const NO_STACK: &str = "[no stack]";

/// A table in the making: windows go in, a text comes out.
#[derive(Debug)]
pub struct Functions {
    /// The event by which functions are sorted, and whether weights or samples are shown.
    pub(super) view: View,
    names: Texts,
    n_events: usize,
    /// By function and then event: of the stacks that end in it.
    own: Vec<Weight>,
    /// The same of the stacks that have it anywhere.
    total: Vec<Weight>,
    /// By event: of all stacks.
    pub(super) all: Vec<Weight>,
    /// By event.
    pub(super) accounts: Vec<EventLedger>,
    /// Of all processes together, with the last window.
    pub(super) counts: Vec<Count>,
    pub(super) elapsed: Duration,
}

/// One function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// By event.
    pub(super) own: &'a [Weight],
    /// By event.
    pub(super) total: &'a [Weight],
}

impl Functions {
    /// Without functions.
    pub fn new(view: View) -> Functions {
        Functions {
            view,
            names: Texts::default(),
            n_events: 0,
            own: Vec::new(),
            total: Vec::new(),
            all: Vec::new(),
            accounts: Vec::new(),
            counts: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// Adds a window.
    pub fn add(&mut self, profile: &Profile) {
        self.elapsed += profile.span.end.since(profile.span.start);
        self.n_events = profile.run.events.len();
        self.all.resize(self.n_events, Weight::default());
        self.accounts.resize(self.n_events, EventLedger::default());
        self.add_rows(profile);
        match profile.whole_run.as_deref() {
            Some((processes, ledger)) => {
                self.accounts.clone_from(&ledger.events);
                self.counts = total(processes);
            }
            None => {
                let windows = self.accounts.iter_mut().zip(&profile.ledger.events);
                windows.for_each(|(account, window)| account.merge(window));
            }
        }
    }

    fn add_rows(&mut self, profile: &Profile) {
        let mut seen = Seen::default();
        let mut stack = Vec::new();
        for row in &profile.rows {
            let weights = &row.weights[..self.n_events.min(row.weights.len())];
            stack.clear();
            self.names.frames(row, &mut seen, &mut stack);
            if stack.is_empty() {
                stack.push(self.names.number(NO_STACK));
            }
            let n_cells = self.names.len() * self.n_events;
            self.own.resize(n_cells, Weight::default());
            self.total.resize(n_cells, Weight::default());
            let n_events = self.n_events;
            let of = |number: u32| number as usize * n_events..;
            let leaf = *stack.last().expect("not empty: pushed above");
            merge(&mut self.own[of(leaf)], weights);
            merge(&mut self.all, weights);
            stack.sort_unstable();
            stack.dedup();
            for number in &stack {
                merge(&mut self.total[of(*number)], weights);
            }
        }
    }

    /// Those worth a line, heaviest first, and how many are not.
    pub(super) fn sorted(&self) -> (Vec<Function<'_>>, usize) {
        let n_events = self.n_events.max(1);
        let rows = self
            .own
            .chunks_exact(n_events)
            .zip(self.total.chunks_exact(n_events));
        let all = (0..).zip(rows).map(|(number, (own, total))| Function {
            name: self.names.text(number),
            own,
            total,
        });
        let (mut shown, hidden): (Vec<_>, Vec<_>) =
            all.partition(|function| self.is_shown(function));
        let weight = |weights: &[Weight]| {
            weights
                .get(self.view.event.0)
                .map(|weight| self.view.measure.of(weight))
        };
        shown.sort_by_key(|function| {
            (
                Reverse(weight(function.own)),
                Reverse(weight(function.total)),
                function.name,
            )
        });
        (shown, hidden.len())
    }

    fn is_shown(&self, function: &Function<'_>) -> bool {
        let shares = function.total.iter().zip(&self.all);
        // What weighs by itself weighs in total.
        shares.into_iter().any(|(total, all)| {
            self.share(total, all)
                .is_some_and(|share| share >= MIN_SHARE)
        })
    }

    /// `None` where the whole is nothing.
    pub(super) fn share(&self, part: &Weight, whole: &Weight) -> Option<f64> {
        let (part, whole) = (self.view.measure.of(part), self.view.measure.of(whole));
        #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
        (whole > 0).then(|| part as f64 / whole as f64)
    }
}

/// Event by event.
fn merge(to: &mut [Weight], from: &[Weight]) {
    to.iter_mut()
        .zip(from)
        .for_each(|(to, from)| to.merge(from));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::*;
    use crate::sink::Measure;

    fn weight(n_samples: u64, period: u64) -> Weight {
        let mut weight = Weight::default();
        (0..n_samples).for_each(|_| weight.add(period));
        weight
    }

    fn row(ended: Ended, frames: &[&str], weights: &[Weight]) -> Row {
        Row {
            task: TaskLabel {
                comm: "app".into(),
                pid: None,
                tid: None,
            },
            ended,
            frames: frames
                .iter()
                .map(|text| FrameName {
                    text: (*text).into(),
                    kind: NameKind::User,
                    unnamed: None,
                })
                .collect(),
            weights: weights.to_vec(),
        }
    }

    fn profile(rows: Vec<Row>, n_events: usize) -> Profile {
        let event = SampledEvent {
            spec: "page-faults".parse().expect("an event"),
            rate: Rate::Period(1),
            modes: Modes::ALL,
        };
        Profile {
            run: Arc::new(RunInfo {
                perfd_version: "".into(),
                hostname: String::new(),
                kernel: String::new(),
                target: String::new(),
                events: vec![event; n_events],
                notes: Vec::new(),
            }),
            span: WindowSpan {
                sequence: 0,
                start: MonoNs(0),
                end: MonoNs(1),
                start_unix_ns: 0,
                is_last: true,
            },
            rows,
            processes: Vec::new(),
            ledger: Ledger::default(),
            whole_run: None,
        }
    }

    /// Name, own samples and total samples of the first event.
    fn check(rows: Vec<Row>, expected: &[(&str, u64, u64)], n_hidden: usize) {
        let mut functions = Functions::new(View {
            event: EventIdx(0),
            measure: Measure::Weight,
        });
        functions.add(&profile(rows, 2));
        let (shown, hidden) = functions.sorted();
        let shown: Vec<_> = shown
            .iter()
            .map(|function| {
                (
                    function.name,
                    function.own[0].samples,
                    function.total[0].samples,
                )
            })
            .collect();
        assert_eq!((shown.as_slice(), hidden), (expected, n_hidden));
    }

    #[test]
    fn a_recursive_function_counts_once_for_each_stack() {
        let weights = [weight(3, 10), weight(0, 0)];
        check(
            vec![
                row(Ended::Root, &["main", "walk", "walk", "walk"], &weights),
                row(Ended::Root, &["main", "walk", "leaf", "walk"], &weights),
            ],
            &[("walk", 6, 6), ("main", 0, 6), ("leaf", 0, 3)],
            0,
        );
    }

    #[test]
    fn what_is_missing_of_a_stack_is_a_function_too() {
        let weights = [weight(1, 10), weight(0, 0)];
        check(
            vec![
                row(Ended::NoRow, &["f"], &weights),
                row(Ended::NoRow, &[], &weights),
                row(Ended::NoUserStack, &[], &weights),
            ],
            &[
                ("[truncated: no unwind row]", 1, 2),
                ("[no stack]", 1, 1),
                ("f", 1, 1),
            ],
            0,
        );
    }

    #[test]
    fn a_function_is_shown_if_it_has_half_a_percent_of_any_event() {
        check(
            vec![
                row(Ended::Root, &["heavy"], &[weight(1000, 1), weight(199, 1)]),
                row(
                    Ended::Root,
                    &["light", "edge"],
                    &[weight(5, 1), weight(0, 1)],
                ),
                row(Ended::Root, &["rare"], &[weight(0, 1), weight(1, 1)]),
                row(Ended::Root, &["tiny"], &[weight(4, 1), weight(0, 1)]),
            ],
            // 5 of 1009 are less than half a percent, 1 of 200 is not.
            &[("heavy", 1000, 1000), ("rare", 0, 0)],
            3,
        );
    }

    #[test]
    fn the_event_of_the_view_sorts_the_functions() {
        let rows = || {
            vec![
                row(Ended::Root, &["a"], &[weight(9, 1), weight(1, 1)]),
                row(Ended::Root, &["b"], &[weight(2, 1), weight(7, 1)]),
            ]
        };
        for (event, expected) in [(0, ["a", "b"]), (1, ["b", "a"])] {
            let mut functions = Functions::new(View {
                event: EventIdx(event),
                measure: Measure::Weight,
            });
            functions.add(&profile(rows(), 2));
            let (shown, _) = functions.sorted();
            let names: Vec<_> = shown.iter().map(|function| function.name).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn windows_add_up() {
        let mut functions = Functions::new(View {
            event: EventIdx(0),
            measure: Measure::Samples,
        });
        for name in ["f", "g", "f"] {
            functions.add(&profile(
                vec![row(Ended::Root, &[name], &[weight(2, 7)])],
                1,
            ));
        }
        let (shown, _) = functions.sorted();
        let shown: Vec<_> = shown
            .iter()
            .map(|function| (function.name, function.own[0]))
            .collect();
        assert_eq!(shown, [("f", weight(4, 7)), ("g", weight(2, 7))]);
        assert_eq!(
            (functions.all[0], functions.elapsed),
            (weight(6, 7), Duration::from_nanos(3))
        );
    }
}
