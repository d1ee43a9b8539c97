//! System calls of this processor, by number, as <linux/audit.h> and <asm/unistd.h> have them.

/// What a filter sees of a call by this processor's numbers (`AUDIT_ARCH_…`): one by another's is none of them.
pub const AUDIT: u32 = 0xc000_00b7;

/// Calls that wait for descriptors, beside `ppoll`, which all have. There are none.
pub const WAITING: &[i64] = &[];
