//! Events of cgroups, and samples that say which one they are from.

use std::fs::File;
use std::io;

use super::on::On;
use super::{Opened, Sampling, add, lost};
use crate::model::{CgroupId, DomainId};
use crate::sys::event_error::OpenEventError;
use crate::sys::{self, Start};

impl Sampling {
    /// Lets samples of events that are opened from now on carry the cgroup that their thread is in; to be asked for only where the hierarchy that
    /// the perf_event controller is in has the cgroups that are meant (`procfs::cgroups::uncounted`).
    pub fn tell_cgroups(&mut self) {
        self.with_cgroups = true;
    }

    /// Opens all sampled events and the side-band on a cgroup: one of each on every CPU, for what is in it or below it at the moment. Their samples
    /// carry `domain`. A thread that other events are open on is sampled by both, each for its own purpose; `RawSample::domain` tells which.
    ///
    /// # Errors
    /// Also if `directory` is no cgroup of the hierarchy that has the perf_event controller. What was opened is closed then.
    pub fn open_cgroup(
        &mut self,
        domain: DomainId,
        cgroup: CgroupId,
        directory: &File,
        start: Start,
    ) -> Result<(), OpenEventError> {
        let on = On::Cgroup(domain, cgroup, directory);
        let opened = self.open_side_band_on(on, Start::Enabled);
        let opened = opened.and_then(|()| self.open_on(on, start));
        if opened.is_err() {
            // Nothing that could not be read was counted.
            let _ = self.close_cgroup(domain);
        }
        opened
    }

    /// Closes the events of a cgroup; what they have counted is kept, and what they have sampled until now still comes.
    pub fn close_cgroup(&mut self, domain: DomainId) -> io::Result<()> {
        let of_domain = |of: &Option<DomainId>| *of == Some(domain);
        let mut closing = std::mem::take(&mut self.side_band);
        self.side_band = closing
            .extract_if(.., |event| !of_domain(&event.domain))
            .collect();
        self.lost_side_band += lost(&mut closing)?;
        let (closing, open): (Vec<Opened>, Vec<Opened>) = std::mem::take(&mut self.opened)
            .into_iter()
            .partition(|opened| of_domain(&opened.domain));
        self.opened = open;
        let mut read_all = Ok(());
        for mut opened in closing {
            let stopped = opened.fd.disable();
            match stopped.and_then(|()| opened.fd.read()) {
                Ok(read) => add(&mut self.past[opened.event.0], read),
                Err(error) => read_all = Err(error),
            }
            self.closed.push((sys::now(), opened.fd.id()));
        }
        read_all
    }
}
