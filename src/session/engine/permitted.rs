//! Whether an engine can be at all, which is known before the first target comes.

use crate::model::{Cpu, Fault, FaultClass};
use crate::procfs::SysRoots;
use crate::sampler::try_whole_cpu;
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
