//! Names and tables of files, by a child of this test.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use perfd::model::{
    AddressKind, FileOffset, Frame, FrameName, Module, ModuleId, ModuleKind, Pid, Unnamed,
};
use perfd::object::Elf;
use perfd::parser::{Begin, Limits, Names, Pythons, Source, Tables, Tally};
use perfd::symbolize::Config;
use perfd::symbolize::jit::JitNames;

/// What children of a test begin with: the built perfd, and a time that no honest request needs.
pub fn begin(config: Config) -> Begin {
    Begin {
        limits: Limits {
            program: PathBuf::from(env!("CARGO_BIN_EXE_perfd")),
            time: Duration::from_secs(120),
            ..Limits::default()
        },
        config,
        tally: Arc::new(Tally::default()),
    }
}

pub fn names(begin: &Begin) -> Names {
    Names::new(begin.clone(), Source::Program, JitNames::default())
}

pub fn tables(begin: &Begin) -> Tables {
    Tables::new(begin.clone(), Source::Program)
}

pub fn pythons(begin: &Begin) -> Pythons {
    Pythons::new(begin.clone(), Source::Program)
}

pub fn module_of(path: &Path) -> Module {
    let metadata = fs::metadata(path).expect("there");
    Module {
        kind: ModuleKind::File {
            dev: metadata.dev(),
            inode: metadata.ino(),
        },
        path: path.to_owned(),
        seen_in: None,
    }
}

pub fn frame(module: u32, offset: u64) -> Frame {
    Frame {
        module: ModuleId(module),
        kind: AddressKind::Interrupted,
        offset: FileOffset(offset),
    }
}

/// Places all over a file's code, and some in none.
pub fn places(path: &Path, n: u64) -> Vec<u64> {
    let file = fs::File::open(path).expect("readable");
    let elf = Elf::parse(Box::new(file)).expect("an ELF file");
    let code = elf.segments().iter().filter(|part| part.is_executable());
    let within = code.flat_map(|part| {
        let step = (part.file_size / n).max(1);
        (0..n).map(move |idx| part.file_offset.0 + idx * step)
    });
    within.chain([0, u64::MAX]).collect()
}

/// Names of places of one module, all asked for at once.
pub fn name_all(
    names: &mut Names,
    number: u32,
    path: &Path,
    places: &[u64],
) -> Vec<Vec<FrameName>> {
    let module = module_of(path);
    let frames: Vec<Frame> = places.iter().map(|place| frame(number, *place)).collect();
    names.prepare(frames.iter().map(|frame| (*frame, &module)));
    frames
        .iter()
        .map(|frame| names.name(&module, *frame))
        .collect()
}

/// Whether a frame has no name since the parser has failed.
pub fn is_failed(names: &[FrameName]) -> bool {
    matches!(names, [name] if name.unnamed == Some(Unnamed::ParserFailed))
}

/// A line of what `/proc` says of a process's state.
pub fn status(pid: Pid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}
