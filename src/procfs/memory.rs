//! Sizes of memory, as `/proc` says them of this process and its children: `NAME:   NUMBER kB`, or plain bytes.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use crate::model::Pid;

/// The most memory that this process had resident at a time, in bytes (`VmHWM` of `status`).
///
/// Not `ru_maxrss`: that one is inherited from whoever has started perfd by vfork.
pub fn peak_of_self(proc_root: &Path) -> Option<u64> {
    let text = fs::read_to_string(proc_root.join("self/status")).ok()?;
    size(&text, "VmHWM")
}

/// Memory of this process that no file stands behind, in bytes (`RssAnon` of `status`).
pub fn anonymous_of_self(proc_root: &Path) -> Option<u64> {
    anonymous(proc_root, "self")
}

/// The same of another process.
pub fn anonymous_of(proc_root: &Path, pid: Pid) -> Option<u64> {
    anonymous(proc_root, &pid.to_string())
}

fn anonymous(proc_root: &Path, process: &str) -> Option<u64> {
    let text = fs::read_to_string(proc_root.join(process).join("status")).ok()?;
    size(&text, "RssAnon")
}

/// Descriptors that this process has open.
pub fn open_files_of_self(proc_root: &Path) -> u64 {
    // One is that of the listing.
    let listed = fs::read_dir(proc_root.join("self/fd")).map_or(0, |entries| entries.count());
    listed.saturating_sub(1) as u64
}

/// Bytes of kernel memory behind a BPF map of this process (`memlock` of its `fdinfo`); the kernel's own word for it.
pub fn of_bpf_map(proc_root: &Path, map: BorrowedFd<'_>) -> Option<u64> {
    let path = proc_root
        .join("self/fdinfo")
        .join(map.as_raw_fd().to_string());
    size(&fs::read_to_string(path).ok()?, "memlock")
}

fn size(text: &str, name: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    match value.trim().strip_suffix("kB") {
        Some(kibibytes) => kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024),
        None => value.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_with_and_without_a_unit() {
        let status = "Name:\tperfd\nVmPeak:\t   99 kB\nVmHWM:\t   12 kB\n";
        assert_eq!(size(status, "VmHWM"), Some(12 << 10));
        assert_eq!(
            size("map_type:\t1\nmemlock:\t4096\n", "memlock"),
            Some(4096)
        );
        assert_eq!(size("memlocked:\t4096\n", "memlock"), None);
        assert_eq!(size("memlock:\tmany\n", "memlock"), None);
    }
}
