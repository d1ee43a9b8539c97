//! Threads that share the work of making names, for as long as there is some.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::symbolize::Job;
use crate::sys;

/// No more threads than that, however many CPUs there are: the target should have some.
const MOST: usize = 4;

/// How many jobs are done at a time.
pub(super) fn n_threads() -> usize {
    thread::available_parallelism().map_or(1, |n_cpus| n_cpus.get().min(MOST))
}

/// Does all jobs, at low priority, and returns when they are done.
pub(super) fn run(jobs: Vec<Job<'_>>) {
    if jobs.len() < 2 {
        return jobs.into_iter().for_each(|job| job());
    }
    let n_helpers = n_threads().min(jobs.len()) - 1;
    let jobs = Mutex::new(jobs);
    let work = || {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(job) => job(),
                None => return,
            }
        }
    };
    thread::scope(|scope| {
        for number in 0..n_helpers {
            let thread = thread::Builder::new().name(format!("perfd-naming-{number}"));
            // Where no thread can be had, this one does it all.
            let _ = thread.spawn_scoped(scope, || {
                sys::lower_priority();
                work();
            });
        }
        work();
    });
}
