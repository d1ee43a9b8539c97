//! Files in the folder in which names are kept from run to run: what is damaged costs names only.

use std::fs;
use std::path::PathBuf;

use perfd::object::Elf;
use perfd::symbolize::{CacheFolder, Config, Resolver};
use tempfile::TempDir;

use super::made::{CODE, NOTE, Section, file_of, section};
use super::split::module_at;
use super::{config, name_all};

/// Bytes of debug information from which on tables are kept.
const WORTH_KEEPING: usize = 1 << 20;

/// A program, and the file in which its names are kept.
struct Kept {
    folder: TempDir,
    cache: CacheFolder,
    file: PathBuf,
}

thread_local! {
    static KEPT: Kept = Kept::made();
}

impl Kept {
    fn made() -> Kept {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("program"), program()).expect("written");
        let cache = CacheFolder::open(&folder.path().join("cache")).expect("ours");
        let mut kept = Kept {
            folder,
            cache,
            file: PathBuf::new(),
        };
        kept.name();
        let mut files = fs::read_dir(kept.folder.path().join("cache")).expect("there");
        let file = files.next().expect("names were kept").expect("readable");
        kept.file = file.path();
        kept
    }

    fn name(&self) {
        let path = self.folder.path().join("program");
        let elf = Elf::parse(Box::new(fs::File::open(&path).expect("there"))).expect("one");
        let mut resolver = Resolver::new(Config {
            cache: Some(self.cache.clone()),
            ..config()
        });
        name_all(&mut resolver, &module_at(&path), &elf);
        assert!(resolver.memory() < 16 << 20, "{}", resolver.memory());
        resolver.finish();
    }
}

/// The file in which names are kept.
pub fn names_cache(bytes: &[u8]) {
    KEPT.with(|kept| {
        for file in fs::read_dir(kept.folder.path().join("cache")).expect("there") {
            fs::remove_file(file.expect("readable").path()).expect("removed");
        }
        fs::write(&kept.file, bytes).expect("written");
        kept.name();
    });
}

/// A file with a unit of two functions, and enough behind it that its tables are worth keeping.
pub fn program() -> Vec<u8> {
    let abbreviations = [
        // A unit with children: name, first address, size. A function: the same.
        1, 0x11, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0, //
        2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0, //
        0,
    ];
    let entry = |code: u8, name: &str, start: u64, size: u32| {
        let mut entry = vec![code];
        entry.extend_from_slice(name.as_bytes());
        entry.push(0);
        entry.extend_from_slice(&start.to_le_bytes());
        entry.extend_from_slice(&size.to_le_bytes());
        entry
    };
    let unit = [
        // Version 4, the table at 0, addresses of 8 bytes.
        vec![4, 0, 0, 0, 0, 0, 8],
        entry(1, "unit.cc", CODE, 0x80),
        entry(2, "_ZN1a1bEv", CODE, 0x40),
        entry(2, "plain", CODE + 0x40, 0x40),
        vec![0],
    ]
    .concat();
    let length = u32::try_from(unit.len()).expect("small");
    let mut info = length.to_le_bytes().to_vec();
    info.extend_from_slice(&unit);
    // A unit of a version to come is passed over.
    let rest = u32::try_from(WORTH_KEEPING).expect("small");
    info.extend_from_slice(&rest.to_le_bytes());
    info.extend_from_slice(&[9, 0]);
    info.resize(info.len() + WORTH_KEEPING - 2, 0);
    let mut build_id = Vec::new();
    for number in [4u32, 20, 3] {
        build_id.extend_from_slice(&number.to_le_bytes());
    }
    build_id.extend_from_slice(b"GNU\0");
    build_id.extend_from_slice(&[7; 20]);
    file_of(&[
        section(".debug_abbrev", &abbreviations),
        section(".debug_info", &info),
        Section {
            name: ".note.gnu.build-id",
            kind: NOTE,
            link: 0,
            bytes: &build_id,
        },
    ])
}
