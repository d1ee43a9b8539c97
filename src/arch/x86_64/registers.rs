//! The user registers of x86-64, and how its frames lie on the stack.

use crate::model::{Avma, Registers};

/// The registers that samples carry: rbx, rcx, rdi, rbp, rsp, rip, flags, r10 and r11, which are bits 1, 2, 5 to 9, 18 and 19 of
/// `enum perf_event_x86_regs`.
pub const SAMPLED: u64 = 1 << 1 | 1 << 2 | 0x1f << 5 | 3 << 18;
/// The instruction pointer's bit.
pub const PC: u64 = 1 << 8;

/// A call pushes its return address; a function that has only been called has its caller's stack pointer below that.
pub const CALL_PUSHES: bool = true;
/// A function pushes the frame pointer first of all, so that its frame record tells where its frame ends.
pub const RECORD_ENDS_FRAME: bool = true;

/// Whether `bpf/` has a walk for it.
pub const WALKED_IN_KERNEL: bool = true;

/// The resume flag: of all flags the one that an interrupt may change.
const RESUME: u64 = 1 << 16;

/// Registers from the words of a sample; as many as [`SAMPLED`] has bits.
///
/// The `syscall` instruction leaves the address behind it in rcx and the flags in r11; nothing else that enters the
/// kernel does. A `jmp *%rcx` leaves the former alone.
pub fn from_words(words: &[u64]) -> Registers {
    let &[base, rcx, link, fp, sp, pc, flags, drap, r11] = words else {
        unreachable!("as many words as SAMPLED has bits");
    };
    let in_syscall = rcx == pc && (r11 ^ flags) & !RESUME == 0;
    Registers {
        pc,
        sp,
        fp,
        drap,
        base,
        link,
        in_syscall,
    }
}

/// The bits of a return address that are its address, in a process whose code ends at `end`: all of them.
pub fn code_mask(_end: Avma) -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_instruction_behind_a_jump_through_rcx_is_not_in_a_syscall() {
        let flags = 0x246;
        let in_syscall = |r11| from_words(&[0, 0x1000, 0, 0, 0, 0x1000, flags, 0, r11]).in_syscall;
        assert!(in_syscall(flags) && in_syscall(flags | RESUME));
        assert!(!in_syscall(0x7f00_0000_1000));
    }
}
