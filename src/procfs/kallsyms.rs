//! `/proc/kallsyms`: the addresses and names of the running kernel and its modules.
//!
//! One line is `ADDRESS TYPE NAME[\t[MODULE]]`, without sizes: a symbol reaches to the next one. The kernel shows
//! zeros for addresses to whom it does not trust (`kernel.kptr_restrict`, `CAP_SYSLOG`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::model::Avma;

/// Where the last symbol of a kernel module ends is not told; it is taken to end with its page.
const PAGE: u64 = 4096;
/// BPF programs are packed into blocks of this size (`BPF_PROG_PACK_SIZE`; it is a multiple of that where there are several
/// memory nodes), many of them larger than a page. What is free in a block is filled with traps, so that what runs there
/// belongs to the program before it. No symbol of theirs reaches beyond its block.
const BPF_BLOCK: u64 = 2 << 20;
/// What stands in the place of a module for BPF programs, trampolines and dispatchers.
const BPF: &str = "[bpf]";
/// The kernel's own limit is 512 (`KSYM_NAME_LEN`).
const MAX_LINE: usize = 1024;

/// Where the symbols are read.
#[derive(Clone, Debug)]
pub enum Source {
    /// The file under this `/proc`, with the rights of the moment.
    Under(PathBuf),
    /// A file that somebody else has opened. The kernel asks what he may see, not what perfd may.
    Opened(Arc<File>),
}

impl Default for Source {
    fn default() -> Source {
        Source::Under(PathBuf::from("/proc"))
    }
}

impl Source {
    /// `fd`, if it is such a file: a service's standard input may be. It is told by the file system and by the text, since a sandbox may have
    /// put something else at the path.
    pub fn opened(fd: BorrowedFd<'_>) -> Option<Source> {
        if fstatfs(fd).ok()?.filesystem_type() != PROC_SUPER_MAGIC {
            return None;
        }
        let file = File::from(fd.try_clone_to_owned().ok()?);
        let mut line = Vec::new();
        let mut start = BufReader::with_capacity(MAX_LINE, FromStart::of(&file));
        io::Read::take(&mut start, MAX_LINE as u64)
            .read_until(b'\n', &mut line)
            .ok()?;
        split(&line)?;
        Some(Source::Opened(Arc::new(file)))
    }
}

/// Reads a file from its start, wherever others who share it are.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl FromStart<'_> {
    fn of(file: &File) -> FromStart<'_> {
        FromStart { file, at: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Why there are no kernel names.
#[derive(Debug, thiserror::Error)]
pub enum KallsymsError {
    /// The file cannot be read.
    #[error("read /proc/kallsyms")]
    Io(#[from] io::Error),
    /// All addresses are zero.
    #[error("the kernel hides its addresses")]
    Hidden,
}

/// The kernel's functions. A name is without its module, as `perf` shows it.
#[derive(Debug)]
pub struct Kallsyms {
    /// Sorted. Where the next one begins, the function ends.
    starts: Vec<u64>,
    /// For each start the place of its name in `text`; empty where there is no function.
    names: Vec<(u32, u16)>,
    text: String,
    /// Addresses of the kernel's own code, which stays: from the first function to the last.
    core: Range<u64>,
}

/// How long a name holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// As long as the kernel runs.
    ForEver,
    /// Until its module or program is unloaded.
    WhileLoaded,
}

struct Symbol {
    start: u64,
    rank: u8,
    module: u16,
    name: (u32, u16),
}

impl Kallsyms {
    /// Reads all of them.
    pub fn read(source: &Source) -> Result<Kallsyms, KallsymsError> {
        const BUFFER: usize = 64 << 10;
        match source {
            Source::Under(proc_root) => {
                let file = File::open(proc_root.join("kallsyms"))?;
                Kallsyms::parse(BufReader::with_capacity(BUFFER, file))
            }
            Source::Opened(file) => {
                Kallsyms::parse(BufReader::with_capacity(BUFFER, FromStart::of(file)))
            }
        }
    }

    /// Reads the text of such a file. Lines that are not understood are passed over.
    pub fn parse(mut lines: impl BufRead) -> Result<Kallsyms, KallsymsError> {
        let mut text = String::new();
        let mut symbols: Vec<Symbol> = Vec::new();
        let mut modules: Vec<String> = vec![String::new()];
        // The numbers under which BPF's symbols come.
        let mut bpf: Vec<u16> = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if io::Read::take(&mut lines, MAX_LINE as u64).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let Some((start, kind, name, module)) = split(&line) else {
                continue;
            };
            let Ok(offset) = u32::try_from(text.len()) else {
                break;
            };
            if modules.last().is_none_or(|last| last != module) {
                modules.push(module.to_owned());
                if module == BPF {
                    bpf.push(u16::try_from(modules.len()).unwrap_or(u16::MAX));
                }
            }
            let rank = rank(kind, name);
            let len = match rank {
                NOT_CODE => 0,
                _ => u16::try_from(name.len()).unwrap_or_default(),
            };
            text.push_str(&name[..usize::from(len)]);
            symbols.push(Symbol {
                start,
                rank,
                module: u16::try_from(modules.len()).unwrap_or(u16::MAX),
                name: (offset, len),
            });
        }
        if symbols.iter().all(|symbol| symbol.start == 0) {
            return Err(KallsymsError::Hidden);
        }
        text.shrink_to_fit();
        Ok(Kallsyms::build(symbols, text, &bpf))
    }

    /// The name of the function that holds `address`.
    pub fn lookup(&self, address: Avma) -> Option<&str> {
        let behind = self.starts.partition_point(|start| *start <= address.0);
        let (offset, len) = *self.names.get(behind.checked_sub(1)?)?;
        let offset = offset as usize;
        self.text
            .get(offset..offset + usize::from(len))
            .filter(|name| !name.is_empty())
    }

    /// How long the name at `address` holds; `None` if there is none.
    pub fn lasting(&self, address: Avma) -> Option<Lasting> {
        self.lookup(address)?;
        Some(match self.core.contains(&address.0) {
            true => Lasting::ForEver,
            false => Lasting::WhileLoaded,
        })
    }

    fn build(mut symbols: Vec<Symbol>, text: String, bpf: &[u16]) -> Kallsyms {
        symbols.retain(|symbol| symbol.start != 0);
        let core = core(&symbols);
        symbols.sort_by_key(|symbol| (symbol.start, symbol.rank));
        symbols.dedup_by_key(|symbol| symbol.start);
        let (mut starts, mut names) = (Vec::new(), Vec::new());
        for (index, symbol) in symbols.iter().enumerate() {
            // One end is enough for a row of symbols that are no functions.
            if symbol.name.1 > 0 || names.last().is_some_and(|(_, len)| *len > 0) {
                starts.push(symbol.start);
                names.push(symbol.name);
            }
            let unit = match bpf.contains(&symbol.module) {
                true => BPF_BLOCK,
                false => PAGE,
            };
            let page_end = (symbol.start | (unit - 1)).saturating_add(1);
            let may_end = |next: &Symbol| unit == BPF_BLOCK || next.module != symbol.module;
            let is_last_of_module = symbols
                .get(index + 1)
                .is_none_or(|next| may_end(next) && next.start > page_end);
            if is_last_of_module && symbol.name.1 > 0 {
                starts.push(page_end);
                names.push((0, 0));
            }
        }
        starts.shrink_to_fit();
        names.shrink_to_fit();
        Kallsyms {
            starts,
            names,
            text,
            core,
        }
    }
}

const NOT_CODE: u8 = u8::MAX;
/// The module of symbols that are of none.
const NO_MODULE: u16 = 1;

/// From the first of the kernel's own functions to behind the last.
fn core(symbols: &[Symbol]) -> Range<u64> {
    let own = symbols
        .iter()
        .filter(|symbol| symbol.module == NO_MODULE && symbol.rank != NOT_CODE)
        .map(|symbol| symbol.start);
    let (first, last) = (own.clone().min(), own.max());
    first.unwrap_or(0)..last.map_or(0, |last| last.saturating_add(PAGE))
}

/// Which of several names of an address is shown: the lowest. Global before local, then fewer underscores.
fn rank(kind: u8, name: &str) -> u8 {
    let n_underscores = name.bytes().take_while(|byte| *byte == b'_').count();
    let n_underscores = u8::try_from(n_underscores.min(15)).unwrap_or(15);
    match kind {
        b'T' => n_underscores,
        b'W' | b'w' => 16 + n_underscores,
        b't' => 32 + n_underscores,
        _ => NOT_CODE,
    }
}

fn split(line: &[u8]) -> Option<(u64, u8, &str, &str)> {
    let line = std::str::from_utf8(line.trim_ascii_end()).ok()?;
    let (address, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, module) = rest.split_once('\t').unwrap_or((rest, ""));
    let start = u64::from_str_radix(address, 16).ok()?;
    let kind = *kind.as_bytes().first()?;
    (!name.is_empty()).then_some((start, kind, name, module))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ffffffff81000000 T _stext
ffffffff81000000 T startup_64
ffffffff81000000 t local_one
ffffffff81000100 t do_work
ffffffff81000200 R some_table
ffffffff81000300 D other_table
not a line
ffffffff81000400 W weak_one
ffffffff81000500 T _etext
ffffffffc0201000 t helper\t[kvm]
ffffffffc0201010 t last_of_kvm\t[kvm]
ffffffffc0300000 t first_of_ext4\t[ext4]
";

    #[test]
    fn an_address_belongs_to_the_function_before_it_as_far_as_that_reaches() {
        let kallsyms = Kallsyms::parse(TEXT.as_bytes()).expect("not hidden");
        let check = |address: u64, expected: Option<&str>| {
            assert_eq!(kallsyms.lookup(Avma(address)), expected, "{address:#x}");
        };
        check(0, None);
        check(0xffff_ffff_80ff_ffff, None);
        check(0xffff_ffff_8100_0000, Some("startup_64"));
        check(0xffff_ffff_8100_00ff, Some("startup_64"));
        check(0xffff_ffff_8100_0100, Some("do_work"));
        check(0xffff_ffff_8100_0250, None);
        check(0xffff_ffff_8100_03ff, None);
        check(0xffff_ffff_8100_0401, Some("weak_one"));
        check(0xffff_ffff_c020_1004, Some("helper"));
        check(0xffff_ffff_c020_1fff, Some("last_of_kvm"));
        check(0xffff_ffff_c020_2000, None);
        check(0xffff_ffff_c030_0001, Some("first_of_ext4"));
        check(u64::MAX, None);
    }

    #[test]
    fn a_bpf_program_reaches_to_the_next_one_and_not_beyond_its_block() {
        let text = format!(
            "{TEXT}ffffffffc0400000 t bpf_prog_11_first\t[bpf]
ffffffffc0405040 t bpf_prog_22_large\t[bpf]
ffffffffc0800000 t bpf_trampoline_7\t[bpf]
ffffffffc0800100 t module_function\t[late]
"
        );
        let kallsyms = Kallsyms::parse(text.as_bytes()).expect("not hidden");
        let check = |address: u64, expected: Option<&str>| {
            assert_eq!(kallsyms.lookup(Avma(address)), expected, "{address:#x}");
        };
        check(0xffff_ffff_c040_0000, Some("bpf_prog_11_first"));
        check(0xffff_ffff_c040_503f, Some("bpf_prog_11_first"));
        check(0xffff_ffff_c040_9000, Some("bpf_prog_22_large"));
        check(0xffff_ffff_c05f_ffff, Some("bpf_prog_22_large"));
        check(0xffff_ffff_c060_0000, None);
        check(0xffff_ffff_c080_00ff, Some("bpf_trampoline_7"));
        check(0xffff_ffff_c080_0100, Some("module_function"));
        check(0xffff_ffff_c080_1000, None);
    }

    #[test]
    fn only_what_is_loaded_can_be_replaced() {
        let kallsyms = Kallsyms::parse(TEXT.as_bytes()).expect("not hidden");
        let check = |address: u64, expected: Option<Lasting>| {
            assert_eq!(kallsyms.lasting(Avma(address)), expected, "{address:#x}");
        };
        check(0xffff_ffff_8100_0101, Some(Lasting::ForEver));
        check(0xffff_ffff_c020_1004, Some(Lasting::WhileLoaded));
        check(0xffff_ffff_c020_2000, None);
    }

    #[test]
    fn zeros_for_addresses_mean_that_the_kernel_hides_them() {
        let hidden = "0000000000000000 T _stext\n0000000000000000 t do_work\n";
        let error = Kallsyms::parse(hidden.as_bytes()).expect_err("hidden");
        assert!(matches!(error, KallsymsError::Hidden));
        let error = Kallsyms::parse(b"".as_slice()).expect_err("nothing there");
        assert!(matches!(error, KallsymsError::Hidden));
    }

    #[test]
    fn a_file_that_was_opened_before_is_read_as_often_as_asked() {
        use std::os::fd::AsFd;
        let file = File::open("/proc/kallsyms").expect("readable by everybody");
        let source = Source::opened(file.as_fd()).expect("that file");
        let count = || Kallsyms::read(&source).map(|kallsyms| kallsyms.starts.len());
        let by_path = Kallsyms::read(&Source::default()).map(|kallsyms| kallsyms.starts.len());
        for _ in 0..2 {
            match (count(), &by_path) {
                (Ok(again), Ok(before)) => assert!(again > before / 2, "{again} of {before}"),
                (Err(KallsymsError::Hidden), Err(KallsymsError::Hidden)) => (),
                different => panic!("{different:?}"),
            }
        }
        for other in ["/proc/self/maps", "/dev/null", "Cargo.toml"] {
            let file = File::open(other).expect("readable");
            assert!(Source::opened(file.as_fd()).is_none(), "{other}");
        }
    }

    #[test]
    fn bytes_that_are_no_kallsyms_are_passed_over() {
        let mut text = vec![0xff; 5000];
        text.extend_from_slice(b"\n \n  \nffffffff81000000 T f\n");
        let kallsyms = Kallsyms::parse(text.as_slice()).expect("one symbol");
        assert_eq!(kallsyms.lookup(Avma(0xffff_ffff_8100_0000)), Some("f"));
    }
}
