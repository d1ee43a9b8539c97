//! Whole stacks of a program whose calls are known: perfd finds them all, and goes where framehop goes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use framehop::Unwinder;
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use perfd::model::{
    AddressKind, AddressSpace, Avma, Ended, FileOffset, Frame, Mapping, ModuleId, MonoNs,
    Registers, StackCopy,
};
use perfd::unwind::{Pending, RowSource, Rows, Table, Walked, walk};

use crate::module::Loaded;
use crate::support::skip;

/// What a run of the program wrote down.
struct Dump {
    registers: Registers,
    stack: Vec<u8>,
    /// Return addresses of the program's own calls, leaf first.
    known: Vec<u64>,
    space: AddressSpace,
    paths: Vec<PathBuf>,
    tables: HashMap<ModuleId, Table>,
    framehop: UnwinderX86_64<Vec<u8>>,
}

impl RowSource for Dump {
    fn rows(&self, module: ModuleId) -> Rows<'_> {
        self.tables.get(&module).map_or(Rows::None, Rows::Table)
    }
}

impl Dump {
    fn of(scenario: &str, flags: &[&str]) -> Option<Dump> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join("stacks");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_oracle/stacks.c");
        let mut libraries = Vec::new();
        if flags.contains(&"-DLAZY") {
            let library = folder.path().join("lazy.so");
            let compiled = Command::new("cc")
                .args(["-O2", "-shared", "-fPIC", "-w", "-DLIBRARY", "-o"])
                .args([&library, &source])
                .status();
            assert!(compiled.is_ok_and(|status| status.success()));
            libraries.push(library);
        }
        let compiled = Command::new("cc")
            .args(["-O2", "-pthread", "-w"])
            .args(flags)
            .arg("-o")
            .args([&program, &source])
            .args(&libraries)
            .status();
        match compiled {
            Err(error) => {
                skip(&format!("no C compiler: {error}"));
                return None;
            }
            Ok(status) => assert!(status.success(), "compile {}", source.display()),
        }
        let status = Command::new(&program)
            .arg(scenario)
            .arg(folder.path())
            .status();
        assert!(status.expect("start the program").success());
        Some(Dump::read(folder.path()))
    }

    fn read(folder: &Path) -> Dump {
        let bytes = |name: &str| std::fs::read(folder.join(name)).expect("the program wrote it");
        let words = |name: &str| -> Vec<u64> {
            let bytes = bytes(name);
            let words = bytes.chunks_exact(8);
            words
                .map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
                .collect()
        };
        let registers = words("registers");
        let mut dump = Dump {
            registers: Registers {
                pc: registers[0],
                sp: registers[1],
                fp: registers[2],
                drap: registers[3],
                link: 0,
                base: 0,
                in_syscall: false,
            },
            stack: bytes("stack"),
            known: words("known"),
            space: AddressSpace::new(),
            paths: Vec::new(),
            tables: HashMap::new(),
            framehop: UnwinderX86_64::new(),
        };
        for line in String::from_utf8(bytes("maps"))
            .expect("paths in UTF-8")
            .lines()
        {
            dump.map(line);
        }
        dump
    }

    /// Takes over an executable mapping of a file.
    fn map(&mut self, line: &str) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(path), true) = (fields.get(5), fields[1].contains('x')) else {
            return;
        };
        let path = PathBuf::from(path);
        let Some(loaded) = Loaded::open(&path) else {
            return;
        };
        let hex = |text: &str| u64::from_str_radix(text, 16).expect("hexadecimal");
        let (start, end) = fields[0].split_once('-').expect("a range");
        let (start, end, file_offset) = (hex(start), hex(end), hex(fields[2]));
        let module = ModuleId(u32::try_from(self.paths.len()).expect("few"));
        self.space.insert(Mapping {
            start: Avma(start),
            end: Avma(end),
            file_offset: FileOffset(file_offset),
            module,
            since: MonoNs(0),
        });
        let code = loaded.code[0];
        let base = start + code.file_offset - file_offset - code.address;
        self.framehop.add_module(loaded.module(base));
        self.tables.insert(module, loaded.table());
        self.paths.push(path);
    }

    fn walk(&self, copied: usize, max_frames: usize) -> (Vec<Frame>, Result<Walked, Pending>) {
        let mut frames = Vec::new();
        let stack = StackCopy {
            bytes: &self.stack[..copied.min(self.stack.len())],
            is_cut: copied < self.stack.len(),
        };
        let space = &self.space;
        let walked = walk(
            &self.registers,
            &stack,
            space,
            self,
            max_frames,
            &mut frames,
        );
        (frames, walked)
    }

    /// A frame's address in the process.
    fn address(&self, frame: Frame) -> u64 {
        let of_module = |mapping: &&Mapping| mapping.module == frame.module;
        let mapping = self.space.iter().find(of_module).expect("a mapped module");
        mapping.start.0 + (frame.offset.0 - mapping.file_offset.0)
    }

    fn framehop_walk(&self) -> Vec<u64> {
        let mut read = |address: u64| {
            let start = usize::try_from(address.wrapping_sub(self.registers.sp)).map_err(|_| ())?;
            let word = self
                .stack
                .get(start..)
                .and_then(|rest| rest.first_chunk::<8>());
            word.map(|word| u64::from_le_bytes(*word)).ok_or(())
        };
        let registers =
            UnwindRegsX86_64::new(self.registers.pc, self.registers.sp, self.registers.fp);
        let mut cache = CacheX86_64::<_>::new();
        let pc = self.registers.pc;
        let mut frames = self
            .framehop
            .iter_frames(pc, registers, &mut cache, &mut read);
        let mut addresses = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            addresses.push(frame.address());
        }
        addresses
    }
}

const OMIT: &[&str] = &["-fomit-frame-pointer"];
const KEEP: &[&str] = &["-fno-omit-frame-pointer"];
const UNLIMITED: usize = 10_000;

/// Whether framehop is expected to find the same stack.
#[derive(PartialEq)]
enum Framehop {
    Agrees,
    /// It does not read memory for a CFA (signal frames, realigned stacks), knows no rbx (lazy binding), and
    /// takes one section alone.
    GivesUp,
}

fn check(scenario: &str, flags: &[&str], depth: usize, framehop: Framehop) {
    let Some(dump) = Dump::of(scenario, flags) else {
        return;
    };
    let (frames, walked) = dump.walk(usize::MAX, UNLIMITED);
    let walked = walked.expect("all tables are there");
    let addresses: Vec<u64> = frames.iter().map(|frame| dump.address(*frame)).collect();
    assert_eq!(walked.ended, Ended::Root, "{scenario}: {addresses:x?}");

    // The known calls, in their order; between them are the callers that the program cannot know of.
    assert_eq!(dump.known.len(), depth, "{scenario}");
    let mut rest = addresses.iter();
    for known in &dump.known {
        assert!(
            rest.any(|found| found == known),
            "{scenario}: {known:#x} in {addresses:x?}"
        );
    }
    // main or the thread's function, and what libc calls it from.
    let n_unknown = addresses.len() - dump.known.len();
    assert!(
        (2..=8).contains(&n_unknown),
        "{scenario}: {n_unknown} of {addresses:x?}"
    );
    if framehop == Framehop::Agrees {
        assert_eq!(addresses, dump.framehop_walk(), "{scenario}");
    }

    // A copy that ends where the walk stopped to read is enough, and not a word less is.
    let used = usize::try_from(walked.used_stack).expect("small");
    let (same, walked) = dump.walk(used, UNLIMITED);
    assert_eq!(
        (same, walked.map(|walked| walked.ended)),
        (frames.clone(), Ok(Ended::Root))
    );
    let (fewer, walked) = dump.walk(used - 8, UNLIMITED);
    assert_eq!(walked.map(|walked| walked.ended), Ok(Ended::CopyTooShort));
    assert!(frames.starts_with(&fewer) && fewer.len() < frames.len());

    let (fewer, walked) = dump.walk(usize::MAX, 3);
    assert_eq!(walked.map(|walked| walked.ended), Ok(Ended::DepthLimit));
    assert_eq!(fewer, frames[..3]);
    let (same, walked) = dump.walk(usize::MAX, frames.len());
    assert_eq!(
        (same, walked.map(|walked| walked.ended)),
        (frames, Ok(Ended::Root))
    );
}

#[test]
fn a_recursion_without_frame_pointers_is_walked_to_its_root() {
    check("recursion", OMIT, 62, Framehop::Agrees);
}

#[test]
fn a_recursion_400_calls_deep_is_walked_to_its_root() {
    check("deep", OMIT, 402, Framehop::Agrees);
}

#[test]
fn code_with_frame_pointers_is_walked_like_any_other() {
    check("recursion", KEEP, 62, Framehop::Agrees);
}

#[test]
fn a_program_at_fixed_addresses_is_walked_like_any_other() {
    check(
        "recursion",
        &["-fomit-frame-pointer", "-no-pie"],
        62,
        Framehop::Agrees,
    );
}

#[test]
fn code_that_debug_frame_alone_describes_is_walked_like_any_other() {
    let flags = [
        "-fomit-frame-pointer",
        "-g",
        "-fno-asynchronous-unwind-tables",
    ];
    check("recursion", &flags, 62, Framehop::GivesUp);
}

#[test]
fn a_callback_out_of_libc_is_walked_through() {
    check("libc", OMIT, 3, Framehop::Agrees);
}

#[test]
fn a_thread_is_walked_to_where_it_was_cloned() {
    check("thread", OMIT, 62, Framehop::Agrees);
}

#[test]
fn a_function_that_the_loader_binds_lazily_is_walked_through() {
    let flags = ["-fomit-frame-pointer", "-rdynamic", "-DLAZY", "-Wl,-z,lazy"];
    check("loader", &flags, 3, Framehop::GivesUp);
}

#[test]
fn realigned_stacks_are_walked_through() {
    check("realigned", OMIT, 7, Framehop::GivesUp);
}

#[test]
fn a_signal_handler_is_walked_to_what_it_interrupted() {
    check("signal", OMIT, 5, Framehop::GivesUp);
    let Some(dump) = Dump::of("signal", OMIT) else {
        return;
    };
    let (frames, _) = dump.walk(usize::MAX, UNLIMITED);
    let interrupted = frames
        .iter()
        .filter(|frame| frame.kind == AddressKind::Interrupted);
    assert_eq!(
        interrupted.count(),
        2,
        "the leaf and the faulting instruction"
    );
}
