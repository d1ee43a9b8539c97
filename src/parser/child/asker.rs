//! The child's end of the conversation: requests come, answers go, and in between it asks for files.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use super::super::message::{Answer, Ask, Reply, Request, Said, TO_CHILD, decode, encode};
use crate::sys::parcel::{ParcelError, Parcels};

/// The connection to perfd.
pub(super) struct Asker {
    /// Locked from a question to its reply.
    parcels: Mutex<Parcels>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

impl Asker {
    pub(super) fn new(parcels: Parcels) -> Asker {
        Asker {
            parcels: Mutex::new(parcels),
        }
    }

    /// The next request, and the files that come along.
    pub(super) fn next(&self) -> Result<(Request, Vec<OwnedFd>), ParcelError> {
        self.with(|parcels| {
            let (bytes, files) = parcels.receive(TO_CHILD, None)?;
            Ok((decode(&bytes).ok_or(ParcelError::Nonsense)?, files))
        })
    }

    /// Answers it.
    pub(super) fn answer(&self, answer: Answer) -> Result<(), ParcelError> {
        let bytes = encode(&Said::Answer(answer));
        self.with(|parcels| parcels.send(&bytes, &[], None))
    }

    /// Asks for something.
    pub(super) fn ask(&self, ask: Ask) -> Result<(Reply, Vec<OwnedFd>), ParcelError> {
        self.with(|parcels| {
            parcels.send(&encode(&Said::Ask(ask)), &[], None)?;
            let (bytes, files) = parcels.receive(TO_CHILD, None)?;
            Ok((decode(&bytes).ok_or(ParcelError::Nonsense)?, files))
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Parcels) -> T) -> T {
        work(&self.parcels.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
