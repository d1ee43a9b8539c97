//! One perf ring buffer, read in place.
//!
//! Speaks the `perf_event_mmap_page` protocol of `perf_event_open(2)`: the kernel moves `data_head`, perfd moves
//! `data_tail`; a record lies between the two and stays valid until the tail passes it. Knows nothing of what a
//! record means beyond its header.

use std::io;
use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};
use perf_event_open_sys::bindings::perf_event_mmap_page;

use super::record;

/// The size of a memory page.
pub fn page_size() -> usize {
    let size = sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .unwrap_or(4096);
    usize::try_from(size).expect("page sizes are small positive numbers")
}

/// Bytes of `struct perf_event_header`.
const HEADER: usize = 8;

/// A mapped ring. Unmapped when dropped.
pub struct Ring {
    base: NonNull<u8>,
    mapped: usize,
    data: NonNull<u8>,
    /// Size of the data area; a power of two.
    size: usize,
    /// Position of the next record to read; the kernel is told by [`Ring::release`].
    tail: u64,
    /// What the kernel was last told.
    released: u64,
    /// The kernel's position as of the last [`Ring::look`].
    head: u64,
    /// A record that wraps around the end of the data area is put together here; `u64` for alignment.
    joined: Vec<u64>,
}

// SAFETY: the mapping belongs to this value alone (nothing else in the process knows its address), and all
// access to it goes through `&self` or `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring of an event: one control page and `n_pages` data pages.
    ///
    /// `n_pages` must be a power of two. `EPERM` means that the locked-memory limit does not allow so many.
    pub fn map(event: impl AsFd, n_pages: usize) -> io::Result<Ring> {
        let page = page_size();
        let size = n_pages * page;
        if !n_pages.is_power_of_two() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mapped = NonZeroUsize::new(size + page).expect("at least the control page");
        // SAFETY: a fresh shared mapping at an address of the kernel's choice; no existing memory is touched.
        let base = unsafe {
            mmap(
                None,
                mapped,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                event,
                0,
            )
        }
        .map_err(io::Error::from)?
        .cast::<u8>();
        // SAFETY: `page` < `mapped`, so the result lies inside the mapping just made.
        let data = unsafe { base.add(page) };
        Ok(Ring {
            base,
            mapped: mapped.get(),
            data,
            size,
            tail: 0,
            released: 0,
            head: 0,
            joined: Vec::new(),
        })
    }

    /// Size of the data area in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Asks the kernel how far it has written; records up to there can be read from now on.
    pub fn look(&mut self) {
        self.head = self
            .control(offset_of!(perf_event_mmap_page, data_head))
            .load(Ordering::Acquire);
    }

    /// Bytes that are waiting to be read, as of the last [`Ring::look`].
    pub fn waiting(&self) -> u64 {
        self.head.wrapping_sub(self.tail)
    }

    /// The next record with its header, as 8-byte words, without taking it; `None` at the end of what the last look showed.
    ///
    /// A header whose size cannot be true (the kernel writes none) ends the ring: everything up to the head is skipped.
    pub fn peek(&mut self) -> Option<&[u64]> {
        if self.waiting() < HEADER as u64 {
            return None;
        }
        let start = self.position(self.tail);
        // Records are 8-byte aligned and the data area is a multiple of 8, so the header does not wrap.
        let size = record::size_of(self.words(start, HEADER)[0]);
        if size < HEADER || !size.is_multiple_of(8) || size as u64 > self.waiting() {
            self.tail = self.head;
            return None;
        }
        if start + size > self.size {
            self.join(start, size);
            return Some(&self.joined);
        }
        Some(self.words(start, size))
    }

    /// Takes the record that [`Ring::peek`] showed, of so many words.
    pub fn advance(&mut self, n_words: usize) {
        self.tail = self.tail.wrapping_add(8 * n_words as u64);
    }

    /// Bytes taken but not yet given back to the kernel.
    pub fn unreleased(&self) -> u64 {
        self.tail.wrapping_sub(self.released)
    }

    /// Gives the room of all taken records back to the kernel.
    pub fn release(&mut self) {
        self.control(offset_of!(perf_event_mmap_page, data_tail))
            .store(self.tail, Ordering::Release);
        self.released = self.tail;
    }

    fn position(&self, at: u64) -> usize {
        usize::try_from(at & (self.size as u64 - 1)).expect("below the size of a mapping")
    }

    /// The one place that touches the control page; `data_head` and `data_tail` are shared with the kernel and
    /// therefore atomic here (`perf_event_open(2)`, "data_head": read barrier after it, full barrier before the tail).
    fn control(&self, field: usize) -> &AtomicU64 {
        // SAFETY: a field offset of the control page, which is the first page of the mapping.
        let field = unsafe { self.base.add(field) }.cast::<u64>();
        // SAFETY: the control page is mapped as long as `self` lives, page-aligned, and its u64 fields are aligned;
        // the kernel side uses single 64-bit accesses on them.
        unsafe { AtomicU64::from_ptr(field.as_ptr()) }
    }

    /// Part of the data area that lies between tail and head.
    fn words(&self, start: usize, n_bytes: usize) -> &[u64] {
        assert!(
            start.is_multiple_of(8) && start + n_bytes <= self.size,
            "inside the data area"
        );
        // SAFETY: `start` is inside the mapping, by the assertion.
        let first = unsafe { self.data.add(start) }.cast::<u64>();
        // SAFETY: page-aligned base plus a multiple of 8, inside the data area by the assertion, and between tail and
        // head by the callers: the kernel does not write there until `release` tells it to, which needs `&mut self`
        // and so outlives this borrow.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), n_bytes / 8) }
    }

    fn join(&mut self, start: usize, size: usize) {
        let mut joined = std::mem::take(&mut self.joined);
        let at_end = self.size - start;
        joined.clear();
        joined.extend_from_slice(self.words(start, at_end));
        joined.extend_from_slice(self.words(0, size - at_end));
        self.joined = joined;
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` mapped, and no borrow of it outlives `self`.
        let _ = unsafe { munmap(self.base.cast(), self.mapped) };
    }
}
