//! What the C library's allocator keeps of the memory that perfd has given back to it.

/// Blocks of this size and more are mappings of their own, which go back to the kernel when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: libc::c_int = 256 << 10;

/// Heaps that threads share.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 2;

/// Makes the allocator give back what perfd frees, for a process that lives long: to be called before there are threads.
///
/// By default each thread gets a heap of its own, and once a large block was freed (an unwind table, the text of a snapshot), blocks of up to
/// 32 MiB are taken from these heaps, where a small one behind them keeps them from going back. Measured under `tests/soak/run storm`: 218 MiB for
/// 40 MiB that are in use, and 30 MiB with this. It costs a system call for each large block. Other C libraries than glibc have none of that.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [
        (libc::M_MMAP_THRESHOLD, MAPPED_FROM),
        (libc::M_ARENA_MAX, HEAPS),
    ] {
        // SAFETY: mallopt(3) takes numbers and changes settings of the allocator under its own lock. If it refuses one, nothing has changed.
        let _ = unsafe { libc::mallopt(what, value) };
    }
}
