//! What the profiled processes are doing: their threads, names and mappings, followed through fork, exec and exit.
//!
//! Side-band records and `/proc` go in, address spaces come out. Which threads to open events on is decided here
//! (`Selection`), opening them is the sampler's work.

mod comms;
mod domains;
mod forked;
mod processes;
mod selection;
mod versions;

pub use comms::{CommId, Comms};
pub use domains::Domains;
pub use processes::{LAST_MOMENTS, Processes, Task};
pub use selection::{FindError, Found, Selection, find};
