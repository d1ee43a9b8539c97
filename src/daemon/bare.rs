//! Profiles as formats for people show them: stacks by the name of their thread, whichever process and thread they are of.

use crate::aggregate::sorted;
use crate::model::{Profile, Row, TaskLabel};

/// The same profile, its rows without numbers of processes and threads.
pub fn bare(profile: &Profile) -> Profile {
    let rows = profile.rows.iter().map(|row| Row {
        task: TaskLabel {
            comm: row.task.comm.clone(),
            pid: None,
            tid: None,
        },
        ..row.clone()
    });
    Profile {
        rows: sorted(rows.collect()),
        run: profile.run.clone(),
        span: profile.span,
        processes: profile.processes.clone(),
        ledger: profile.ledger.clone(),
        whole_run: profile.whole_run.clone(),
    }
}
