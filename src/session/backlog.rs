//! Samples that have to wait for a table, each for its own, with what was known when they were taken.

use std::sync::Arc;

use super::members::Whose;
use crate::aggregate::TaskKey;
use crate::model::{AddressSpace, Mapping, ModuleId, MonoNs, RawSample, StackCopy};
use crate::unwind::Pending;

/// Bytes that may wait: two seconds of a compiler's stacks at 997 Hz.
const MOST_BYTES: usize = 64 << 20;

/// Whose a sample is, and what was mapped, at its own time: records that come behind it do not wait for it.
pub(super) struct Origin {
    pub(super) task: TaskKey<Whose>,
    pub(super) space: Arc<AddressSpace>,
}

/// A sample that is no longer borrowed from a ring.
pub(super) struct Kept {
    /// Without its slices.
    bare: RawSample<'static>,
    is_cut: bool,
    stack: Box<[u8]>,
    kernel_chain: Box<[u64]>,
    user_chain: Box<[u64]>,
    origin: Origin,
    needs: ModuleId,
}

impl Kept {
    /// Gives the sample as it came out of the ring.
    pub(super) fn with<T>(&self, visit: impl FnOnce(&RawSample<'_>, &Origin) -> T) -> T {
        let sample = RawSample {
            stack: StackCopy {
                bytes: &self.stack,
                is_cut: self.is_cut,
            },
            kernel_chain: &self.kernel_chain,
            user_chain: &self.user_chain,
            ..self.bare
        };
        visit(&sample, &self.origin)
    }
}

/// What a sample takes when it is kept: its mappings, too, as nobody else may have them any more.
fn bytes(sample: &RawSample<'_>, origin: &Origin) -> usize {
    size_of::<Kept>()
        + sample.stack.bytes.len()
        + size_of_val(sample.kernel_chain)
        + size_of_val(sample.user_chain)
        + origin.space.iter().count() * size_of::<Mapping>()
}

/// The samples that wait.
#[derive(Default)]
pub(super) struct Backlog {
    items: Vec<Kept>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether one of them is somebody's.
    pub(super) fn any(&self, is_meant: impl Fn(&Whose) -> bool) -> bool {
        let mut items = self.items.iter();
        items.any(|kept| is_meant(&kept.origin.task.comm))
    }

    /// When the earliest of them was taken.
    pub(super) fn first_time(&self) -> Option<MonoNs> {
        self.items.iter().map(|kept| kept.bare.time).min()
    }

    /// Keeps a sample; `false` if there is no room.
    pub(super) fn push(&mut self, sample: &RawSample<'_>, origin: Origin, needs: Pending) -> bool {
        let bytes = self.bytes + bytes(sample, &origin);
        if bytes > MOST_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.items.push(Kept {
            bare: RawSample {
                stack: StackCopy {
                    bytes: &[],
                    is_cut: false,
                },
                kernel_chain: &[],
                user_chain: &[],
                ..*sample
            },
            is_cut: sample.stack.is_cut,
            stack: sample.stack.bytes.into(),
            kernel_chain: sample.kernel_chain.into(),
            user_chain: sample.user_chain.into(),
            origin,
            needs: needs.0,
        });
        true
    }

    /// Takes out the samples whose table is not pending any more.
    pub(super) fn take_ready(&mut self, is_pending: impl Fn(ModuleId) -> bool) -> Vec<Kept> {
        // A vector of its own for those that wait on: the room of a start-up burst is not needed again.
        let (waiting, ready): (_, Vec<Kept>) = std::mem::take(&mut self.items)
            .into_iter()
            .partition(|kept| is_pending(kept.needs));
        self.items = waiting;
        self.bytes -= ready.iter().map(|kept| kept.with(bytes)).sum::<usize>();
        ready
    }

    /// Puts back a sample that needs another table, too.
    pub(super) fn put_back(&mut self, kept: Kept, needs: Pending) {
        self.bytes += kept.with(bytes);
        self.items.push(Kept {
            needs: needs.0,
            ..kept
        });
    }
}
