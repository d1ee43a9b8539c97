//! What a run says to a person when it ends: the counters as a table, the ledger as a few lines, and for `--strict` the
//! verdict on the ledger.
//!
//! Pure text: nothing here prints, measures or asks the system. Names of programs and files are escaped as in every
//! other output, so that none can steer the terminal.

mod cost;
mod counters;
mod jit;
mod ledger;
mod verdict;

pub use counters::write_counters;
pub use jit::write_jit;
pub use ledger::write_ledger;
pub use verdict::{Flaw, Verdict, verdict, write_verdict};

pub use crate::sink::encode::figures::{
    grouped, n_of, per_second, percent, plain_duration, ratio, safe,
};
