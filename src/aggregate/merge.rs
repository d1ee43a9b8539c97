//! Windows of one target put together: one profile of all their time.
//!
//! Nothing is lost and nothing is made up: weights, numbers of samples, counts and the columns of the ledger are sums over
//! the windows. Windows are deltas of consecutive times; what lies between two that are not neighbours is in neither.
//! Events are known by what they are, so that windows before and after a change of events stand in one profile: a
//! stack weighs nothing in an event that was not sampled then.
//!
//! Numbers out of files may be anything: sums stop at the largest number in place of overflowing.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::model::{Ledger, ProcessCounts, Profile, Row, RunInfo, SampledEvent, Weight};

/// Notes that are kept of all windows together: they are for people.
const MOST_NOTES: usize = 256;

/// One profile of windows in order of time; `None` of no windows.
pub fn merge(windows: &[Arc<Profile>]) -> Option<Profile> {
    let (first, later) = windows.split_first()?;
    let mut all = Profile::clone(first);
    for window in later {
        let added = take_in(&mut all, window);
        all.rows.extend(added);
    }
    // One sort at the end: a join for each window would go through all rows each time.
    all.rows = sorted(all.rows);
    Some(all)
}

/// Rows in the order of a profile's, each task and stack once.
pub fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(order);
    rows.dedup_by(|next, kept| {
        let is_same = order(next, kept) == Ordering::Equal;
        if is_same {
            add_weights(&mut kept.weights, &next.weights);
        }
        is_same
    });
    rows
}

/// Adds a later window to a profile. The sequence is then that of the window, so that whatever follows has a higher one.
pub fn merge_into(all: &mut Profile, window: &Profile) {
    let added = take_in(all, window);
    let rows = std::mem::take(&mut all.rows);
    all.rows = join(rows, added);
}

/// Adds everything but the rows, which are returned, with as many weights as all events together.
fn take_in(all: &mut Profile, window: &Profile) -> Vec<Row> {
    let columns = columns_of(all, &window.run);
    let n_events = all.run.events.len();
    let placed = |weights: &[Weight]| match &columns {
        None => weights.to_vec(),
        Some(columns) => {
            let mut placed = vec![Weight::default(); n_events];
            for (weight, column) in weights.iter().zip(columns) {
                placed[*column].merge(weight);
            }
            placed
        }
    };
    let rows = window.rows.iter().map(|row| Row {
        weights: placed(&row.weights),
        ..row.clone()
    });
    let rows = rows.collect();
    all.ledger.merge(&in_columns(&window.ledger, &columns));
    add_counts(&mut all.processes, &window.processes);
    all.span.end = window.span.end.max(all.span.end);
    all.span.sequence = window.span.sequence;
    all.span.is_last = window.span.is_last;
    if window.whole_run.is_some() {
        all.whole_run.clone_from(&window.whole_run);
    }
    rows
}

/// Where the events of another run stand among those of the profile, which takes in the ones that it does not have; `None`:
/// where they stand already. The notes and the name of the target are taken in too.
fn columns_of(all: &mut Profile, run: &Arc<RunInfo>) -> Option<Vec<usize>> {
    if Arc::ptr_eq(&all.run, run) || *all.run == **run {
        return None;
    }
    let known = Arc::make_mut(&mut all.run);
    for note in &run.notes {
        if known.notes.len() < MOST_NOTES && !known.notes.contains(note) {
            known.notes.push(note.clone());
        }
    }
    if known.target != run.target && known.target.len() < MOST_NOTES {
        known.target = format!("{}, {}", known.target, run.target);
    }
    let is_same = |one: &SampledEvent, other: &SampledEvent| {
        (&one.spec, one.modes) == (&other.spec, other.modes)
    };
    let mut columns = Vec::with_capacity(run.events.len());
    for event in &run.events {
        let known_at = known.events.iter().position(|known| is_same(known, event));
        columns.push(known_at.unwrap_or(known.events.len()));
        if known_at.is_none() {
            known.events.push(event.clone());
        }
    }
    let n_events = known.events.len();
    for row in &mut all.rows {
        row.weights.resize(n_events, Weight::default());
    }
    Some(columns)
}

/// The ledger with its events where they stand in the other run.
fn in_columns(ledger: &Ledger, columns: &Option<Vec<usize>>) -> Ledger {
    let mut placed = ledger.clone();
    if let Some(columns) = columns {
        let n_events = columns.iter().map(|column| column + 1).max().unwrap_or(0);
        placed.events = vec![Default::default(); n_events];
        for (event, column) in ledger.events.iter().zip(columns) {
            placed.events[*column].merge(event);
        }
    }
    placed
}

/// Two sorted lists of distinct rows as one.
fn join(rows: Vec<Row>, added: Vec<Row>) -> Vec<Row> {
    let mut joined: Vec<Row> = Vec::with_capacity(rows.len().max(added.len()));
    let (mut rows, mut added) = (rows.into_iter().peekable(), added.into_iter().peekable());
    while let (Some(row), Some(new)) = (rows.peek(), added.peek()) {
        match order(row, new) {
            Ordering::Less => joined.extend(rows.next()),
            Ordering::Greater => joined.extend(added.next()),
            Ordering::Equal => {
                if let (Some(mut row), Some(new)) = (rows.next(), added.next()) {
                    add_weights(&mut row.weights, &new.weights);
                    joined.push(row);
                }
            }
        }
    }
    joined.extend(rows);
    joined.extend(added);
    joined
}

/// The order of a profile's rows.
fn order(one: &Row, other: &Row) -> Ordering {
    (&one.task, &one.frames, one.ended).cmp(&(&other.task, &other.frames, other.ended))
}

fn add_weights(to: &mut Vec<Weight>, weights: &[Weight]) {
    if to.len() < weights.len() {
        to.resize(weights.len(), Weight::default());
    }
    to.iter_mut()
        .zip(weights)
        .for_each(|(to, from)| to.merge(from));
}

/// Counts of the same process are added up, event by event; a process is its number and its name, because numbers come again.
fn add_counts(all: &mut Vec<ProcessCounts>, window: &[ProcessCounts]) {
    for process in window {
        let is_it =
            |known: &&mut ProcessCounts| (known.pid, &known.comm) == (process.pid, &process.comm);
        let Some(known) = all.iter_mut().find(is_it) else {
            all.push(process.clone());
            continue;
        };
        for count in &process.counts {
            let same = known
                .counts
                .iter_mut()
                .find(|known| (&known.event, known.group) == (&count.event, count.group));
            match same {
                Some(sum) => {
                    sum.value = sum.value.saturating_add(count.value);
                    sum.enabled = sum.enabled.saturating_add(count.enabled);
                    sum.running = sum.running.saturating_add(count.running);
                }
                None => known.counts.push(count.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
