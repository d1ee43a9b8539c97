//! Names for addresses by themselves, without a run: what `perfd symbolize` does.
//!
//! Questions come in lines and are answered in their order. As many as are there are taken together, sorted by place, so that what
//! lies together in a file is read together, and then put back into order.

mod answer;
mod question;
mod run;

pub use answer::Style;
pub use question::{Input, What};
pub use run::{Spec, run};
