//! One run of perfd: what was asked for, checked, and the stages put together.

pub mod stat;
