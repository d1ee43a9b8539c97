//! From questions to answers, some thousands at a time.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustc_hash::FxHashMap;

use super::answer::Style;
use super::question::{Input, Lines, Question, What, module_and_offset, number};
use crate::debug_files::{DebugFiles, Origin};
use crate::model::{Fault, FaultClass, FileOffset, Unnamed};
use crate::object::{Elf, ElfError, LinkedAddress};
use crate::session::naming_threads;
use crate::symbolize::{Config, Functions, ModuleNames};

/// Questions that are answered together at first, until it is known how long answers are.
const FIRST_BATCH: usize = 4096;
/// More are never taken together.
const LARGEST_BATCH: usize = 1 << 15;
/// Files that are told of when they cannot be opened.
const MAX_NOTES: usize = 8;
/// Bytes that the answers of a batch should take, which wait in memory until they are in order.
const BATCH_BYTES: usize = 24 << 20;

/// What to do.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What lines are about.
    pub what: What,
    /// What is written.
    pub style: Style,
    /// How names are found.
    pub config: Config,
}

/// Reads questions from `input` until it ends, and writes the answers to `output`. Returns what the user should know.
///
/// # Errors
/// The file of [`What::AddressesIn`] cannot be opened or is not an ELF file; reading or writing failed.
pub fn run(
    spec: &Spec,
    input: &mut dyn Input,
    output: &mut dyn Write,
) -> anyhow::Result<Vec<String>> {
    let mut files = Files::new(spec);
    if let What::AddressesIn(path) = &spec.what {
        files.open_first(path)?;
    }
    let outcome = answer_all(spec, &mut files, input, output);
    let notes = files.finish();
    outcome.map(|()| notes)
}

fn answer_all(
    spec: &Spec,
    files: &mut Files<'_>,
    input: &mut dyn Input,
    output: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut lines = Lines::new(input);
    let mut batch = Batch::default();
    let mut most = FIRST_BATCH;
    loop {
        batch.questions.clear();
        let goes_on = lines
            .take(most, |line| batch.questions.push(files.question(line)))
            .context(Fault::new(FaultClass::System, "read addresses"))?;
        if !goes_on {
            return Ok(());
        }
        batch.answer(spec.style, files);
        let failed = || Fault::new(FaultClass::OutputFailed, "write names");
        batch.write(output).with_context(failed)?;
        if let Some(bytes_each) = batch.text.len().checked_div(batch.questions.len()) {
            most = (BATCH_BYTES / bytes_each.max(1)).clamp(256, LARGEST_BATCH);
        }
    }
}

/// Questions that are answered together.
#[derive(Default)]
struct Batch {
    questions: Vec<Question>,
    /// Positions of questions, by file and number.
    order: Vec<usize>,
    /// Answers, in that order.
    text: Vec<u8>,
    /// Where in `text` each question's answer is.
    answers: Vec<Range<usize>>,
}

impl Batch {
    fn answer(&mut self, style: Style, files: &mut Files<'_>) {
        let questions = &self.questions;
        self.order.clear();
        self.order.extend(0..questions.len());
        self.order
            .sort_unstable_by_key(|idx| (questions[*idx].file, questions[*idx].number));
        files.prepare(self.order.iter().map(|idx| &questions[*idx]));
        self.text.clear();
        self.answers.clear();
        self.answers.resize(questions.len(), 0..0);
        for &idx in &self.order {
            let start = self.text.len();
            let question = &questions[idx];
            style.write(question.number, files.functions(question), &mut self.text);
            self.answers[idx] = start..self.text.len();
        }
    }

    fn write(&self, output: &mut dyn Write) -> std::io::Result<()> {
        // Together again what lies together, as far as that is in order already.
        let mut out = std::io::BufWriter::with_capacity(256 << 10, output);
        for answer in &self.answers {
            out.write_all(&self.text[answer.clone()])?;
        }
        out.flush()
    }
}

/// The files that were asked about.
struct Files<'a> {
    spec: &'a Spec,
    numbers: FxHashMap<Vec<u8>, usize>,
    opened: Vec<Result<ModuleNames, Unnamed>>,
    debug_files: Arc<DebugFiles>,
    notes: Vec<String>,
    functions: Functions,
}

impl<'a> Files<'a> {
    fn new(spec: &'a Spec) -> Files<'a> {
        Files {
            spec,
            numbers: FxHashMap::default(),
            opened: Vec::new(),
            debug_files: Arc::new(spec.config.debug_files()),
            notes: Vec::new(),
            functions: Functions::default(),
        }
    }

    /// The file that all addresses are in must be there.
    fn open_first(&mut self, path: &Path) -> anyhow::Result<()> {
        let (elf, origin) = open(path).map_err(|error| {
            let what = Fault::new(error.class(), format!("open {}", path.display()));
            anyhow::Error::new(error).context(what)
        })?;
        let names = ModuleNames::of_file(elf, origin, &self.debug_files);
        self.opened.push(Ok(names));
        Ok(())
    }

    fn question(&mut self, line: &[u8]) -> Question {
        match self.spec.what {
            What::AddressesIn(_) => match number(line) {
                Some(number) => Question {
                    file: Some(0),
                    number,
                },
                None => Question {
                    file: None,
                    number: 0,
                },
            },
            What::ModulesAndOffsets => match module_and_offset(line) {
                Some((module, number)) => Question {
                    file: Some(self.number(module)),
                    number,
                },
                None => Question {
                    file: None,
                    number: 0,
                },
            },
        }
    }

    fn number(&mut self, path: &[u8]) -> usize {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        let path_of_file = Path::new(OsStr::from_bytes(path));
        let opened = match open(path_of_file) {
            Ok((elf, origin)) => Ok(ModuleNames::of_file(elf, origin, &self.debug_files)),
            Err(error) => {
                self.note(format!("open {}: {error}", path_of_file.display()));
                Err(Unnamed::FileUnreadable)
            }
        };
        self.opened.push(opened);
        let number = self.opened.len() - 1;
        self.numbers.insert(path.to_vec(), number);
        number
    }

    /// Lets several threads do what can be done before questions, sorted by file, are answered.
    fn prepare<'q>(&mut self, questions: impl Iterator<Item = &'q Question>) {
        let mut addresses: Vec<Vec<LinkedAddress>> = vec![Vec::new(); self.opened.len()];
        for question in questions {
            let address = self.address(question);
            if let (Some(file), Some(address)) = (question.file, address) {
                addresses[file].push(address);
            }
        }
        for (names, addresses) in self.opened.iter_mut().zip(addresses) {
            if let Ok(names) = names {
                let n_jobs = naming_threads::n_threads();
                naming_threads::run(names.jobs(&self.spec.config, &addresses, n_jobs));
            }
        }
    }

    fn functions(&mut self, question: &Question) -> &Functions {
        self.functions.clear();
        let address = self.address(question);
        if let (Some(file), Some(address)) = (question.file, address)
            && let Ok(names) = &mut self.opened[file]
        {
            let found = names.functions(&self.spec.config, address, &mut self.functions);
            if found == Err(Unnamed::FileCorrupt) {
                self.opened[file] = Err(Unnamed::FileCorrupt);
            }
        }
        &self.functions
    }

    fn address(&self, question: &Question) -> Option<LinkedAddress> {
        let names = self.opened.get(question.file?)?.as_ref().ok()?;
        match self.spec.what {
            What::AddressesIn(_) => Some(LinkedAddress(question.number)),
            What::ModulesAndOffsets => names.linked_address(FileOffset(question.number)),
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }

    /// Leaves for later runs what was learnt; what the user should know.
    fn finish(mut self) -> Vec<String> {
        for mut names in self.opened.into_iter().flatten() {
            names.unload();
        }
        self.notes.extend(self.debug_files.notes());
        self.notes
    }
}

/// A file that the user may read. Pipes are not waited for.
fn open(path: &Path) -> Result<(Elf, Origin), OpenError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(OpenError::NotRegular);
    }
    let elf = Elf::parse(Box::new(file))?;
    // Debug files are looked for from a root on, not from the present folder.
    let path = std::path::absolute(path)?;
    Ok((elf, Origin { path, pid: None }))
}

/// Why a file cannot be asked about.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    /// It is not there, or not ours to read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is a folder, a pipe, a device.
    #[error("not a regular file")]
    NotRegular,
    /// It is something else, or damaged.
    #[error(transparent)]
    NotElf(#[from] ElfError),
}

impl OpenError {
    fn class(&self) -> FaultClass {
        match self {
            OpenError::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                FaultClass::Permission
            }
            _ => FaultClass::NoSuchTarget,
        }
    }
}
