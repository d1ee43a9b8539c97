//! Hardware counters, on programs whose instructions are known to the last one.
//!
//! Natively these tests run where there is a PMU. In the emulated machine of `tests/vm`, where skipping is a failure, every
//! count and every number of samples is exact: `PERFD_EXACT` is the number of cycles that an instruction takes there, and what is
//! asserted is equality. Elsewhere each assertion has a bound, with its derivation in `machine` or beside it.

mod attaching;
mod counting;
#[path = "../folded/mod.rs"]
mod folded;
mod machine;
mod programs;
mod runs;
mod sampling;
#[path = "../support/mod.rs"]
mod support;
mod turns;
mod unwound;
