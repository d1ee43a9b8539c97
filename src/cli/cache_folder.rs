//! Where perfd keeps what the next run can use, by the rules of the XDG base directory specification.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// `$XDG_CACHE_HOME/perfd`, `~/.cache/perfd`, or for root without a home `/var/cache/perfd`; `None` for others without one.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let folder = folder(|name| std::env::var_os(name), geteuid().is_root());
    folder.map(|folder| folder.join("perfd"))
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
