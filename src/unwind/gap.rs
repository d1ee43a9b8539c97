//! Code between functions: no rows, but for the code that a process begins at, which has no caller.
//!
//! The loader's `_start`, and those of many libcs, are written by hand, without call frame information; nothing below
//! them is ever returned to, so that what is known of the entry point (`e_entry`) is as good as a row.

use super::Rule;
use super::encoder::{Encoder, TableLimit};

/// Bytes that the code at the entry point is taken to have at most, where no function begins earlier. A loader's has some 70, a
/// program's 40; in a file whose rows are damaged, what lies behind it must not pass for a root.
pub(super) const LONGEST_ENTRY: u64 = 96;

/// Encodes the gap from `start` to the next function; `entry` is the file offset of the entry point, if there is one.
pub(super) fn encode(
    encoder: &mut Encoder,
    start: u64,
    next: u64,
    entry: Option<u64>,
) -> Result<(), TableLimit> {
    let Some(entry) = entry.filter(|entry| (start..next).contains(entry)) else {
        return encoder.push(start, Rule::NONE);
    };
    if start < entry {
        encoder.push(start, Rule::NONE)?;
    }
    encoder.push(entry, Rule::END)?;
    let end = entry.saturating_add(LONGEST_ENTRY);
    if end < next {
        encoder.push(end, Rule::NONE)?;
    }
    Ok(())
}
