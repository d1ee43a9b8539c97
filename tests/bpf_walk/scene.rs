//! Samples with all that their walks need, and the comparison of the two walks over them.

use std::collections::BTreeMap;

use perfd::model::{
    AddressSpace, Avma, Ended, FileOffset, Frame, Mapping, ModuleId, MonoNs, Registers, StackCopy,
};
use perfd::unwind::{Pending, RowSource, Rows, Table, Walked, walk};

use crate::walker::{Answer, Walker, wire_frame};

/// `MAX_USER_FRAMES` of `bpf/limits.h`.
pub const MAX_FRAMES: usize = 512;
/// `ENDED_ASK_PERFD` of `bpf/wire.h`.
const ASK_PERFD: u64 = 10;
/// `LOWEST_CODE` of `bpf/unwind.h`.
const LOWEST_CODE: u64 = 1 << 16;

/// What is known of a module's code.
pub enum Code {
    Table(Table),
    None,
    Pending,
}

/// A sample of a thread in one of the scene's address spaces.
#[derive(Clone)]
pub struct Sample {
    pub space: usize,
    pub registers: Registers,
    pub stack: Vec<u8>,
}

/// Samples and what they have in common.
#[derive(Default)]
pub struct Scene {
    /// By the number of their `ModuleId`.
    pub modules: Vec<Code>,
    pub spaces: Vec<AddressSpace>,
    pub samples: Vec<Sample>,
}

impl RowSource for Scene {
    fn rows(&self, module: ModuleId) -> Rows<'_> {
        match self.modules.get(module.0 as usize) {
            Some(Code::Table(table)) => Rows::Table(table),
            Some(Code::Pending) => Rows::Pending,
            Some(Code::None) | None => Rows::None,
        }
    }
}

/// How the walks of a scene ended, for tests that want to have seen something.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By the end that the C walk says: the numbers of [`Ended::ALL`], and 10 for what perfd is asked.
    pub ended: BTreeMap<u64, usize>,
    pub deepest: usize,
    pub n_frames: usize,
}

impl Tally {
    /// How many ended so.
    pub fn count(&self, ended: Ended) -> usize {
        self.ended.get(&number_of(ended)).copied().unwrap_or(0)
    }

    /// How many the kernel leaves to perfd.
    pub fn asked(&self) -> usize {
        self.ended.get(&ASK_PERFD).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Tally) {
        for (ended, n) in &other.ended {
            *self.ended.entry(*ended).or_default() += n;
        }
        self.deepest = self.deepest.max(other.deepest);
        self.n_frames += other.n_frames;
    }
}

impl Scene {
    /// Walks every sample in both ways, and fails at the first that differs.
    pub fn check(&self, walker: &Walker, name: &str) -> Tally {
        let mut tally = Tally::default();
        let filled: Vec<_> = self.spaces.iter().map(|space| self.filled(space)).collect();
        for (idx, answer) in walker.walk(self).iter().enumerate() {
            let sample = &self.samples[idx];
            if let Err(difference) = self.compare(&filled[sample.space], sample, answer) {
                panic!(
                    "{name}, sample {idx}, {:x?}: {difference}",
                    sample.registers
                );
            }
            *tally.ended.entry(answer.ended).or_default() += 1;
            tally.deepest = tally.deepest.max(answer.frames.len());
            tally.n_frames += answer.frames.len();
        }
        tally
    }

    /// The Rust walk of a sample.
    pub fn walk(&self, sample: &Sample) -> (Vec<Frame>, Result<Walked, Pending>) {
        self.walk_in(&self.spaces[sample.space], sample, MAX_FRAMES)
    }

    /// The same in an address space of its own.
    pub fn walk_in(
        &self,
        space: &AddressSpace,
        sample: &Sample,
        max_frames: usize,
    ) -> (Vec<Frame>, Result<Walked, Pending>) {
        // The kernel reads the stack itself: where that ends, memory ends.
        let copy = StackCopy {
            bytes: &sample.stack,
            is_cut: false,
        };
        let mut frames = Vec::new();
        let registers = &sample.registers;
        let walked = walk(registers, &copy, space, self, max_frames, &mut frames);
        (frames, walked)
    }

    fn compare(
        &self,
        filled: &AddressSpace,
        sample: &Sample,
        answer: &Answer,
    ) -> Result<(), String> {
        let (mut frames, walked) = self.walk(sample);
        let expected = if let Some((known, unknown)) = self.asks(filled, sample, answer) {
            // perfd itself finds nothing there, or has to wait for it.
            let finds_nothing = match &walked {
                Ok(walked) => {
                    matches!(walked.ended, Ended::Unmapped | Ended::NoRow) && frames == known
                }
                Err(Pending(_)) => true,
            };
            frames = known;
            (finds_nothing && unknown == answer.address).then_some(ASK_PERFD)
        } else {
            walked.ok().map(|walked| number_of(walked.ended))
        };
        let expected_frames: Vec<u64> = frames.iter().map(wire_frame).collect();
        if expected == Some(answer.ended) && expected_frames == answer.frames {
            return Ok(());
        }
        Err(format!(
            "\n Rust {walked:?} ({expected:?})\n {expected_frames:x?}\n C {}, at {:#x}\n {:x?}",
            answer.ended, answer.address, answer.frames
        ))
    }

    /// Whether the walk comes to an address that the kernel knows nothing of, which perfd may by then: the frames up to there, and
    /// the address. `filled` is the sample's space with all that is not known as one module.
    fn asks(
        &self,
        filled: &AddressSpace,
        sample: &Sample,
        answer: &Answer,
    ) -> Option<(Vec<Frame>, u64)> {
        let unknown = self.unknown();
        // Where nothing is known before it, it is not behind a system call.
        let mut sample = sample.clone();
        let before = filled.find(Avma(sample.registers.pc.wrapping_sub(1)));
        sample.registers.in_syscall &= before.is_some_and(|place| place.module != unknown);
        let (mut frames, walked) = self.walk_in(filled, &sample, MAX_FRAMES + 1);
        if let Some(first) = frames.iter().position(|frame| frame.module == unknown) {
            let address = frames[first].lookup().0;
            frames.truncate(first);
            return Some((frames, address));
        }
        // What cannot be filled: below all code, and the last byte.
        let is_low = answer.address < LOWEST_CODE;
        let asks = match walked.ok()?.ended {
            Ended::Unmapped => is_low || answer.address == u64::MAX,
            Ended::NoRow => is_low && answer.ended == ASK_PERFD,
            _ => false,
        };
        (asks && frames.len() <= MAX_FRAMES).then_some((frames, answer.address))
    }

    /// A module that the scene does not have.
    fn unknown(&self) -> ModuleId {
        ModuleId(u32::try_from(self.modules.len()).expect("few"))
    }

    /// An address space in which all that is not known, modules whose tables are being built among it, is one module.
    fn filled(&self, space: &AddressSpace) -> AddressSpace {
        let mut filled = AddressSpace::new();
        filled.insert(Mapping {
            start: Avma(LOWEST_CODE),
            end: Avma(u64::MAX),
            file_offset: FileOffset(LOWEST_CODE),
            module: self.unknown(),
            since: MonoNs(0),
        });
        let is_known = |mapping: &&Mapping| !matches!(self.rows(mapping.module), Rows::Pending);
        space
            .iter()
            .filter(is_known)
            .for_each(|mapping| filled.insert(*mapping));
        filled
    }
}

fn number_of(ended: Ended) -> u64 {
    let number = Ended::ALL.iter().position(|other| *other == ended);
    number.expect("all are there") as u64
}
