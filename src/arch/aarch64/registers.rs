//! The user registers of aarch64, and how its frames lie on the stack.

use crate::model::{Avma, Registers};

/// The registers that samples carry: x29, x30, sp and pc, which are bits 29 to 32 of `enum perf_event_arm_regs`.
pub const SAMPLED: u64 = 0xf << 29;
/// The instruction pointer's bit.
pub const PC: u64 = 1 << 32;

/// A call leaves its return address in x30 and the stack as it is.
pub const CALL_PUSHES: bool = false;
/// Frame records (x29, x30) lie anywhere in a frame, usually at its lower end.
pub const RECORD_ENDS_FRAME: bool = false;

/// Whether `bpf/` has a walk for it.
pub const WALKED_IN_KERNEL: bool = false;

/// Registers from the words of a sample; as many as [`SAMPLED`] has bits.
pub fn from_words(words: &[u64]) -> Registers {
    let &[fp, link, sp, pc] = words else {
        unreachable!("as many words as SAMPLED has bits");
    };
    Registers {
        pc,
        sp,
        fp,
        drap: 0,
        link,
        base: 0,
        in_syscall: false,
    }
}

/// The bits of a return address that are its address, in a process whose code ends at `end`. The others may hold a
/// pointer authentication code (`paciasp`), whose width depends on the kernel's size of the address space; above all
/// code of the process none of them is needed.
pub fn code_mask(end: Avma) -> u64 {
    // A call that is the last instruction returns to `end` itself.
    let above = end
        .0
        .checked_add(1)
        .and_then(u64::checked_next_power_of_two);
    above.map_or(u64::MAX, |above| above - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_authentication_codes_are_stripped_and_addresses_are_kept() {
        // The vDSO of a process with 48 bits of addresses, and of one with 39.
        let check = |end, signed, expected: u64| {
            assert_eq!(signed & code_mask(Avma(end)), expected, "{signed:#x}");
        };
        check(0xffff_f7ff_f000, 0x003a_ffff_f7ff_e123, 0xffff_f7ff_e123);
        check(0xffff_f7ff_f000, 0xaaaa_aaaa_1234, 0xaaaa_aaaa_1234);
        check(0x7f_f7ff_f000, 0xbf5a_d67f_f7ff_e004, 0x7f_f7ff_e004);
        check(1 << 47, 1 << 47, 1 << 47);
        check(u64::MAX, 0x1234, 0x1234);
    }
}
