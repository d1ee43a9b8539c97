//! Split DWARF: packages and single files of units whose skeletons are in the main file.
//!
//! They have no build id. Who reads them checks the id of each unit (`DW_AT_GNU_dwo_id`, or in the header of DWARF 5)
//! against that of its skeleton.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::candidate::Mismatch;
use super::search::beside;
use super::{DebugFiles, Origin};
use crate::object::Elf;

/// What the kernel takes for a path.
const MAX_PATH: usize = 4096;

impl DebugFiles {
    /// The package beside a file: `FILE.dwp`, `FILE.debug.dwp`; beside `FILE.debug` also `FILE.dwp`.
    pub fn package(&self, origin: &Origin) -> Option<Elf> {
        self.elf_at(origin, &packages(&origin.path))
    }

    /// The file of one unit (`.dwo`), by the attributes of its skeleton: the folder that the compiler ran in, and the name
    /// of the file, which may be absolute or seen from there. Where it is not, it may have come along with the main file.
    pub fn split_unit(&self, origin: &Origin, comp_dir: &[u8], name: &[u8]) -> Option<Elf> {
        if name.is_empty() || name.len() > MAX_PATH || comp_dir.len() > MAX_PATH {
            return None;
        }
        let (comp_dir, name) = (OsStr::from_bytes(comp_dir), OsStr::from_bytes(name));
        let mut paths = vec![beside(
            origin,
            &Path::new(comp_dir).join(name).into_os_string(),
        )];
        paths.push(beside(origin, name));
        paths.extend(Path::new(name).file_name().map(|name| beside(origin, name)));
        paths.dedup();
        self.elf_at(origin, &paths)
    }

    fn elf_at(&self, origin: &Origin, paths: &[PathBuf]) -> Option<Elf> {
        let parse = |file: File| Elf::parse(Box::new(file)).map_err(Mismatch::Elf);
        Some(self.first(origin, paths, parse)?.elf)
    }
}

fn packages(file: &Path) -> Vec<PathBuf> {
    let with = |file: &Path, ending: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let mut paths = vec![with(file, ".dwp"), with(file, ".debug.dwp")];
    if file.extension() == Some(OsStr::new("debug")) {
        paths.push(with(&file.with_extension(""), ".dwp"));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_lies_beside_the_file_or_its_debug_file() {
        let check = |file: &str, expected: &[&str]| {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(packages(Path::new(file)), expected);
        };
        check("/a/lib.so.6", &["/a/lib.so.6.dwp", "/a/lib.so.6.debug.dwp"]);
        check(
            "/a/p.debug",
            &["/a/p.debug.dwp", "/a/p.debug.debug.dwp", "/a/p.dwp"],
        );
    }
}
