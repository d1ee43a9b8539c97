//! The file of an interpreter: `python3` itself, or the `libpython` that it runs in.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::debug_offsets::{self, Unusable};
use super::layout::{self, Known};
use super::split::split_part;
use crate::bpf::{PythonLayout, PythonProcess};
use crate::model::{Avma, FileOffset, Mapping, Pid, at_most};
use crate::object::{Elf, LinkedAddress, NamedSymbol, Segment, SymbolTables};

const EVAL: &str = "_PyEval_EvalFrameDefault";
const RUNTIME: &str = "_PyRuntime";
const CODE_TYPE: &str = "PyCode_Type";
/// `PY_VERSION_HEX`, from 3.11 on.
const VERSION: &str = "Py_Version";
/// What programs call to be an interpreter: the file that has it is one.
const MAIN: &str = "Py_BytesMain";

/// Parts of the evaluation function, and segments of the file: compilers make two, linkers a handful.
const MAX_PARTS: usize = 64;
const MAX_SEGMENTS: usize = 256;

const ONLY_THESE: &str = "those of 3.11 to 3.14 can";

/// An interpreter whose frames can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonFile {
    /// `_PyRuntime.interpreters.head`
    interpreters: LinkedAddress,
    code_type: LinkedAddress,
    #[serde(deserialize_with = "at_most::<MAX_PARTS, _, _>")]
    eval: Vec<Range<FileOffset>>,
    /// By which the mappings of a process tell where the file is in it.
    #[serde(deserialize_with = "at_most::<MAX_SEGMENTS, _, _>")]
    segments: Vec<Segment>,
    layout: PythonLayout,
}

/// What has become of looking into a file: `None` if it is no interpreter.
pub type Looked = Result<Option<PythonFile>, Unreadable>;

/// Why the frames of an interpreter cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unreadable {
    /// A version whose structs are not known, or none at all.
    Version(Option<(u8, u8)>),
    /// One without the lock.
    FreeThreaded(u8, u8),
    /// A symbol that is needed is not there.
    NoSymbol(Needed),
    /// The file or what it says of itself is damaged.
    Damaged,
    /// The child that was to read it has died over it. It is called what interpreters are; whether it is one nobody knows.
    ParserFailed,
}

/// A symbol without which frames cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Needed {
    /// The evaluation function.
    Eval,
    /// The state of all interpreters.
    Runtime,
    /// The type of code objects.
    CodeType,
}

impl Needed {
    fn name(self) -> &'static str {
        match self {
            Needed::Eval => EVAL,
            Needed::Runtime => RUNTIME,
            Needed::CodeType => CODE_TYPE,
        }
    }
}

impl Unreadable {
    /// The same in words, of a process that runs it.
    pub fn line(&self, pid: Pid) -> String {
        let (python, because) = match self {
            Unreadable::Version(None) => ("a python".to_owned(), ONLY_THESE.to_owned()),
            Unreadable::Version(Some((major, minor))) => {
                (format!("python {major}.{minor}"), ONLY_THESE.to_owned())
            }
            Unreadable::FreeThreaded(major, minor) => (
                format!("python {major}.{minor}"),
                "it is built without the global lock".to_owned(),
            ),
            Unreadable::NoSymbol(needed) => (
                "the python".to_owned(),
                format!("it has no symbol {}", needed.name()),
            ),
            Unreadable::Damaged => (
                "the python".to_owned(),
                "it does not say where they are".to_owned(),
            ),
            Unreadable::ParserFailed => (
                "the python".to_owned(),
                "the parser has failed over its file".to_owned(),
            ),
        };
        format!("{python} of pid {pid}: its frames cannot be read ({because})")
    }
}

impl PythonFile {
    /// Looks into a file of that name; `None` if it is no interpreter.
    ///
    /// # Errors
    /// If it is one, but not of a kind whose frames can be read.
    pub fn read(elf: &Elf, file_name: &str) -> Looked {
        let is_wanted =
            |name: &str| [RUNTIME, CODE_TYPE, VERSION, MAIN].contains(&name) || is_eval(name);
        // A file whose symbols cannot be read is none that could be run.
        let found = |tables| elf.symbols_named(tables, is_wanted).unwrap_or_default();
        // The larger table is looked through only for the sake of interpreters, of which it has all parts.
        let symbols =
            match found(SymbolTables::Dynamic).is_empty() && !PythonFile::is_named(file_name) {
                true => return Ok(None),
                false => found(SymbolTables::All),
            };
        let find = |name: &str| symbols.iter().find(|symbol| symbol.name == name);
        let need = |needed: Needed| find(needed.name()).ok_or(Unreadable::NoSymbol(needed));
        if symbols.is_empty() {
            // A program of that name that is linked with nothing is the interpreter; others have it in a library.
            let is_static = elf.section_size(".dynsym").is_ok_and(|size| size == 0);
            return match is_static {
                true => Err(Unreadable::NoSymbol(Needed::Eval)),
                false => Ok(None),
            };
        }
        if [EVAL, MAIN, VERSION]
            .into_iter()
            .all(|name| find(name).is_none())
        {
            return Ok(None);
        }
        let Some(version) = find(VERSION) else {
            return Err(Unreadable::Version(version_in(file_name)));
        };
        let version = word(elf, version.address).ok_or(Unreadable::Damaged)?;
        let runtime = need(Needed::Runtime)?.address;
        need(Needed::Eval)?;
        let known = known(elf, version, runtime)?;
        let segments = elf.segments();
        if segments.len() > MAX_SEGMENTS {
            return Err(Unreadable::Damaged);
        }
        Ok(Some(PythonFile {
            interpreters: LinkedAddress(runtime.0.wrapping_add(known.interpreters_head)),
            code_type: need(Needed::CodeType)?.address,
            eval: eval(elf, &symbols),
            segments: segments.to_vec(),
            layout: known.layout,
        }))
    }

    /// Whether a file is called what those of interpreters are.
    pub fn is_named(file_name: &str) -> bool {
        file_name.starts_with("python") || file_name.starts_with("libpython")
    }

    /// Whether the evaluation function is at that place of the file.
    pub fn runs_at(&self, offset: FileOffset) -> bool {
        self.eval.iter().any(|range| range.contains(&offset))
    }

    /// The interpreter of a process that has mapped the file there; `None` if the mapping is not one of the file's.
    pub fn in_process(&self, mapping: &Mapping) -> Option<PythonProcess> {
        let linked = Segment::linked_address_in(&self.segments, mapping.file_offset)?;
        let bias = mapping.start.0.wrapping_sub(linked.0);
        let at = |address: LinkedAddress| Avma(address.0.wrapping_add(bias));
        Some(PythonProcess {
            interpreters: at(self.interpreters),
            code_type: at(self.code_type),
            module: mapping.module,
            eval: self.eval.clone(),
            layout: self.layout,
        })
    }
}

fn known(elf: &Elf, version: u32, runtime: LinkedAddress) -> Result<Known, Unreadable> {
    let [major, minor, ..] = version.to_be_bytes();
    match (major, minor) {
        (3, 11) => Ok(layout::PYTHON_3_11),
        (3, 12) => Ok(layout::PYTHON_3_12),
        (3, 13..) => {
            let table = elf.bytes_at(runtime, debug_offsets::SIZE);
            let table = table.map_err(|_| Unreadable::Damaged)?;
            debug_offsets::parse(&table, version).map_err(|why| match why {
                Unusable::Damaged => Unreadable::Damaged,
                Unusable::FreeThreaded => Unreadable::FreeThreaded(major, minor),
                Unusable::OtherVersion => Unreadable::Version(Some((major, minor))),
            })
        }
        _ => Err(Unreadable::Version(Some((major, minor)))),
    }
}

fn word(elf: &Elf, address: LinkedAddress) -> Option<u32> {
    let bytes = elf.bytes_at(address, 4).ok()?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// `libpython3.10.so.1.0` and `python3.10` say what they are.
fn version_in(file_name: &str) -> Option<(u8, u8)> {
    let (_, rest) = file_name.split_once("python")?;
    let mut numbers = rest.split(|next: char| !next.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The evaluation function and what the compiler has split from it (`.cold`).
fn is_eval(name: &str) -> bool {
    name.strip_prefix(EVAL)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Where the parts of the evaluation function are. A stripped file has the symbol of one alone.
fn eval(elf: &Elf, symbols: &[NamedSymbol]) -> Vec<Range<FileOffset>> {
    let of_symbols = symbols.iter().filter(|symbol| is_eval(&symbol.name));
    let mut parts: Vec<Range<u64>> = of_symbols
        .map(|symbol| symbol.address.0..symbol.address.0.saturating_add(symbol.size))
        .collect();
    if let [function] = parts.as_slice() {
        parts.extend(split_part(elf, function));
    }
    let in_file = parts.into_iter().filter_map(|part| {
        let start = elf.file_offset(LinkedAddress(part.start))?;
        let size = part.end - part.start;
        Some(start..FileOffset(start.0.saturating_add(size)))
    });
    in_file.take(MAX_PARTS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_no_interpreter_is_told_from_one() {
        let file = std::fs::File::open("/proc/self/exe").expect("our own executable");
        let elf = Elf::parse(Box::new(file)).expect("is elf");
        assert_eq!(PythonFile::read(&elf, "perfd"), Ok(None));
        assert_eq!(PythonFile::read(&elf, "python3"), Ok(None));
    }

    #[test]
    fn parts_of_the_evaluation_function_are_known_by_their_names() {
        assert!(is_eval(EVAL) && is_eval("_PyEval_EvalFrameDefault.cold"));
        assert!(!is_eval("_PyEval_EvalFrameDefaultNot") && !is_eval("_PyEval_EvalFrame"));
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_version() {
        let check = |why: Unreadable, expected: &str| assert_eq!(why.line(Pid(42)), expected);
        check(
            Unreadable::Version(Some((3, 15))),
            "python 3.15 of pid 42: its frames cannot be read (those of 3.11 to 3.14 can)",
        );
        check(
            Unreadable::NoSymbol(Needed::Eval),
            "the python of pid 42: its frames cannot be read (it has no symbol _PyEval_EvalFrameDefault)",
        );
    }

    #[test]
    fn an_older_version_is_known_by_the_name_of_its_file() {
        assert_eq!(version_in("libpython3.10.so.1.0"), Some((3, 10)));
        assert_eq!(version_in("python3.9"), Some((3, 9)));
        assert_eq!(version_in("python"), None);
        assert_eq!(version_in("uwsgi"), None);
    }
}
