//! A table of functions for people: what each weighs in every event of the run, side by side, and the ratios of events.
//!
//! A function is a frame of the folded format, with the same escapes and marks: kernel frames end in `_[k]`, inlined ones
//! in `_[i]`, and `[truncated: reason]` stands for what is missing. `self` is the weight of the stacks that end in
//! it, `total` of those that have it anywhere; a recursive function counts once for each stack. Between blanks every line of
//! the table has as many words as any other, then the function, so that `awk` can read it.

mod table;
mod text;

use std::io::{self, Write};

pub use table::Functions;

use super::View;
use crate::model::Profile;

/// Writes the functions of one profile, those that weigh most in the event of the view first.
pub fn encode(profile: &Profile, view: View, out: &mut impl Write) -> io::Result<()> {
    let mut functions = Functions::new(view);
    functions.add(profile);
    functions.write(&profile.run, out)
}
