//! What is kept of a target for `snapshot`: all windows since its start, and those since its last mark, put together.

use std::sync::Arc;

use crate::aggregate::{merge_into, row_bytes, sorted};
use crate::model::{Ended, FrameName, NameKind, Profile, Row, TaskLabel};

/// The stack under which stacks stand that there was no room for.
const REST: &str = "[more stacks than are kept]";

/// Windows put together.
#[derive(Debug)]
pub struct Kept {
    /// Bytes that the stacks may take.
    room: u64,
    since_start: Option<Arc<Sum>>,
    /// `None` before the first mark, and right behind one.
    since_mark: Option<Arc<Sum>>,
    is_marked: bool,
}

/// Windows put together: their profile, whose span has the number of the last.
#[derive(Clone, Debug)]
pub struct Sum {
    /// The number of the first window.
    pub from: u64,
    /// All of them.
    pub profile: Profile,
}

impl Kept {
    /// Nothing yet.
    pub fn new(room: u64) -> Kept {
        Kept {
            room,
            since_start: None,
            since_mark: None,
            is_marked: false,
        }
    }

    /// Takes a window in.
    pub fn add(&mut self, window: &Profile) {
        add_to(&mut self.since_start, window, self.room);
        if self.is_marked {
            add_to(&mut self.since_mark, window, self.room);
        }
    }

    /// A phase begins.
    pub fn mark(&mut self) {
        self.since_mark = None;
        self.is_marked = true;
    }

    /// All of it; `None` before the first window.
    pub fn since_start(&self) -> Option<&Arc<Sum>> {
        self.since_start.as_ref()
    }

    /// The present phase; `None` before its first window.
    pub fn since_mark(&self) -> Option<&Arc<Sum>> {
        match self.is_marked {
            true => self.since_mark.as_ref(),
            false => self.since_start.as_ref(),
        }
    }
}

/// Who has been given the sum before keeps what it was.
fn add_to(sum: &mut Option<Arc<Sum>>, window: &Profile, room: u64) {
    let sum = match sum {
        Some(sum) => {
            let sum = Arc::make_mut(sum);
            merge_into(&mut sum.profile, window);
            sum
        }
        None => Arc::make_mut(sum.insert(Arc::new(Sum {
            from: window.span.sequence,
            profile: window.clone(),
        }))),
    };
    hold_to(&mut sum.profile, room);
}

/// Puts the lightest stacks under one where all of them take more than their room; weights stay what they are in sum.
fn hold_to(profile: &mut Profile, room: u64) {
    let total: u64 = profile.rows.iter().map(row_bytes).sum();
    if total <= room {
        return;
    }
    let n_samples = |row: &Row| -> u64 { row.weights.iter().map(|weight| weight.samples).sum() };
    let is_rest = |row: &Row| row.frames.len() == 1 && &*row.frames[0].text == REST;
    let mut order: Vec<usize> = (0..profile.rows.len()).collect();
    order.sort_by_key(|idx| (is_rest(&profile.rows[*idx]), n_samples(&profile.rows[*idx])));
    // A quarter is made free at once, so that this is not done with every window.
    let mut over = total - room / 4 * 3;
    let mut goes = vec![false; profile.rows.len()];
    for idx in order {
        if over == 0 || is_rest(&profile.rows[idx]) {
            break;
        }
        goes[idx] = true;
        over = over.saturating_sub(row_bytes(&profile.rows[idx]));
    }
    let n_events = profile.run.events.len();
    let mut rest = Row {
        task: TaskLabel {
            comm: "[perfd]".into(),
            pid: None,
            tid: None,
        },
        ended: Ended::Root,
        frames: vec![FrameName {
            text: REST.into(),
            kind: NameKind::User,
            unnamed: None,
        }],
        weights: vec![Default::default(); n_events],
    };
    let mut goes = goes.into_iter();
    profile.rows.retain(|row| {
        if !goes.next().unwrap_or(false) && !is_rest(row) {
            return true;
        }
        for (sum, weight) in rest.weights.iter_mut().zip(&row.weights) {
            sum.merge(weight);
        }
        false
    });
    profile.rows.push(rest);
    profile.rows = sorted(std::mem::take(&mut profile.rows));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Hz, MonoNs, Rate};
    use crate::model::{Ledger, RunInfo, SampledEvent, Weight, WindowSpan};

    fn window(sequence: u64, stacks: &[(&str, u64)]) -> Profile {
        let spec: crate::model::EventSpec = "cpu-clock".parse().expect("an event");
        let row = |(name, samples): &(&str, u64)| Row {
            task: TaskLabel {
                comm: "x".into(),
                pid: None,
                tid: None,
            },
            ended: Ended::Root,
            frames: vec![FrameName {
                text: (*name).into(),
                kind: NameKind::User,
                unnamed: None,
            }],
            weights: vec![Weight {
                total: *samples,
                samples: *samples,
                squares: 0,
            }],
        };
        Profile {
            run: Arc::new(RunInfo {
                perfd_version: "0".into(),
                hostname: String::new(),
                kernel: String::new(),
                target: String::new(),
                events: vec![SampledEvent {
                    modes: spec.modes,
                    spec,
                    rate: Rate::Frequency(Hz(19)),
                }],
                notes: Vec::new(),
            }),
            span: WindowSpan {
                sequence,
                start: MonoNs(sequence),
                end: MonoNs(sequence + 1),
                start_unix_ns: 0,
                is_last: false,
            },
            rows: stacks.iter().map(row).collect(),
            processes: Vec::new(),
            ledger: Ledger::default(),
            whole_run: None,
        }
    }

    fn samples(sum: Option<&Arc<Sum>>) -> Vec<(String, u64)> {
        let rows = sum.into_iter().flat_map(|sum| &sum.profile.rows);
        let mut samples: Vec<_> = rows
            .map(|row| (row.frames[0].text.to_string(), row.weights[0].samples))
            .collect();
        samples.sort();
        samples
    }

    fn is(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        let owned = expected.iter().map(|(name, n)| ((*name).to_owned(), *n));
        owned.collect()
    }

    #[test]
    fn what_was_before_a_mark_is_in_the_whole_and_not_in_the_phase() {
        let mut kept = Kept::new(1 << 20);
        assert!(kept.since_start().is_none() && kept.since_mark().is_none());
        kept.add(&window(0, &[("a", 1)]));
        assert_eq!(samples(kept.since_mark()), is(&[("a", 1)]));
        kept.mark();
        assert!(kept.since_mark().is_none());
        kept.add(&window(1, &[("a", 2), ("b", 3)]));
        kept.add(&window(2, &[("b", 4)]));
        assert_eq!(samples(kept.since_start()), is(&[("a", 3), ("b", 7)]));
        assert_eq!(samples(kept.since_mark()), is(&[("a", 2), ("b", 7)]));
        let sum = kept.since_mark().expect("windows");
        assert_eq!((sum.from, sum.profile.span.sequence), (1, 2));
    }

    #[test]
    fn stacks_that_have_no_room_lose_their_names_and_not_their_samples() {
        let mut kept = Kept::new(0);
        kept.room = 6 * row_bytes(&window(0, &[("a", 1)]).rows[0]);
        let mut total = 0;
        for sequence in 0..40 {
            let (light, heavy) = (format!("light {sequence}"), "heavy");
            kept.add(&window(sequence, &[(heavy, 100), (&light, 1)]));
            total += 101;
        }
        let samples = samples(kept.since_start());
        assert!(samples.len() <= 7, "{samples:?}");
        assert!(samples.contains(&("heavy".to_owned(), 4000)), "{samples:?}");
        let sum: u64 = samples.iter().map(|(_, n)| n).sum();
        assert_eq!(sum, total);
    }
}
