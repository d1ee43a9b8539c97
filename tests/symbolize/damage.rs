//! What a damaged or malicious file may do: lose its own names.

use std::collections::BTreeSet;
use std::fs;

use perfd::model::{Frame, ModuleId, Unnamed};
use perfd::object::Elf;
use perfd::symbolize::Inline;

use crate::workbench::{Workbench, chains, code_of, elf_of, frame, module_of, resolver};

#[test]
fn a_damaged_file_loses_its_own_names_and_nothing_else() {
    let bench = Workbench::new();
    let good = bench.compile_c(&["-O2", "-g"]);
    let bytes = fs::read(&good).expect("readable");
    let elf = elf_of(&good);
    let info = elf
        .section(".debug_info")
        .expect("readable")
        .expect("there");
    let at = bytes
        .windows(info.bytes.len())
        .position(|window| window == info.bytes)
        .expect("in the file");
    let mut damaged = bytes.clone();
    // Behind the first unit's header.
    damaged[at + 12..at + info.bytes.len()].fill(0xff);
    let bad = bench.path("damaged");
    fs::write(&bad, damaged).expect("written");

    let mut resolver = resolver(Inline::Show);
    for offset in code_of(&elf) {
        let bad_frame = Frame {
            module: ModuleId(2),
            ..frame(offset)
        };
        let names = resolver.name(&module_of(&bad), bad_frame);
        assert_eq!(names.len(), 1);
        assert_eq!(&*names[0].text, format!("damaged+{offset:#x}"));
        assert_eq!(names[0].unnamed, Some(Unnamed::FileCorrupt));
        assert!(!resolver.name(&module_of(&good), frame(offset)).is_empty());
    }
    assert!(chains(&good, Inline::Show).contains("main"));
}

#[test]
fn no_damage_to_a_file_brings_a_panic_or_takes_much_memory() {
    let bench = Workbench::new();
    let program = bench.compile_c(&["-O2", "-g"]);
    let whole = fs::read(&program).expect("readable");
    let offsets: Vec<u64> = code_of(&elf_of(&program)).into_iter().step_by(13).collect();
    let path = bench.path("damaged");
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        let module = module_of(&path);
        let mut resolver = resolver(Inline::Show);
        for offset in &offsets {
            assert!(!resolver.name(&module, frame(*offset)).is_empty());
        }
        assert!(resolver.memory() < 64 << 20, "{}", resolver.memory());
        if let Ok(elf) = Elf::parse(Box::new(bytes.to_vec())) {
            elf.build_id();
            for name in [".eh_frame", ".symtab", ".debug_str"] {
                let _ = elf.section(name);
            }
        }
    };
    for cut in (0..whole.len()).step_by(whole.len() / 100) {
        check(&whole[..cut]);
    }
    // Headers at the start, then everywhere; each place with several kinds of damage.
    let places = (0..64).chain((64..whole.len()).step_by(whole.len() / 400));
    for (index, place) in places.enumerate() {
        let mut damaged = whole.clone();
        let damage = [0xff, 0x00, 0x80, 0x7f, damaged[place] ^ 1][index % 5];
        let end = (place + [1, 1, 2, 8][index % 4]).min(damaged.len());
        damaged[place..end].fill(damage);
        check(&damaged);
    }
}

#[test]
fn inlining_nested_without_end_is_given_up_before_the_stack_is() {
    // A unit, a function in it, and a million inlined functions, each in the one before.
    let source = r#"
        .text
        .globl main
        .type main, %function
main:   nop
        nop
        .size main, .-main
        .section .debug_abbrev,"",%progbits
        .byte 1,0x11,1, 0x11,0x01, 0x12,0x07, 0,0
        .byte 2,0x2e,1, 0x11,0x01, 0x12,0x07, 0,0
        .byte 3,0x1d,1, 0,0
        .byte 0
        .section .debug_info,"",%progbits
        .long 2f-1f
1:      .short 4
        .long 0
        .byte 8
        .byte 1
        .quad main
        .quad 2
        .byte 2
        .quad main
        .quad 2
        .fill 1000000,1,3
2:
"#;
    let bench = Workbench::new();
    let program = bench
        .try_compile("cc", ("nested.s", source), &["-no-pie"])
        .expect("an assembler");
    let elf = elf_of(&program);
    let mut resolver = resolver(Inline::Show);
    let module = module_of(&program);
    let verdicts: BTreeSet<_> = code_of(&elf)
        .into_iter()
        .map(|offset| resolver.name(&module, frame(offset))[0].unnamed)
        .collect();
    assert!(
        verdicts.contains(&Some(Unnamed::FileCorrupt)),
        "{verdicts:?}"
    );
}
