//! What perfd executes itself as to read foreign files (`parser`): not for people, and of no use to them.

use clap::Args;

use super::Exit;
use crate::parser::child;

/// Read files for the perfd at the other end of standard input
#[derive(Args, Clone, Copy, Debug)]
pub struct ParseArgs {}

/// Runs `perfd parse`.
pub(super) fn run(ParseArgs {}: ParseArgs) -> anyhow::Result<Exit> {
    child::run()?;
    Ok(Exit::Ok)
}
