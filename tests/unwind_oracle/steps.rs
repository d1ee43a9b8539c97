//! One step from a made-up frame, at addresses of every function of real files: both unwinders must find the same caller.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection};
use perfd::arch::Machine;
use perfd::model::{AddressKind, FileOffset, Registers, StackCopy};
use perfd::object::Elf;
use perfd::unwind::{CfaKind, Cursor, FpKind, RaKind, Rule, Stack, Table, by_rule};

use crate::module::Loaded;
use crate::oracle::Oracle;
use crate::support::skip;

const BASE: u64 = 0x5555_0000_0000;
const SP: u64 = 0x7fff_0000_1000;
const STACK_BYTES: usize = 1 << 20;
/// Many rows are `fp + small`: the frame must lie within the copy, above what is popped.
const FP: u64 = SP + 0x4_0000;

/// What became of the compared steps.
#[derive(Debug, Default)]
struct Tally {
    equal: usize,
    /// framehop has rules of its own for code without rows; perfd says NONE.
    no_row: usize,
    /// framehop does not know r10, rbx and (for the return address) rdi, and takes a frame pointer step instead.
    other_register: usize,
    /// framehop does not read memory for a CFA, and takes a frame pointer step instead.
    dereferenced: usize,
    /// perfd does not evaluate the row's expression, and says so.
    unsupported: usize,
    /// framehop takes an undefined return address of a leaf for one that is still in its register (aarch64).
    end: usize,
    /// glibc's lazy binding, whose rows leave out what `.plt` has pushed (aarch64): framehop is 16 bytes short of its frame.
    lazy_binding: usize,
    /// A row that keeps the frame pointer in a way perfd gives up on, and framehop takes for unchanged.
    lost_frame_pointer: usize,
    different: Vec<String>,
}

#[test]
fn one_step_from_any_function_of_real_files_leads_where_framehop_goes() {
    assert!(
        check_files(&files()) >= 2,
        "this program itself, and at least its libc"
    );
}

#[test]
fn one_step_in_files_of_the_other_processor_leads_where_framehop_goes() {
    let folder = Path::new("/usr/aarch64-linux-gnu/lib");
    let names = [
        "libc.so.6",
        "libstdc++.so.6",
        "libm.so.6",
        "ld-linux-aarch64.so.1",
    ];
    let files = names.map(|name| folder.join(name));
    if check_files(&files) == 0 {
        skip(&format!(
            "no libraries in {} (libc6-arm64-cross)",
            folder.display()
        ));
    }
}

/// Compares every file that is there; returns their number.
fn check_files(files: &[PathBuf]) -> usize {
    let mut n_files = 0;
    for path in files {
        let Some(loaded) = Loaded::open(path) else {
            continue;
        };
        n_files += 1;
        let tally = compare(&loaded);
        let different = tally.different.len();
        let shown = tally.different.iter().take(5).collect::<Vec<_>>();
        assert_eq!(different, 0, "{}: {shown:#?}", path.display());
        let total = tally.equal
            + tally.no_row
            + tally.other_register
            + tally.dereferenced
            + tally.unsupported
            + tally.end
            + tally.lazy_binding
            + tally.lost_frame_pointer;
        assert!(tally.equal > 100, "{}: {tally:?}", path.display());
        // Alignment bytes that a loader's or libc's functions end with have no row.
        assert!(tally.no_row * 50 <= total, "{}: {tally:?}", path.display());
        assert!(
            tally.unsupported * 200 <= total,
            "{}: {tally:?}",
            path.display()
        );
        assert!(
            tally.other_register * 50 <= total,
            "{}: {tally:?}",
            path.display()
        );
        assert!(
            tally.lost_frame_pointer * 200 <= total,
            "{}: {tally:?}",
            path.display()
        );
        assert!(tally.lazy_binding <= 20, "{}: {tally:?}", path.display());
        assert!(tally.end * 50 <= total, "{}: {tally:?}", path.display());
    }
    n_files
}

/// This program, all it has loaded, and what else of size is usually there.
fn files() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("linux");
    let mut files: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
        .collect();
    files.dedup();
    let others = [
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
        "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
        "/usr/bin/gdb",
        "/usr/bin/git",
    ];
    files.extend(others.iter().map(PathBuf::from));
    files
}

/// The addresses to compare at: several in each function.
fn probes(loaded: &Loaded) -> Vec<u64> {
    let mut section = EhFrame::new(&loaded.eh_frame.1, LittleEndian);
    section.set_address_size(8);
    let bases = BaseAddresses::default().set_eh_frame(loaded.eh_frame.0);
    let mut entries = section.entries(&bases);
    let mut probes = Vec::new();
    let mut seed = 1u64;
    while let Some(entry) = entries.next().expect("a real file") {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let function = partial
            .parse(EhFrame::cie_from_offset)
            .expect("a real file");
        let (start, len) = (function.initial_address(), function.len());
        let mut within = vec![0, 1, 4, len / 2, len.saturating_sub(1)];
        for _ in 0..3 {
            seed = seed
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            within.push((seed >> 33) % len.max(1));
        }
        probes.extend(
            within
                .into_iter()
                .filter(|at| *at < len)
                .map(|at| start + at),
        );
    }
    // Enough for a debug build to be done in seconds.
    let step = probes.len().div_ceil(20_000).max(1);
    probes.into_iter().step_by(step).collect()
}

fn compare(loaded: &Loaded) -> Tally {
    let table = loaded.table();
    let mut oracle = Oracle::new(loaded.machine, loaded.module(BASE));
    // Each word is another stack address, above the place it is at.
    let bytes: Vec<u8> = (0..STACK_BYTES as u64 / 8)
        .flat_map(|slot| (SP + 8 * slot + 0x800).to_le_bytes())
        .collect();
    let mut tally = Tally::default();
    for address in probes(loaded) {
        let Some(range) = loaded
            .code
            .iter()
            .find(|range| address.wrapping_sub(range.address) < range.size)
        else {
            continue;
        };
        let offset = FileOffset(address - range.address + range.file_offset);
        for kind in [AddressKind::Interrupted, AddressKind::Return] {
            let rule = table.rule_at(offset).unwrap_or(Rule::NONE);
            let pc = match kind {
                AddressKind::Interrupted => BASE + address,
                AddressKind::Return => BASE + address + 1,
            };
            let registers = Registers {
                pc,
                sp: SP,
                fp: FP,
                drap: SP + 0x40,
                link: SP + 0x48,
                base: 0,
                in_syscall: false,
            };
            let copy = StackCopy {
                bytes: &bytes,
                is_cut: false,
            };
            // x86-64 has it in a register that callees may change, aarch64 in the one that every call does.
            let knows_link = kind == AddressKind::Interrupted || loaded.machine == Machine::X86_64;
            let frame = Cursor {
                pc,
                kind,
                sp: SP,
                sp_is_exact: true,
                fp: FP,
                drap: Some(registers.drap),
                link: knows_link.then_some(registers.link),
                base: Some(SP + 0x48),
            };
            let ours = by_rule(rule, &frame, &mut Stack::new(&registers, &copy));
            let theirs = oracle.step(&frame, registers.link, |address| {
                let start = usize::try_from(address.wrapping_sub(SP)).map_err(|_| ())?;
                let word = bytes.get(start..).and_then(|rest| rest.first_chunk::<8>());
                word.map(|word| u64::from_le_bytes(*word)).ok_or(())
            });
            let ours = ours.ok().map(|caller| (caller.pc, caller.sp, caller.fp));
            match (rule.cfa, rule.fp) {
                _ if ours == theirs => tally.equal += 1,
                (CfaKind::None, _) => tally.no_row += 1,
                (CfaKind::Drap | CfaKind::Base, _) => tally.other_register += 1,
                (CfaKind::Sp, _) if is_lazy_binding(loaded.machine, rule) => {
                    tally.lazy_binding += 1;
                }
                (CfaKind::End, _) if loaded.machine == Machine::Aarch64 => tally.end += 1,
                _ if rule.ra == RaKind::Link && loaded.machine == Machine::X86_64 => {
                    tally.other_register += 1;
                }
                (CfaKind::DerefSp | CfaKind::DerefFp, _) => tally.dereferenced += 1,
                (CfaKind::Unsupported, _) => tally.unsupported += 1,
                (_, FpKind::Undefined) => tally.lost_frame_pointer += 1,
                _ => tally.different.push(format!(
                    "{address:#x} {kind:?}: {ours:x?}, framehop {theirs:x?}, {rule:x?}"
                )),
            }
        }
    }
    tally
}

/// Its frame begins with the pair that `.plt` has pushed, of which the return address is the upper one.
fn is_lazy_binding(machine: Machine, rule: Rule) -> bool {
    machine == Machine::Aarch64
        && rule.ra == RaKind::AtCfa
        && rule.ra_offset == -8
        && rule.fp == FpKind::Same
}

#[test]
fn a_table_built_from_a_file_is_the_one_built_from_its_sections() {
    let mut n_files = 0;
    for path in files() {
        let (Some(loaded), Ok(file)) = (Loaded::open(&path), File::open(&path)) else {
            continue;
        };
        let elf = Elf::parse(Box::new(file)).expect("an ELF file");
        assert_eq!(Table::build(&elf).expect("a table"), loaded.table());
        n_files += 1;
    }
    assert!(n_files >= 2, "this program itself, and at least its libc");
}

#[test]
fn the_code_page_that_the_kernel_maps_has_a_table() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("linux");
    let Some(line) = maps.lines().find(|line| line.ends_with("[vdso]")) else {
        skip("no vDSO");
        return;
    };
    let (start, end) = line
        .split_once(' ')
        .and_then(|(range, _)| range.split_once('-'))
        .expect("a range");
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("hexadecimal");
    let (start, end) = (hex(start), hex(end));
    let mut image = vec![0; usize::try_from(end - start).expect("small")];
    let memory = File::open("/proc/self/mem").expect("own memory");
    memory.read_exact_at(&mut image, start).expect("mapped");
    let elf = Elf::parse(Box::new(image)).expect("the vDSO is an ELF file");
    let table = Table::build(&elf).expect("a table");
    let n_covered = (0..end - start).filter(|offset| table.rule_at(FileOffset(*offset)).is_some());
    assert!(n_covered.count() > 100);
}

#[test]
fn a_table_says_nothing_of_code_outside_of_functions() {
    let loaded = Loaded::open(Path::new("/proc/self/exe")).expect("this program has .eh_frame");
    let table = loaded.table();
    assert_eq!(table.skipped(), 0);
    assert_eq!(table.rule_at(FileOffset(0)), None);
    assert_eq!(table.rule_at(FileOffset(u64::MAX)), None);
}
