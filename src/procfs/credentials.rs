//! As whom a process runs, and whether that is one user and nobody else.
//!
//! Read through a descriptor of `/proc/PID`, which is that process for ever: after its end every read of it fails, whatever has its number then.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fstatat, stat};

use crate::model::Pid;

/// Bytes of `status` that are read: on the kernels of today it has 1.5 KB, and what is wanted stands in its first half.
const MOST: u64 = 16 << 10;

/// Who a process is, in the user ids of perfd's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its number; that of the main thread.
    pub tgid: u32,
    /// Real, effective, saved and file system user ids.
    pub uids: [u32; 4],
    /// The same of the group.
    pub gids: [u32; 4],
    /// The permitted capabilities, a bit for each number, in its own user namespace.
    pub permitted: u64,
    /// The owner that the kernel gives its files in `/proc`: not the user where the process may not be looked into by its own user, because it
    /// is not dumpable.
    pub owner: u32,
}

/// Whether a process is in perfd's own user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// Yes.
    Own,
    /// No: its capabilities are those of another.
    Other,
}

impl Credentials {
    /// Of the process whose folder in `/proc` is open as `procdir`.
    ///
    /// # Errors
    /// `ESRCH`: it has ended.
    pub fn read(procdir: BorrowedFd<'_>) -> io::Result<Credentials> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let status = openat(procdir, "status", flags, Mode::empty())?;
        let mut text = String::new();
        std::fs::File::from(status)
            .take(MOST)
            .read_to_string(&mut text)?;
        // Looked up by name, since an open file's owner is that of the moment of its opening.
        let owner = fstatat(procdir, "maps", AtFlags::AT_SYMLINK_NOFOLLOW)?.st_uid;
        parse(&text, owner).ok_or(io::ErrorKind::InvalidData.into())
    }

    /// Whether a process runs as this user and group in every way, holds no right beyond theirs, and lets itself be looked into: the kernel's
    /// `ptrace_may_access` for a caller of that user in the process's own user namespace.
    pub fn are_all(&self, uid: u32, gid: u32, namespace: UserNamespace) -> bool {
        let has_more = namespace == UserNamespace::Own && self.permitted != 0;
        self.uids == [uid; 4] && self.gids == [gid; 4] && self.owner == uid && !has_more
    }
}

/// Whether the process that has this number now is all this user's: see [`Credentials::are_all`]. All is read of one process, also if it ends
/// meanwhile and its number comes back.
///
/// # Errors
/// `NotFound` or `ESRCH` if there is none, or it has ended meanwhile.
pub fn is_all_of(proc_root: &Path, pid: Pid, uid: u32, gid: u32) -> io::Result<bool> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let procdir = open(&proc_root.join(pid.to_string()), flags, Mode::empty())?;
    let namespace = UserNamespace::of(procdir.as_fd())?;
    let credentials = Credentials::read(procdir.as_fd())?;
    Ok(credentials.are_all(uid, gid, namespace))
}

impl UserNamespace {
    /// Of the process whose folder in `/proc` is open as `procdir`.
    pub fn of(procdir: BorrowedFd<'_>) -> io::Result<UserNamespace> {
        let its = fstatat(procdir, "ns/user", AtFlags::empty())?;
        let own = stat("/proc/self/ns/user")?;
        Ok(match (its.st_dev, its.st_ino) == (own.st_dev, own.st_ino) {
            true => UserNamespace::Own,
            false => UserNamespace::Other,
        })
    }
}

/// The command's name stands in the first line, with newlines and backslashes escaped, so that no other line is its own.
fn parse(status: &str, owner: u32) -> Option<Credentials> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(':')
    };
    let ids = |name| {
        let mut ids = field(name)?.split_ascii_whitespace().map(str::parse);
        let mut next = || ids.next()?.ok();
        Some([next()?, next()?, next()?, next()?])
    };
    Some(Credentials {
        tgid: field("Tgid")?.trim().parse().ok()?,
        uids: ids("Uid")?,
        gids: ids("Gid")?,
        permitted: u64::from_str_radix(field("CapPrm")?.trim(), 16).ok()?,
        owner,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const USER: &str = "Name:\tx\\nUid:\\t0\nTgid:\t42\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nCapPrm:\t0000000000000000\n";

    #[test]
    fn one_user_in_every_way_is_told_from_every_mixture() {
        let user = parse(USER, 7).unwrap();
        assert_eq!(user.tgid, 42);
        assert!(user.are_all(7, 8, UserNamespace::Own));
        assert!(!user.are_all(8, 8, UserNamespace::Own));
        assert!(!user.are_all(7, 7, UserNamespace::Own));
        assert!(!parse(USER, 0).unwrap().are_all(7, 8, UserNamespace::Own));
        for at in 0..4 {
            let mut mixed = user;
            mixed.uids[at] = 0;
            assert!(!mixed.are_all(7, 8, UserNamespace::Own));
            let mut mixed = user;
            mixed.gids[at] = 0;
            assert!(!mixed.are_all(7, 8, UserNamespace::Own));
        }
        let with_capability =
            parse(&USER.replace("0000000000000000", "0000000000001000"), 7).unwrap();
        assert!(!with_capability.are_all(7, 8, UserNamespace::Own));
        assert!(with_capability.are_all(7, 8, UserNamespace::Other));
    }

    #[test]
    fn a_text_that_lacks_a_field_is_none() {
        for line in USER.lines().skip(1) {
            assert_eq!(parse(&USER.replace(line, ""), 7), None, "{line}");
        }
        assert_eq!(parse("", 7), None);
    }

    #[test]
    fn this_process_is_who_it_is() {
        let own = std::fs::File::open("/proc/self").unwrap();
        let read = Credentials::read(own.as_fd()).unwrap();
        assert_eq!(read.tgid, std::process::id());
        assert_eq!(read.uids[1], nix::unistd::geteuid().as_raw());
        assert_eq!(UserNamespace::of(own.as_fd()).unwrap(), UserNamespace::Own);
        let (proc_root, pid) = (Path::new("/proc"), Pid(std::process::id()));
        let is_own = is_all_of(proc_root, pid, read.uids[0], read.gids[0]).unwrap();
        assert_eq!(is_own, read.permitted == 0);
        assert!(!is_all_of(proc_root, pid, read.uids[0] + 1, read.gids[0]).unwrap());
        assert!(is_all_of(proc_root, Pid(u32::MAX), 0, 0).is_err());
    }
}
