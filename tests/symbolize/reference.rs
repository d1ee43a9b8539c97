//! The same question to the addr2line crate, which walks the entries of DWARF anew for each address.

use std::path::Path;

use perfd::object::LinkedAddress;
use perfd::symbolize::{Config, Functions, ModuleNames, Wanted};

use crate::workbench::elf_of;

/// Names (as the linker has them) and places at an address, innermost first.
type Chain = Vec<(String, Option<(String, u32)>)>;

fn theirs(loader: &addr2line::Loader, address: u64) -> Chain {
    let mut chain = Chain::new();
    let mut frames = loader.find_frames(address).expect("frames");
    while let Some(frame) = frames.next().expect("a frame") {
        let name = frame.function.map_or_else(String::new, |function| {
            function.raw_name().expect("a name").into_owned()
        });
        let place = frame
            .location
            .and_then(|place| Some((place.file?.to_owned(), place.line.unwrap_or(0))));
        chain.push((name, place));
    }
    chain
}

fn ours(names: &mut ModuleNames, config: &Config, address: u64) -> Chain {
    let mut functions = Functions::default();
    if names
        .functions(config, LinkedAddress(address), &mut functions)
        .is_err()
    {
        return Chain::new();
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    functions
        .iter()
        .map(|function| {
            let name = function
                .name
                .map_or_else(String::new, |name| text(name.linkage));
            let place = function.place.map(|place| (text(place.file), place.line));
            (name, place)
        })
        .collect()
}

/// Perfd's own executable, as the tests have it: some thousand units of Rust, much of it inlined.
#[test]
fn chains_names_files_and_lines_are_those_of_addr2line() {
    let path = Path::new(env!("CARGO_BIN_EXE_perfd"));
    let elf = elf_of(path);
    let text = elf.section(".text").expect("readable").expect("there");
    let loader = addr2line::Loader::new(path).expect("it has debug information");
    let config = Config {
        wanted: Wanted {
            linkage: true,
            places: true,
        },
        ..Config::default()
    };
    let mut names = ModuleNames::of(elf_of(path));
    let (mut n_compared, mut n_inlined) = (0, 0);
    for distance in (0..text.bytes.len() as u64).step_by(1 + text.bytes.len() / 4000) {
        let address = text.address.0 + distance;
        let theirs = theirs(&loader, address);
        // Code without an entry: its names come from symbols, which is not what is compared here.
        if theirs.iter().all(|(name, _)| name.is_empty()) {
            continue;
        }
        let ours = ours(&mut names, &config, address);
        assert_eq!(ours, theirs, "at {address:#x}");
        n_compared += 1;
        n_inlined += usize::from(ours.len() > 1);
    }
    assert!(
        n_compared > 3000 && n_inlined > 500,
        "{n_compared}, {n_inlined}"
    );
}
