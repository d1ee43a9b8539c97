//! Whose a process is, as `/proc` says, and whether the kernel would let that user look into it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstatat};

use crate::model::Pid;

/// `status` is some 1.5 KiB; a list of groups makes it longer.
const MOST_BYTES: u64 = 1 << 20;

/// Real, effective, saved and file system ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Of the user.
    pub uids: [u32; 4],
    /// Of the group.
    pub gids: [u32; 4],
    /// The owner of `/proc/PID/maps`: 0 for a process that its own user may not look into, since it is not dumpable.
    pub maps_owner: u32,
}

impl Credentials {
    /// Those of the process that has this number now. All is read of one process, also if it ends meanwhile and its number comes back.
    ///
    /// # Errors
    /// `NotFound` or `ESRCH` if there is none, or it has ended meanwhile.
    pub fn of(proc_root: &Path, pid: Pid) -> io::Result<Credentials> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(&proc_root.join(pid.to_string()), flags, Mode::empty())?;
        let (uids, gids) = ids(&read(&folder)?).ok_or(io::ErrorKind::InvalidData)?;
        let maps = fstatat(folder.as_fd(), "maps", nix::fcntl::AtFlags::empty())?;
        Ok(Credentials {
            uids,
            gids,
            maps_owner: maps.st_uid,
        })
    }

    /// Whether the process is this user's in every respect, and one that the kernel lets him look into.
    pub fn are_of(&self, uid: u32, gid: u32) -> bool {
        self.uids == [uid; 4] && self.gids == [gid; 4] && self.maps_owner == uid
    }
}

fn read(folder: &OwnedFd) -> io::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let status = openat(folder.as_fd(), "status", flags, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(status)
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)?;
    // The name may be any bytes.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn ids(status: &str) -> Option<([u32; 4], [u32; 4])> {
    let four = |name: &str| -> Option<[u32; 4]> {
        // The kernel escapes line ends in a process's name, which stands above: no line is the process's own.
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let numbers: Option<Vec<u32>> = line
            .split_ascii_whitespace()
            .map(|number| number.parse().ok())
            .collect();
        numbers?.try_into().ok()
    };
    Some((four("Uid:")?, four("Gid:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_ids_and_the_owner_of_maps_have_to_be_the_users() {
        let own = |uids, gids, maps_owner| Credentials {
            uids,
            gids,
            maps_owner,
        };
        assert!(own([7; 4], [8; 4], 7).are_of(7, 8));
        for other in [
            own([7, 0, 0, 0], [8; 4], 7),
            own([7, 7, 0, 7], [8; 4], 7),
            own([7; 4], [8, 5, 5, 5], 7),
            own([7; 4], [8; 4], 0),
            own([9; 4], [8; 4], 9),
        ] {
            assert!(!other.are_of(7, 8), "{other:?}");
        }
    }

    #[test]
    fn a_hostile_name_does_not_speak_for_the_process() {
        let status =
            "Name:\ta\\nUid:\t0\t0\t0\t0\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        assert_eq!(ids(status), Some(([1, 2, 3, 4], [5, 6, 7, 8])));
        for bad in [
            "",
            "Uid:\t1\t2\t3\n",
            "Uid:\t1\t2\t3\tx\nGid:\t1\t1\t1\t1\n",
        ] {
            assert_eq!(ids(bad), None);
        }
    }

    #[test]
    fn this_process_has_the_ids_that_it_knows_of_itself() {
        let own = Credentials::of(Path::new("/proc"), Pid(std::process::id())).unwrap();
        assert_eq!(own.uids[0], nix::unistd::getuid().as_raw());
        assert_eq!(own.gids[1], nix::unistd::getegid().as_raw());
        let gone = Credentials::of(Path::new("/proc"), Pid(u32::MAX)).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
