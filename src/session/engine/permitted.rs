//! Whether an engine can be, which is known before the first target comes.

use super::spec::Sampling;
use crate::model::{Cpu, Fault, FaultClass};
use crate::procfs::SysRoots;
use crate::sampler::try_whole_cpu;
use crate::session::events;
use crate::session::refused::refused;

/// Whether this process may sample whole CPUs, as every engine does.
///
/// # Errors
/// It may not: with the host's setting, and what helps. Any other trouble is left for the engine to tell.
pub fn is_permitted(roots: &SysRoots) -> Result<(), Fault> {
    match try_whole_cpu(Cpu(0)) {
        Err(error) if error.class() == FaultClass::Permission => Err(refused(roots, &error)),
        _ => Ok(()),
    }
}

/// Opens the events of a sampling as an engine would, and closes them at once; what an engine would have to say of them.
///
/// # Errors
/// One of them cannot be opened on this host.
pub fn try_sampling(sampling: &Sampling, roots: &SysRoots) -> anyhow::Result<Vec<String>> {
    let Sampling { events, rate, .. } = sampling;
    let scope = events::scope_of_host(roots);
    events::choose(events, *rate, scope, roots).map(|(_, notes)| notes)
}
