//! The counters of a running process, if they can be had: each event takes an open file for each thread, and a process may have more threads
//! than there are files.

use std::collections::BTreeSet;
use std::io;

use crate::model::{Pid, Tid};
use crate::sampler::counters::{self, AttachError, Counters};
use crate::sys::limits;

/// Of the open files that perfd may have, so many are for counters: one in so many.
const SHARE: u64 = 2;

/// Counts a process, all of its threads or nothing; `threads` lists them. Where open files do not suffice, the counters are given up, with all
/// that they counted until then, since a part of a target's counts would be taken for the whole. `n_others`: files that other counters take.
///
/// # Errors
/// The process cannot be counted for another reason.
pub(super) fn count_process(
    counters: &mut Counters,
    n_others: usize,
    pid: Pid,
    comm: &str,
    mut threads: impl FnMut() -> io::Result<BTreeSet<Tid>>,
) -> Result<(), AttachError> {
    if counters.given_up().is_some() {
        return Ok(());
    }
    let listed = threads().map_err(|cause| AttachError::List { pid, cause })?;
    let n_events = counters.plan().events().count();
    let needed = listed.len().saturating_mul(n_events);
    let limit = limits::open_files().map_or(0, |(soft, _)| soft);
    let room = usize::try_from(limit / SHARE).unwrap_or(usize::MAX);
    let room = room.saturating_sub(counters.n_open().saturating_add(n_others));
    let n_threads = listed.len();
    if needed > room {
        counters.give_up(format!(
            "nothing is counted in pid {pid}: {n_events} events of {n_threads} threads take {needed} open files, and there is room for {room} \
             (half of the limit, which is {limit}, without those in use)"
        ));
        return Ok(());
    }
    match counters::attach(counters, pid, comm, threads) {
        Ok(_) => Ok(()),
        // Somebody else has taken them, or there are more threads by now.
        Err(AttachError::Open(error)) if error.is_out_of_files() => {
            counters.give_up(format!("nothing is counted in pid {pid}: {error}"));
            Ok(())
        }
        Err(error) => Err(error),
    }
}
