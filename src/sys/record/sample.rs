//! Samples.

use super::header::{bytes_of, high, low, misc};
use crate::model::{CgroupId, MonoNs, Pid, Registers, StackCopy, Tid};
use crate::sys::event::{self, SampleContent};

/// `PERF_RECORD_MISC_CPUMODE_MASK` and its value for user mode.
const MISC_CPUMODE: u16 = 7;
const MISC_USER: u16 = 2;
/// Values of a call chain from here on are context markers (`PERF_CONTEXT_MAX` = −4095).
const CONTEXT_MAX: u64 = 0xffff_ffff_ffff_f001;
/// `PERF_CONTEXT_USER` = −512: what follows are user addresses.
const CONTEXT_USER: u64 = 0xffff_ffff_ffff_fe00;

/// A sample's parts, borrowed from the ring.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Process; −1 as u32 for one that is gone.
    pub pid: Pid,
    /// Thread.
    pub tid: Tid,
    /// Time.
    pub time: MonoNs,
    /// The sampled address.
    pub pc: u64,
    /// Whether it was taken in user mode.
    pub in_user_mode: bool,
    /// The period, if the record carries it.
    pub period: Option<u64>,
    /// Kernel addresses, leaf first; without a call chain the sampled address, if it is the kernel's.
    pub kernel_chain: &'a [u64],
    /// User addresses, leaf first.
    pub user_chain: &'a [u64],
    /// User registers, if there is a user context.
    pub registers: Option<Registers>,
    /// The copied stack.
    pub stack: StackCopy<'a>,
    /// The cgroup, if the record carries it.
    pub cgroup: Option<CgroupId>,
}

/// Parses a sample of an event opened with `content`.
pub fn sample<'a>(words: &'a [u64], content: &SampleContent) -> Option<Sample<'a>> {
    let &[_, _, pc, task, time, ref rest @ ..] = words else {
        return None;
    };
    let in_user_mode = misc(words) & MISC_CPUMODE == MISC_USER;
    let mut rest = Words(rest);
    let period = if content.period {
        Some(rest.next()?)
    } else {
        None
    };
    let (kernel_chain, user_chain) = if content.has_callchain() {
        rest.chain()?
    } else {
        (
            words
                .get(2..3)
                .filter(|_| !in_user_mode)
                .unwrap_or_default(),
            &[][..],
        )
    };
    let mut registers = if content.registers {
        rest.registers()?
    } else {
        None
    };
    if in_user_mode && let Some(registers) = &mut registers {
        // What the registers say of a system call is left over from an earlier one.
        registers.in_syscall = false;
    }
    let stack = if content.stack_bytes > 0 {
        rest.stack()?
    } else {
        StackCopy {
            bytes: &[],
            is_cut: false,
        }
    };
    let cgroup = match content.cgroup {
        true => Some(CgroupId(rest.next()?)),
        false => None,
    };
    Some(Sample {
        pid: Pid(low(task)),
        tid: Tid(high(task)),
        time: MonoNs(time),
        pc,
        in_user_mode,
        period,
        kernel_chain,
        user_chain,
        registers,
        stack,
        cgroup,
    })
}

struct Words<'a>(&'a [u64]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<u64> {
        Some(self.take(1)?[0])
    }

    fn take(&mut self, n: usize) -> Option<&'a [u64]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// `nr`, then addresses with a context marker before each part.
    fn chain(&mut self) -> Option<(&'a [u64], &'a [u64])> {
        let n = usize::try_from(self.next()?).ok()?;
        let chain = self.take(n)?;
        let user_marker = chain.iter().position(|address| *address == CONTEXT_USER);
        let (kernel, user) = chain.split_at(user_marker.unwrap_or(chain.len()));
        Some((without_marker(kernel), without_marker(user)))
    }

    /// `abi`, then one word per register of the mask, in the order of their bits; no words if `abi` is 0 (none).
    fn registers(&mut self) -> Option<Option<Registers>> {
        if self.next()? == 0 {
            return Some(None);
        }
        Some(Some(event::registers_of(
            self.take(event::N_USER_REGISTERS)?,
        )))
    }

    /// `size`, the bytes, and how many of them hold stack; the rest is what the ring held before.
    fn stack(&mut self) -> Option<StackCopy<'a>> {
        let size = usize::try_from(self.next()?).ok()?;
        if size == 0 {
            return Some(StackCopy {
                bytes: &[],
                is_cut: false,
            });
        }
        let bytes = bytes_of(self.take(size / 8)?);
        let copied = usize::try_from(self.next()?).ok()?;
        Some(StackCopy {
            bytes: bytes.get(..copied)?,
            is_cut: copied == size,
        })
    }
}

fn without_marker(chain: &[u64]) -> &[u64] {
    match chain {
        [marker, rest @ ..] if *marker >= CONTEXT_MAX => rest,
        _ => chain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::record::{sample_id, side_band, time_of};

    const SAMPLE: u32 = 9;

    fn header(kind: u32, misc: u16, n_words: usize) -> u64 {
        u64::from(kind) | u64::from(misc) << 32 | (8 * n_words as u64) << 48
    }

    const CONTENT: SampleContent = SampleContent {
        period: true,
        callchain: crate::sys::Callchain::Kernel,
        registers: true,
        stack_bytes: 16,
        cgroup: true,
    };

    fn a_sample() -> Vec<u64> {
        let mut words = vec![
            0,
            77,
            0x1000,
            5 | 6 << 32,
            1234,
            99,
            3,
            CONTEXT_MAX + 5,
            0xaa,
            0xbb,
            2,
        ];
        words.extend((1..=event::N_USER_REGISTERS as u64).collect::<Vec<_>>());
        words.extend([16, 0x0102, 0x0304, 8, 4711]);
        words[0] = header(SAMPLE, MISC_USER, words.len());
        words
    }

    #[test]
    fn a_sample_gives_back_what_the_kernel_wrote() {
        let words = a_sample();
        let sample = sample(&words, &CONTENT).unwrap();
        assert_eq!(
            (sample.pid, sample.tid, sample.time),
            (Pid(5), Tid(6), MonoNs(1234))
        );
        assert_eq!(
            (sample.pc, sample.period, sample.in_user_mode),
            (0x1000, Some(99), true)
        );
        assert_eq!(sample.kernel_chain, [0xaa, 0xbb]);
        assert_eq!(sample.stack.bytes, [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(sample.cgroup, Some(CgroupId(4711)));
        assert!(!sample.stack.is_cut, "8 of 16 bytes were copied");
        assert_eq!(
            (time_of(&words), sample_id(&words)),
            (Some(MonoNs(1234)), Some(77))
        );
    }

    #[test]
    fn user_code_is_in_no_system_call_whatever_its_registers_say() {
        let mut words = a_sample();
        // All registers alike: what the `syscall` instruction leaves behind.
        words[11..][..event::N_USER_REGISTERS].fill(0x246);
        let in_syscall = |words: &[u64]| {
            sample(words, &CONTENT)
                .unwrap()
                .registers
                .unwrap()
                .in_syscall
        };
        assert!(!in_syscall(&words));
        words[0] = header(SAMPLE, 1, words.len());
        let alike = event::registers_of(&[0x246; event::N_USER_REGISTERS]);
        assert_eq!(in_syscall(&words), alike.in_syscall);
    }

    #[test]
    fn a_record_cut_anywhere_gives_nothing_and_does_not_panic() {
        let words = a_sample();
        for n in 0..words.len() {
            assert!(sample(&words[..n], &CONTENT).is_none(), "{n} words");
            side_band(&words[..n]);
        }
    }

    #[test]
    fn lying_counts_give_nothing() {
        for lie in [4, 1 << 20, u64::MAX] {
            let mut words = a_sample();
            words[6] = lie;
            assert!(sample(&words, &CONTENT).is_none());
        }
    }
}
