//! A record as a sample of the run.

use super::Identity;
use crate::model::{Cpu, RawSample, Registers, StackCopy};
use crate::sys::record;

/// Without a stack copy the sampled address is the whole walk: user registers that hold nothing else, or a kernel
/// chain of one.
pub(super) fn raw_sample<'a>(
    sample: &record::Sample<'a>,
    identity: &Identity,
    cpu: Cpu,
) -> RawSample<'a> {
    let has_stack = identity.content.stack_bytes > 0;
    let at_pc = Registers {
        pc: sample.pc,
        sp: 0,
        fp: u64::MAX,
        drap: 0,
        link: 0,
        base: 0,
        in_syscall: false,
    };
    RawSample {
        event: identity.event,
        pid: sample.pid,
        tid: sample.tid,
        cpu,
        cgroup: sample.cgroup,
        domain: identity.domain,
        time: sample.time,
        weight: sample.period.unwrap_or(identity.period),
        registers: if has_stack {
            sample.registers
        } else {
            sample.in_user_mode.then_some(at_pc)
        },
        stack: if has_stack {
            sample.stack
        } else {
            StackCopy {
                bytes: &[],
                is_cut: false,
            }
        },
        kernel_chain: sample.kernel_chain,
        user_chain: sample.user_chain,
    }
}
