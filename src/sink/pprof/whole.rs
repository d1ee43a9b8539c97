//! The windows of a run as one file.

use std::io::{self, Write};

use super::{Labels, encode};
use crate::aggregate;
use crate::model::Profile;
use crate::sink::View;

/// Windows that are put together.
#[derive(Debug, Default)]
pub struct Whole(Option<Profile>);

impl Whole {
    /// Adds a window. With the last one come the account and the counts of the whole run, which the windows' sums have no rounding
    /// of.
    pub fn add(&mut self, window: &Profile) {
        match &mut self.0 {
            None => self.0 = Some(window.clone()),
            Some(all) => aggregate::merge_into(all, window),
        }
        if let Some(all) = &mut self.0
            && let Some(whole_run) = all.whole_run.take()
        {
            (all.processes, all.ledger) = *whole_run;
        }
    }

    /// Writes what was added; nothing if nothing was.
    pub fn write(&self, view: View, out: &mut impl Write) -> io::Result<()> {
        match &self.0 {
            Some(profile) => encode(profile, &Labels::default(), view, out),
            None => Ok(()),
        }
    }
}
