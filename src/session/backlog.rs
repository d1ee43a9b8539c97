//! Items that have to wait for a table, in the order they came.

use std::collections::VecDeque;

use crate::model::{MonoNs, RawSample, StackCopy};
use crate::sampler::Item;

/// Stack bytes that may wait: two seconds of a compiler's stacks at 997 Hz.
const MOST_BYTES: usize = 64 << 20;

/// Something kept, no longer borrowed from a ring.
pub(super) struct Kept {
    item: KeptItem,
}

enum KeptItem {
    Sample {
        /// Without its slices.
        bare: RawSample<'static>,
        is_cut: bool,
        stack: Box<[u8]>,
        kernel_chain: Box<[u64]>,
        user_chain: Box<[u64]>,
    },
    SideBand(Item<'static>),
}

impl Kept {
    fn new(item: &Item<'_>) -> Kept {
        let item = match item {
            Item::SideBand(time, record) => {
                KeptItem::SideBand(Item::SideBand(*time, record.clone().into_owned()))
            }
            Item::Sample(sample) => KeptItem::Sample {
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
            },
        };
        Kept { item }
    }

    /// Gives the item as it came out of the ring.
    pub(super) fn with<T>(&self, visit: impl FnOnce(&Item<'_>) -> T) -> T {
        match &self.item {
            KeptItem::SideBand(item) => visit(item),
            KeptItem::Sample {
                bare,
                is_cut,
                stack,
                kernel_chain,
                user_chain,
            } => visit(&Item::Sample(RawSample {
                stack: StackCopy {
                    bytes: stack,
                    is_cut: *is_cut,
                },
                kernel_chain,
                user_chain,
                ..*bare
            })),
        }
    }

    fn time(&self) -> MonoNs {
        match &self.item {
            KeptItem::SideBand(Item::SideBand(time, _)) => *time,
            KeptItem::SideBand(Item::Sample(sample)) => sample.time,
            KeptItem::Sample { bare, .. } => bare.time,
        }
    }

    fn bytes(&self) -> usize {
        match &self.item {
            KeptItem::SideBand(_) => 0,
            KeptItem::Sample { stack, .. } => stack.len(),
        }
    }
}

/// The queue.
#[derive(Default)]
pub(super) struct Backlog {
    items: VecDeque<Kept>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// When what came first was recorded; nothing that waits is older.
    pub(super) fn first_time(&self) -> Option<MonoNs> {
        self.items.front().map(Kept::time)
    }

    /// Keeps an item; `false` if it is a sample and there is no room. Side-band records are small and always kept.
    pub(super) fn push(&mut self, item: &Item<'_>) -> bool {
        if let Item::Sample(sample) = item
            && self.bytes + sample.stack.bytes.len() > MOST_BYTES
        {
            return false;
        }
        let kept = Kept::new(item);
        self.bytes += kept.bytes();
        self.items.push_back(kept);
        true
    }

    /// The item that came first.
    pub(super) fn pop(&mut self) -> Option<Kept> {
        let kept = self.items.pop_front()?;
        self.bytes -= kept.bytes();
        if self.items.is_empty() {
            // The room of a start-up burst is not needed again.
            self.items.shrink_to_fit();
        }
        Some(kept)
    }

    /// Puts back what was popped last.
    pub(super) fn put_back(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        self.items.push_front(kept);
    }
}
