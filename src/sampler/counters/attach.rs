//! Counting a process that is running and may be creating threads at this moment.
//!
//! An event is inherited by threads created after it was opened on their creator, and by nobody else. A thread that
//! appears while perfd goes through the list may therefore have inherited its events or not, and `/proc` does
//! not say which: opening them on it again could count it twice, leaving it out could miss it. So such an attempt is thrown away:
//!
//! ```text
//! repeat: list threads → open the events on each, disabled → list again → nothing new? done : close all
//! ```
//!
//! If the second list has no thread that the first had not, then each living thread has been opened exactly once, and what comes
//! later inherits. Nothing is lost by an attempt thrown away, since nothing counts yet. Two races remain, both of which can only
//! miss and never count twice:
//!
//! - a thread that its creator began to make (events are copied early in `copy_process`) before the events were opened, and
//!   that is listed (late in `copy_process`) only after the second list: some microseconds;
//! - a process that creates threads faster than perfd can list them: after [`ATTEMPTS`] the last attempt is kept, and
//!   [`Attached::unsettled`] says how many threads may be missing.

use std::collections::BTreeSet;
use std::io;

use super::Counters;
use crate::model::{Pid, Tid};
use crate::sys::event_error::OpenEventError;

/// How often a process that creates threads all the time is tried.
const ATTEMPTS: usize = 25;

/// How an attach went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Threads that were opened.
    pub n_threads: usize,
    /// Threads that appeared in the last attempt: each is counted by inheritance or not at all. 0 for all but processes that
    /// create threads without pause.
    pub unsettled: usize,
}

/// Why a process cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Its threads cannot be listed.
    #[error("list the threads of pid {pid}")]
    List {
        /// The process.
        pid: Pid,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It ended meanwhile.
    #[error("pid {0} ended before it could be counted")]
    Gone(Pid),
    /// An event cannot be opened on it.
    #[error(transparent)]
    Open(#[from] OpenEventError),
}

/// Opens the events of `counters` on all threads of a process, disabled. `threads` lists them, each time anew.
pub fn attach(
    counters: &mut Counters,
    pid: Pid,
    comm: &str,
    mut threads: impl FnMut() -> io::Result<BTreeSet<Tid>>,
) -> Result<Attached, AttachError> {
    let mut list = || threads().map_err(|cause| AttachError::List { pid, cause });
    let mut listed = list()?;
    for attempt in 1.. {
        let there = counters.add_threads(pid, comm, listed.iter().copied())?;
        let listed_again = list()?;
        let unsettled = listed_again.difference(&listed).count();
        if unsettled == 0 || attempt == ATTEMPTS {
            if there.is_empty() {
                return Err(AttachError::Gone(pid));
            }
            return Ok(Attached {
                n_threads: there.len(),
                unsettled,
            });
        }
        counters.remove(pid);
        listed = listed_again;
    }
    unreachable!("the loop above has no end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::SysRoots;
    use crate::sampler::counters::{Children, Plan, Request, Scope};

    fn counters() -> Option<Counters> {
        let clock = Request::Explicit(vec!["task-clock:u".parse().unwrap()]);
        let plan = Plan::make(&SysRoots::default(), &clock, Scope::Processes);
        plan.ok().map(|plan| Counters::new(plan, Children::Counted))
    }

    /// Attaches to this test's own thread under a script of listings.
    fn check(listings: &[&[u32]], expected: Attached) {
        let Some(mut counters) = counters() else {
            return;
        };
        let own = nix::unistd::gettid().as_raw().cast_unsigned();
        let pid = Pid(std::process::id());
        let mut n_asked = 0;
        let attached = attach(&mut counters, pid, "test", || {
            let listing = listings[n_asked.min(listings.len() - 1)];
            n_asked += 1;
            // Offsets beyond any pid are threads that are gone when they are opened.
            Ok(listing.iter().map(|n| Tid(own + n * 0x0100_0000)).collect())
        });
        assert_eq!(attached.unwrap(), expected);
    }

    const ONE: Attached = Attached {
        n_threads: 1,
        unsettled: 0,
    };

    #[test]
    fn a_quiet_process_is_opened_at_once() {
        check(&[&[0], &[0]], ONE);
    }

    #[test]
    fn a_thread_that_appears_meanwhile_makes_a_new_attempt_and_no_second_opening() {
        check(&[&[0], &[0, 1], &[0, 1]], ONE);
    }

    #[test]
    fn a_thread_that_ends_meanwhile_is_no_reason_for_a_new_attempt() {
        check(&[&[0, 1], &[0]], ONE);
    }

    #[test]
    fn a_process_that_creates_threads_without_pause_is_counted_and_the_rest_is_said() {
        let listings: Vec<Vec<u32>> = (0..40).map(|n| (0..=n).collect()).collect();
        let listings: Vec<&[u32]> = listings.iter().map(Vec::as_slice).collect();
        let expected = Attached {
            n_threads: 1,
            unsettled: 1,
        };
        check(&listings, expected);
    }

    #[test]
    fn a_process_of_which_no_thread_is_left_is_gone() {
        let Some(mut counters) = counters() else {
            return;
        };
        let listing = || Ok(BTreeSet::from([Tid(0x7fff_fff0)]));
        let attached = attach(&mut counters, Pid(0x7fff_fff0), "x", listing);
        assert!(
            matches!(attached, Err(AttachError::Gone(_))),
            "{attached:?}"
        );
    }
}
