//! pprof: a profile as one message of profile.proto, packed by gzip. `go tool pprof`, Perfetto, speedscope and others read it.
//!
//! The one format that perfd reads back: continuous files are kept in it, and `perfd export` makes the others of them.
//! What perfd wrote comes back whole; of files that others wrote the names and values do. What stands where is described
//! in `docs/OUTPUT.md`. Rows are of functions, so that locations have no addresses:
//!
//! ```text
//! sample_type  EVENT_sample ∕ count, EVENT ∕ count or nanoseconds; of each event
//! sample       locations, leaf first; values; labels comm, pid, tid, target, unit, phase
//! location     a function with those inlined into it, innermost first; its mapping says what kind of code it is
//! comment      the run, the time, the ledger, the counts: a line each
//! ```
//!
//! The message is small enough to be written and read by hand (`wire.rs`): a reader made from the schema would hold all of a
//! hostile file in structs before it could say no. <https://github.com/google/pprof/blob/main/proto/profile.proto>

mod account;
mod decode;
mod encode;
mod fields;
mod gzip;
mod kinds;
mod lines;
mod message;
mod place;
mod whole;
mod wire;

pub use decode::{DecodeError, Decoded, Limits, Writer, decode};
pub use encode::encode;
pub use whole::Whole;

/// What a file says of all its samples, beside their own labels.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(default)]
pub struct Labels {
    /// The name under which the target was asked for.
    pub target: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// What the target was at, as it said itself: `warm-up`.
    pub phase: Option<String>,
}

impl Labels {
    /// Forgets those that others do not have too.
    pub fn keep_common(&mut self, others: &Labels) {
        let pairs = [
            (&mut self.target, &others.target),
            (&mut self.unit, &others.unit),
            (&mut self.phase, &others.phase),
        ];
        for (label, other) in pairs {
            if label != other {
                *label = None;
            }
        }
    }

    /// Those that there are, as they stand on samples.
    fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("target", &self.target),
            ("unit", &self.unit),
            ("phase", &self.phase),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key, value.as_deref()?)))
    }
}

#[cfg(test)]
mod tests;
