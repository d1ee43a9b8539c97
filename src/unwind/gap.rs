//! Code between functions: no rows, but for what is known without them.

use super::Rule;
use super::encoder::{Encoder, TableLimit};
use crate::arch::Known;

/// Encodes the gap from `start` to the next function. `known` is sorted by start.
pub(super) fn encode(
    encoder: &mut Encoder,
    start: u64,
    next: u64,
    known: &[Known],
) -> Result<(), TableLimit> {
    let mut done = start;
    let first = known.partition_point(|known| known.end <= start);
    for known in known[first..].iter().take_while(|known| known.start < next) {
        let from = known.start.max(done);
        let to = known.end.min(next);
        if from >= to {
            continue;
        }
        if done < from {
            encoder.push(done, Rule::NONE)?;
        }
        encoder.push(from, known.rule)?;
        done = to;
    }
    if done < next {
        encoder.push(done, Rule::NONE)?;
    }
    Ok(())
}
