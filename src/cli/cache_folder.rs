//! Where perfd keeps what the next run can use, by the rules of the XDG base directory specification.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// `$XDG_CACHE_HOME/perfd`, `~/.cache/perfd`, or for root without a home `/var/cache/perfd`; `None` for others without one.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let is_root = geteuid().is_root();
    let variable = |name: &str| std::env::var_os(name);
    let folder = folder(variable, is_root).filter(|folder| is_ours(folder));
    let system = || is_root.then(|| PathBuf::from("/var/cache"));
    folder.or_else(system).map(|folder| folder.join("perfd"))
}

/// Whether what is there of a path belongs to the user that perfd runs as. `sudo` may leave another's home in the
/// environment, and folders of root's in it would be in that user's way.
fn is_ours(path: &Path) -> bool {
    let mut found = path.ancestors().filter_map(|path| fs::metadata(path).ok());
    let nearest = found.next();
    nearest.is_some_and(|metadata| metadata.uid() == geteuid().as_raw())
}

/// A relative path in a variable is to be ignored, says the specification.
fn folder(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    let path = |name: &str| {
        let path = variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    path("XDG_CACHE_HOME")
        .or_else(|| path("HOME").map(|home| home.join(".cache")))
        .or_else(|| is_root.then(|| Path::new("/var/cache").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    #[test]
    fn a_home_of_another_user_is_left_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let cache = home.path().join(".cache/perfd");
        assert!(is_ours(&cache));
        if geteuid().is_root() {
            chown(home.path(), Some(65534), None).expect("root may");
            assert!(!is_ours(&cache));
        }
    }

    #[test]
    fn the_cache_is_the_users_and_without_a_home_the_systems() {
        let check = |xdg: &str, home: &str, is_root: bool, expected: Option<&str>| {
            let variable = |name: &str| match name {
                "XDG_CACHE_HOME" if !xdg.is_empty() => Some(xdg.into()),
                "HOME" if !home.is_empty() => Some(home.into()),
                _ => None,
            };
            assert_eq!(
                folder(variable, is_root).as_deref(),
                expected.map(Path::new)
            );
        };
        check("/c", "/home/u", false, Some("/c"));
        check("c", "/home/u", false, Some("/home/u/.cache"));
        check("", "/root", true, Some("/root/.cache"));
        check("", "", true, Some("/var/cache"));
        check("", "", false, None);
    }
}
