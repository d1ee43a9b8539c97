//! Whether this process may open events on whole CPUs: that is what the kernel says when it is asked for the least of them.

use super::sampling::dummy;
use crate::model::Cpu;
use crate::sys::event_error::{OpenEventError, Place};
use crate::sys::{self, EventScope, Start, Whom};

/// Opens an event on a CPU that counts nothing, and closes it again.
///
/// # Errors
/// It may not, or the event cannot be opened for another reason.
pub fn try_whole_cpu(cpu: Cpu) -> Result<(), OpenEventError> {
    let scope = EventScope {
        whom: Whom::Everybody,
        cpu,
    };
    match sys::open_side_band(scope, Start::Disabled) {
        Ok(_) => Ok(()),
        Err(error) => Err(OpenEventError::new(&dummy(), Place::Cpu(cpu), &error)),
    }
}
