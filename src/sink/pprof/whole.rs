//! The windows of a run as one file.

use std::io::{self, Write};

use super::{Labels, encode};
use crate::aggregate;
use crate::model::Profile;
use crate::sink::View;

/// Windows that are put together.
#[derive(Debug, Default)]
pub struct Whole {
    profile: Option<Profile>,
    labels: Labels,
}

impl Whole {
    /// Adds a window. With the last one come the account and the counts of the whole run, which the windows' sums have no rounding
    /// of.
    pub fn add(&mut self, window: &Profile) {
        match &mut self.profile {
            None => self.profile = Some(window.clone()),
            Some(all) => aggregate::merge_into(all, window),
        }
        if let Some(all) = &mut self.profile
            && let Some(whole_run) = all.whole_run.take()
        {
            (all.processes, all.ledger) = *whole_run;
        }
    }

    /// What the file says of all its samples.
    pub fn set_labels(&mut self, labels: &Labels) {
        self.labels.clone_from(labels);
    }

    /// Writes what was added; nothing if nothing was.
    pub fn write(&self, view: View, out: &mut impl Write) -> io::Result<()> {
        match &self.profile {
            Some(profile) => encode(profile, &self.labels, view, out),
            None => Ok(()),
        }
    }
}
