//! DWARF that lies in several files: a package or a single file of split units, and what `dwz` has taken out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use perfd::model::{Module, ModuleKind};
use perfd::object::Elf;
use perfd::symbolize::Resolver;
use tempfile::TempDir;

use super::made::unpacked;
use super::{config, name_all};

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder");
}

/// Where each of the files lies beside the program, which is the first.
const FILES: [&str; 4] = ["program", "program.dwp", "unit.dwo", "common"];

/// Up to four files, each behind its length.
pub fn split_dwarf(bytes: &[u8]) {
    let files = unpacked(bytes);
    let Some(elf) = files
        .first()
        .and_then(|file| Elf::parse(Box::new(file.to_vec())).ok())
    else {
        return;
    };
    FOLDER.with(|folder| {
        for (idx, name) in FILES.iter().enumerate() {
            let path = folder.path().join(name);
            match files.get(idx).filter(|file| !file.is_empty()) {
                Some(file) => fs::write(&path, file).expect("written"),
                None => drop(fs::remove_file(&path)),
            }
        }
        let module = module_at(&folder.path().join(FILES[0]));
        name_all(&mut Resolver::new(config()), &module, &elf);
    });
}

/// The module of a file.
pub fn module_at(path: &Path) -> Module {
    let found = fs::metadata(path).expect("there");
    Module {
        kind: ModuleKind::File {
            dev: found.dev(),
            inode: found.ino(),
        },
        path: path.to_owned(),
        seen_in: None,
    }
}
