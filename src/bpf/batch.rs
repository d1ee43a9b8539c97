//! Map commands that aya does not have: many entries at a time, read and deleted or set in one system call (Linux 5.6), and the deletion of an entry
//! of an array of maps.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH` of `enum bpf_cmd`.
const LOOKUP_AND_DELETE_BATCH: libc::c_int = 25;
/// `BPF_MAP_UPDATE_BATCH` of `enum bpf_cmd`.
const UPDATE_BATCH: libc::c_int = 26;
/// `BPF_MAP_DELETE_ELEM` of `enum bpf_cmd`.
const DELETE: libc::c_int = 3;
/// Entries asked for at once. More than a bucket of a hash map ever holds, and few enough to stay in the cache.
const ENTRIES: u32 = 512;

/// The `batch` part of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Takes every entry out of a hash map that nobody writes to meanwhile.
pub(super) fn take_all<K: aya::Pod, V: aya::Pod>(
    map: BorrowedFd<'_>,
    empty: (K, V),
    mut visit: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut keys = vec![empty.0; ENTRIES as usize];
    let mut values = vec![empty.1; ENTRIES as usize];
    let mut position = 0u64;
    let mut is_first = true;
    loop {
        let mut next = 0u64;
        let mut attributes = Attributes {
            in_batch: if is_first {
                0
            } else {
                (&raw const position).addr() as u64
            },
            out_batch: (&raw mut next).addr() as u64,
            keys: keys.as_mut_ptr().addr() as u64,
            values: values.as_mut_ptr().addr() as u64,
            count: ENTRIES,
            map_fd: map.as_raw_fd().cast_unsigned(),
            ..Attributes::default()
        };
        // SAFETY: the attributes hold addresses of as many keys and values as they say, of the types that the map was declared with
        // (K and V are its own), and of two words for positions; all outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_AND_DELETE_BATCH,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        let error = (result < 0).then(io::Error::last_os_error);
        let is_end = error
            .as_ref()
            .is_some_and(|error| error.raw_os_error() == Some(libc::ENOENT));
        if let Some(error) = error
            && !is_end
        {
            return Err(error);
        }
        let n = attributes.count.min(ENTRIES) as usize;
        keys[..n]
            .iter()
            .zip(&values[..n])
            .for_each(|(key, value)| visit(key, value));
        if is_end {
            return Ok(());
        }
        position = next;
        is_first = false;
    }
}

/// Sets entries of an array: each value at its number. Of arrays of maps older kernels do not set many at a time (`ENOTSUPP`).
pub(super) fn set<V: aya::Pod>(
    array: BorrowedFd<'_>,
    numbers: &[u32],
    values: &[V],
) -> io::Result<()> {
    debug_assert_eq!(numbers.len(), values.len());
    let count = u32::try_from(numbers.len()).map_err(io::Error::other)?;
    let mut attributes = Attributes {
        keys: numbers.as_ptr().addr() as u64,
        values: values.as_ptr().addr() as u64,
        count,
        map_fd: array.as_raw_fd().cast_unsigned(),
        ..Attributes::default()
    };
    // SAFETY: the attributes hold addresses of as many keys and values as they say, of the types that the map was declared with
    // (an array's keys are u32, V is the value's); the kernel only reads them, and they outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            UPDATE_BATCH,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    match result < 0 {
        true => Err(io::Error::last_os_error()),
        false => Ok(()),
    }
}

/// The part of `union bpf_attr` for single entries.
#[repr(C)]
struct Entry {
    map_fd: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Empties a place in an array of maps.
pub(super) fn delete(array: BorrowedFd<'_>, number: u32) -> io::Result<()> {
    let mut entry = Entry {
        map_fd: array.as_raw_fd().cast_unsigned(),
        unused: 0,
        key: (&raw const number).addr() as u64,
        value: 0,
        flags: 0,
    };
    // SAFETY: the entry holds the address of a key of an array's type, which the kernel only reads and which outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, DELETE, &raw mut entry, size_of::<Entry>()) };
    match result < 0 {
        true => Err(io::Error::last_os_error()),
        false => Ok(()),
    }
}
