//! How much of the stack to copy: enough for the stacks that were seen, and not much more.
//!
//! A copy costs the target its time and the ring its room. Nobody knows the depth of a running program in advance,
//! so the first samples are taken with the largest copy; if all of them need far less, the size comes down once.
//! If it then turns out too small, it goes back to the largest for good: a cut stack is worse than a slow one.

/// The most that the kernel copies: the record's 16-bit size, less its other parts, in words.
pub const LARGEST_COPY: u32 = 65_528;

/// Sizes to come down to are multiples of this, the largest of which still saves something.
const STEP: u32 = 4 << 10;
const WORTH_IT: u32 = 48 << 10;
/// Samples to see before coming down.
const ENOUGH: u32 = 128;

/// The present size, and what the samples say about it.
#[derive(Clone, Debug)]
pub struct CopySize {
    bytes: u32,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Fixed,
    Watching { n_samples: u32, deepest: u64 },
    CameDown,
}

impl CopySize {
    /// A size that stays.
    pub fn fixed(bytes: u32) -> CopySize {
        CopySize {
            bytes,
            phase: Phase::Fixed,
        }
    }

    /// The largest size, which may come down.
    pub fn adaptive() -> CopySize {
        CopySize {
            bytes: LARGEST_COPY,
            phase: Phase::Watching {
                n_samples: 0,
                deepest: 0,
            },
        }
    }

    /// The present size.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Takes note of one walked stack: the bytes it needed, and whether the copy was too short for it.
    /// Returns the new size when it is time to change.
    pub fn observe(&mut self, needed: u64, too_short: bool) -> Option<u32> {
        match &mut self.phase {
            Phase::Fixed => None,
            Phase::CameDown if too_short => {
                *self = CopySize::fixed(LARGEST_COPY);
                Some(self.bytes)
            }
            Phase::CameDown => None,
            Phase::Watching { .. } if too_short => {
                self.phase = Phase::Fixed;
                None
            }
            Phase::Watching { n_samples, deepest } => {
                *n_samples += 1;
                *deepest = needed.max(*deepest);
                if *n_samples < ENOUGH {
                    return None;
                }
                let roomy = u32::try_from(*deepest + *deepest / 4).unwrap_or(u32::MAX);
                if roomy > WORTH_IT {
                    self.phase = Phase::Fixed;
                    return None;
                }
                let bytes = roomy.max(1).next_multiple_of(STEP);
                *self = CopySize {
                    bytes,
                    phase: Phase::CameDown,
                };
                Some(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(mut size: CopySize, stacks: &[(u64, bool)]) -> Vec<u32> {
        stacks
            .iter()
            .filter_map(|(needed, too_short)| size.observe(*needed, *too_short))
            .collect()
    }

    #[test]
    fn shallow_stacks_bring_the_size_down_once() {
        let stacks = [(3_000, false); 1000];
        assert_eq!(changes(CopySize::adaptive(), &stacks), [4 << 10]);
        assert!(changes(CopySize::fixed(LARGEST_COPY), &stacks).is_empty());
    }

    #[test]
    fn one_cut_stack_brings_it_back_for_good() {
        let mut stacks = vec![(3_000, false); 200];
        stacks.push((4_096, true));
        stacks.extend([(3_000, false); 500]);
        assert_eq!(
            changes(CopySize::adaptive(), &stacks),
            [4 << 10, LARGEST_COPY]
        );
    }

    #[test]
    fn deep_stacks_keep_the_largest_copy() {
        assert!(changes(CopySize::adaptive(), &[(45_000, false); 1000]).is_empty());
        assert!(changes(CopySize::adaptive(), &[(65_528, true); 1000]).is_empty());
    }
}
