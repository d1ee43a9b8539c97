//! `/proc/PID/maps`: the mappings a process has at the moment of reading.
//!
//! Format: proc_pid_maps(5). A newline in a path stands there as `\012`; nothing else is escaped, so that ` (deleted)`
//! at the end of a path may be part of the name.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::tasks;
use crate::model::{Avma, FileOffset, Pid, Tid};

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapsLine {
    /// First address.
    pub start: Avma,
    /// Address behind the last byte.
    pub end: Avma,
    /// Whether it can be executed.
    pub executable: bool,
    /// Where in the file.
    pub file_offset: FileOffset,
    /// Device number as `stat` gives it; 0 without a file.
    pub dev: u64,
    /// Inode; 0 without a file.
    pub inode: u64,
    /// Path or bracketed name; empty for anonymous memory.
    pub path: PathBuf,
}

/// Reads the executable mappings of a process.
pub fn executable(proc_root: &Path, pid: Pid) -> io::Result<Vec<MapsLine>> {
    mappings(proc_root, pid, |line| line.executable)
}

/// Reads the mappings of a process that are wanted.
pub fn mappings(
    proc_root: &Path,
    pid: Pid,
    is_wanted: impl Fn(&MapsLine) -> bool,
) -> io::Result<Vec<MapsLine>> {
    let process = proc_root.join(pid.to_string());
    let read = |path: PathBuf| -> io::Result<Vec<MapsLine>> {
        let text = std::fs::read(path)?;
        Ok(parse(&text).filter(&is_wanted).collect())
    };
    let lines = read(process.join("maps"));
    if !matches!(&lines, Ok(lines) if lines.is_empty()) {
        return lines;
    }
    // A main thread that has ended shows no mappings, though its process lives on in others.
    let threads = tasks::threads(proc_root, pid).unwrap_or_default();
    let of_thread = |tid: Tid| read(process.join("task").join(tid.to_string()).join("maps")).ok();
    let found = threads
        .into_iter()
        .filter_map(of_thread)
        .find(|lines| !lines.is_empty());
    Ok(found.unwrap_or_default())
}

/// Parses the file; lines that are none are passed over.
pub fn parse(text: &[u8]) -> impl Iterator<Item = MapsLine> + '_ {
    text.split(|byte| *byte == b'\n').filter_map(parse_line)
}

/// `START-END PERMS OFFSET MAJ:MIN INODE      PATH`
fn parse_line(line: &[u8]) -> Option<MapsLine> {
    let mut rest = line;
    let mut field = || {
        let end = rest
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(rest.len());
        let (field, behind) = rest.split_at(end);
        rest = behind.strip_prefix(b" ").unwrap_or(behind);
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let permissions = field()?;
    let file_offset = field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let device = |text| u32::from_str_radix(text, 16).ok();
    Some(MapsLine {
        start: Avma(hex(start)?),
        end: Avma(hex(end)?),
        executable: permissions.as_bytes().get(2) == Some(&b'x'),
        file_offset: FileOffset(hex(file_offset)?),
        dev: libc::makedev(device(major)?, device(minor)?),
        inode: inode.parse().ok()?,
        path: path(rest.trim_ascii_start()),
    })
}

fn path(text: &[u8]) -> PathBuf {
    const NEWLINE: &[u8] = b"\\012";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(NEWLINE) {
            bytes.push(b'\n');
            rest = behind;
        } else {
            bytes.push(*byte);
            rest = behind;
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: (u64, u64, bool, u64, u64, &str)) {
        let line = parse(line.as_bytes()).next().unwrap();
        let path = line.path.to_str().unwrap();
        let got = (
            line.start.0,
            line.end.0,
            line.executable,
            line.file_offset.0,
            line.inode,
            path,
        );
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_of_every_kind_are_understood() {
        check(
            "7f1c-7f2d r-xp 00026000 fe:00 131 \t     /usr/lib/libc.so.6",
            (0x7f1c, 0x7f2d, true, 0x26000, 131, "/usr/lib/libc.so.6"),
        );
        check(
            "1000-2000 rw-p 00000000 00:00 0 ",
            (0x1000, 0x2000, false, 0, 0, ""),
        );
        check(
            "1000-2000 r-xp 00000000 00:00 0                          [vdso]",
            (0x1000, 0x2000, true, 0, 0, "[vdso]"),
        );
        check(
            "1000-2000 r-xp 00000000 fe:00 7 /tmp/a b (deleted)",
            (0x1000, 0x2000, true, 0, 7, "/tmp/a b (deleted)"),
        );
        check(
            "1000-2000 r-xp 00000000 fe:00 7 /tmp/a\\012b",
            (0x1000, 0x2000, true, 0, 7, "/tmp/a\nb"),
        );
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        assert_eq!(
            parse(b"\n1000\nx-y r-xp 0 0:0 0\n1000-2000 r-xp 0 0:0 x\n").count(),
            0
        );
    }
}
