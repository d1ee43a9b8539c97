//! Processes and threads as `/proc` lists them.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::model::{Pid, Tid};

/// `USER_HZ` is 100 on every architecture that perfd is built for.
const MS_PER_TICK: u64 = 10;

/// The living threads of a process, sorted.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn threads(proc_root: &Path, pid: Pid) -> io::Result<BTreeSet<Tid>> {
    let entries = std::fs::read_dir(proc_root.join(pid.to_string()).join("task"))?;
    Ok(numbers(entries).map(Tid).collect())
}

/// All processes, sorted.
pub fn processes(proc_root: &Path) -> io::Result<BTreeSet<Pid>> {
    Ok(numbers(std::fs::read_dir(proc_root)?).map(Pid).collect())
}

fn numbers(entries: std::fs::ReadDir) -> impl Iterator<Item = u32> {
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// How long the main thread of a process has waited for a CPU while it could have run, since it began.
///
/// # Errors
/// It is gone, or the kernel does not keep such an account.
pub fn time_ready(proc_root: &Path, pid: Pid) -> io::Result<Duration> {
    let text = std::fs::read_to_string(proc_root.join(pid.to_string()).join("schedstat"))?;
    // Nanoseconds of running, nanoseconds of waiting, number of times.
    let waited = text.split_ascii_whitespace().nth(1);
    let waited = waited.and_then(|waited| waited.parse().ok());
    waited
        .map(Duration::from_nanos)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A thread's name; without the final newline, otherwise raw.
pub fn comm(proc_root: &Path, pid: Pid, tid: Tid) -> io::Result<Vec<u8>> {
    let path = proc_root
        .join(pid.to_string())
        .join("task")
        .join(tid.to_string())
        .join("comm");
    let mut comm = std::fs::read(path)?;
    comm.pop_if(|byte| *byte == b'\n');
    Ok(comm)
}

/// The process that a thread belongs to.
pub fn process_of(proc_root: &Path, tid: Tid) -> io::Result<Pid> {
    let status = std::fs::read_to_string(proc_root.join(tid.to_string()).join("status"))?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    let number = tgid.and_then(|number| number.trim().parse().ok());
    number.map(Pid).ok_or(io::ErrorKind::InvalidData.into())
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub state: char,
    /// The process that started it.
    pub parent: Pid,
}

/// When a process was started, since the host was, in steps of 10 ms (rounded down): field 22 of `/proc/PID/stat`, in `USER_HZ`.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn started(proc_root: &Path, pid: Pid) -> io::Result<Duration> {
    let text = std::fs::read(proc_root.join(pid.to_string()).join("stat"))?;
    let ticks = parse_start(&text).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Duration::from_millis(ticks.saturating_mul(MS_PER_TICK)))
}

/// Field 22 is the 20th behind the name.
fn parse_start(text: &[u8]) -> Option<u64> {
    fields_behind_name(text)?.nth(19)?.parse().ok()
}

/// Whether a process has a thread that has not begun to end; the first one may have ended before the others.
///
/// # Errors
/// Those of reading its tasks but that it is gone.
pub fn runs(proc_root: &Path, pid: Pid) -> io::Result<bool> {
    if lives_on(proc_root, pid) {
        return Ok(true);
    }
    let threads = match threads(proc_root, pid) {
        Err(error) if is_gone(&error) => return Ok(false),
        threads => threads?,
    };
    for tid in threads {
        let thread = proc_root.join(format!("{pid}/task/{tid}/stat"));
        match std::fs::read(thread) {
            Ok(text) if parse_lives_on(&text) == Some(true) => return Ok(true),
            Err(error) if !is_gone(&error) => return Err(error),
            _ => (),
        }
    }
    Ok(false)
}

/// Whether an error of reading a process's files says that it has ended: `ENOENT` before its folder is opened, `ESRCH` behind that. Others,
/// as of a want of descriptors, say nothing of it.
pub fn is_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// CPU time of a process so far, in steps of 10 ms (rounded down): fields 14 and 15 of `/proc/PID/stat`, in `USER_HZ`.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn cpu_time(proc_root: &Path, pid: Pid) -> io::Result<Duration> {
    let text = std::fs::read(proc_root.join(pid.to_string()).join("stat"))?;
    let ticks = parse_cpu_ticks(&text).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Duration::from_millis(ticks.saturating_mul(MS_PER_TICK)))
}

/// The 12th and 13th behind the name: in user mode, and in the kernel.
fn parse_cpu_ticks(text: &[u8]) -> Option<u64> {
    let mut fields = fields_behind_name(text)?.skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    user.checked_add(kernel)
}

/// Whether a process is there and has not begun to end.
pub fn lives_on(proc_root: &Path, pid: Pid) -> bool {
    let text = std::fs::read(proc_root.join(pid.to_string()).join("stat"));
    text.is_ok_and(|text| parse_lives_on(&text) == Some(true))
}

/// Field 9, the 7th behind the name, has the flag `PF_EXITING` from the beginning of a task's end on.
fn parse_lives_on(text: &[u8]) -> Option<bool> {
    const EXITING: u64 = 0x4;
    let mut fields = fields_behind_name(text)?;
    let is_dead = matches!(fields.next()?, "Z" | "X" | "x");
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some(!is_dead && flags & EXITING == 0)
}

/// Reads state and parent of a process.
pub fn stat(proc_root: &Path, pid: Pid) -> io::Result<ProcessStat> {
    let text = std::fs::read(proc_root.join(pid.to_string()).join("stat"))?;
    parse_stat(&text).ok_or(io::ErrorKind::InvalidData.into())
}

/// `PID (COMM) STATE PPID …`, where COMM may hold anything: the fields begin behind the *last* parenthesis.
fn parse_stat(text: &[u8]) -> Option<ProcessStat> {
    let mut fields = fields_behind_name(text)?;
    Some(ProcessStat {
        state: fields.next()?.chars().next()?,
        parent: Pid(fields.next()?.parse().ok()?),
    })
}

fn fields_behind_name(text: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let behind = text.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(text.get(behind..)?).ok()?;
    Some(fields.split_ascii_whitespace())
}

/// The living descendants of a process, parents before children.
pub fn descendants(proc_root: &Path, pid: Pid) -> io::Result<Vec<Pid>> {
    let parents: Vec<(Pid, Pid)> = processes(proc_root)?
        .into_iter()
        .filter_map(|child| {
            let stat = stat(proc_root, child).ok()?;
            (stat.state != 'Z').then_some((child, stat.parent))
        })
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(child, _)| *child),
        );
    }
    found.remove(0);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields_of_stat() {
        let stat = parse_stat(b"42 (a) Z 1 (b) R 7 42 42 0 -1").unwrap();
        assert_eq!((stat.state, stat.parent), ('R', Pid(7)));
        assert_eq!(parse_stat(b"42 (a"), None);
        let text = [&b"42 (a) Z) S"[..], &b" 7".repeat(18), b" 123 9"].concat();
        assert_eq!(parse_start(&text), Some(123));
        assert_eq!(parse_start(b"42 (a) S 1 2"), None);
    }

    #[test]
    fn cpu_time_is_that_of_both_modes() {
        let text = [&b"42 (a) Z) S"[..], &b" 7".repeat(10), b" 20 3 0 0"].concat();
        assert_eq!(parse_cpu_ticks(&text), Some(23));
        assert_eq!(parse_cpu_ticks(b"42 (a) S 1 2"), None);
    }

    #[test]
    fn who_ends_or_has_ended_does_not_live_on() {
        let check = |state: &str, flags: u32| {
            let text = format!("42 (a) Z) {state} 1 42 42 0 -1 {flags} 11 12");
            parse_lives_on(text.as_bytes())
        };
        assert_eq!(check("S", 0x0040_0000), Some(true));
        assert_eq!(check("R", 0x0040_0004), Some(false));
        assert_eq!(check("Z", 0x0040_0000), Some(false));
        assert_eq!(parse_lives_on(b"42 (a) S 1"), None);
        let own = Pid(std::process::id());
        assert!(lives_on(Path::new("/proc"), own));
        assert!(!lives_on(Path::new("/proc"), Pid(u32::MAX)));
    }

    #[test]
    fn this_process_is_listed_with_its_threads() {
        let proc_root = Path::new("/proc");
        let own = Pid(std::process::id());
        assert!(processes(proc_root).unwrap().contains(&own));
        assert!(
            threads(proc_root, own)
                .unwrap()
                .contains(&own.main_thread())
        );
        assert_eq!(process_of(proc_root, own.main_thread()).unwrap(), own);
    }
}
