//! From questions to answers, some thousands at a time.

use std::io::Write;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rustc_hash::FxHashMap;

use super::answer::Style;
use super::question::{Input, Lines, Question, What, module_and_offset, number};
use crate::debug_files::DebugFiles;
use crate::model::{Fault, FaultClass, FileOffset, Module, ModuleKind, Unnamed};
use crate::object::LinkedAddress;
use crate::session::naming_threads;
use crate::symbolize::{Config, Functions, ModuleNames};

/// Questions that are answered together at first, until it is known how long answers are.
const FIRST_BATCH: usize = 4096;
/// More are never taken together.
const LARGEST_BATCH: usize = 1 << 15;
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

/// Reads questions from `input` until it ends, and writes the answers to `output`.
///
/// # Errors
/// The file of [`What::AddressesIn`] cannot be opened or is not an ELF file; reading or writing failed.
pub fn run(spec: &Spec, input: &mut dyn Input, output: &mut dyn Write) -> anyhow::Result<()> {
    let mut files = Files::new(spec);
    if let What::AddressesIn(path) = &spec.what {
        files.open_first(path)?;
    }
    let outcome = answer_all(spec, &mut files, input, output);
    files.finish();
    outcome
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
    functions: Functions,
}

impl<'a> Files<'a> {
    fn new(spec: &'a Spec) -> Files<'a> {
        Files {
            spec,
            numbers: FxHashMap::default(),
            opened: Vec::new(),
            debug_files: Arc::new(spec.config.debug_files()),
            functions: Functions::default(),
        }
    }

    /// The file that all addresses are in must be there.
    fn open_first(&mut self, path: &Path) -> anyhow::Result<()> {
        let module = module_of(path).with_context(|| {
            Fault::new(FaultClass::NoSuchTarget, format!("open {}", path.display()))
        })?;
        match ModuleNames::open(&self.spec.config, &self.debug_files, &module) {
            Ok(names) => self.opened.push(Ok(names)),
            Err(why) => {
                let what = format!("open {}: {why}", path.display());
                return Err(Fault::new(FaultClass::NoSuchTarget, what).into());
            }
        }
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
        let module = module_of(&PathBuf::from(std::ffi::OsStr::from_bytes(path)));
        self.opened.push(match module {
            Ok(module) => ModuleNames::open(&self.spec.config, &self.debug_files, &module),
            Err(_) => Err(Unnamed::FileUnreadable),
        });
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

    fn finish(self) {
        for mut names in self.opened.into_iter().flatten() {
            names.unload();
        }
    }
}

fn module_of(path: &Path) -> std::io::Result<Module> {
    let found = std::fs::metadata(path)?;
    Ok(Module {
        kind: ModuleKind::File {
            dev: found.dev(),
            inode: found.ino(),
        },
        // Files are opened from a root on, not from the present folder.
        path: std::path::absolute(path)?,
        seen_in: None,
    })
}
