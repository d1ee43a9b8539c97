//! Carriers: places that bytes are written to. They know no formats.
//!
//! A carrier is opened before the run starts, so that a place that cannot be written is found then. Writing blocks; the
//! session gives each sink a thread of its own, so that a slow reader holds up nobody else.

pub mod file;
pub mod stdout;
pub mod tcp;
pub mod unix;

use std::io::Write;

pub use file::FileCarrier;
pub use stdout::StdoutCarrier;
pub use tcp::TcpCarrier;
pub use unix::UnixCarrier;

/// An open place.
pub trait Carry: Write + Send {
    /// All that was written is a whole: it stays, whatever happens later.
    fn commit(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Takes back what was written since the last commit. False where that is not possible, so that the text is
    /// broken off in the middle and nothing may follow it.
    fn roll_back(&mut self) -> bool {
        false
    }
}
