//! Samples with all that their walks need, and the comparison of the two walks over them.

use std::collections::BTreeMap;

use perfd::model::{AddressSpace, Avma, Ended, Frame, Mapping, ModuleId, Registers, StackCopy};
use perfd::unwind::{Pending, RowSource, Rows, Table, Walked, walk};

use crate::walker::{Answer, Walker, wire_frame};

/// `MAX_USER_FRAMES` of `bpf/limits.h`.
pub const MAX_FRAMES: usize = 512;
/// `ENDED_ASK_PERFD` of `bpf/wire.h`.
const ASK_PERFD: u64 = 10;

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
        match &self.modules[module.0 as usize] {
            Code::Table(table) => Rows::Table(table),
            Code::None => Rows::None,
            Code::Pending => Rows::Pending,
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
        let number = Ended::ALL.iter().position(|other| *other == ended);
        let number = number.expect("all are there") as u64;
        self.ended.get(&number).copied().unwrap_or(0)
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
        for (idx, answer) in walker.walk(self).iter().enumerate() {
            let sample = &self.samples[idx];
            if let Err(difference) = self.compare(sample, answer) {
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
        self.walk_in(&self.spaces[sample.space], sample)
    }

    fn walk_in(
        &self,
        space: &AddressSpace,
        sample: &Sample,
    ) -> (Vec<Frame>, Result<Walked, Pending>) {
        // The kernel reads the stack itself: where that ends, memory ends.
        let copy = StackCopy {
            bytes: &sample.stack,
            is_cut: false,
        };
        let mut frames = Vec::new();
        let registers = &sample.registers;
        let walked = walk(registers, &copy, space, self, MAX_FRAMES, &mut frames);
        (frames, walked)
    }

    fn compare(&self, sample: &Sample, answer: &Answer) -> Result<(), String> {
        let space = &self.spaces[sample.space];
        let (mut frames, walked) = self.walk(sample);
        let at = space.find(Avma(answer.address));
        let expected = match walked {
            // What the kernel does not know perfd may know by then.
            Ok(Walked {
                ended: Ended::Unmapped,
                ..
            }) if at.is_none() => ASK_PERFD,
            // A frame pointer that leads nowhere: perfd says so, when it knows all mappings.
            Ok(Walked {
                ended: Ended::NoRow,
                ..
            }) if answer.ended == ASK_PERFD && at.is_none() => ASK_PERFD,
            Err(Pending(module)) if at.is_some_and(|mapping| mapping.module == module) => {
                frames = self.walk_in(&self.without_pending(space), sample).0;
                ASK_PERFD
            }
            Ok(walked) => Ended::ALL
                .iter()
                .position(|ended| *ended == walked.ended)
                .expect("all are there") as u64,
            Err(_) => u64::MAX,
        };
        let expected_frames: Vec<u64> = frames.iter().map(wire_frame).collect();
        if expected == answer.ended && expected_frames == answer.frames {
            return Ok(());
        }
        Err(format!(
            "\n Rust {walked:?} ({expected})\n {expected_frames:x?}\n C {}, at {:#x}\n {:x?}",
            answer.ended, answer.address, answer.frames
        ))
    }

    /// The same without the modules whose tables are being built: a walk ends where it would have to wait for one.
    fn without_pending(&self, space: &AddressSpace) -> AddressSpace {
        let is_known = |mapping: &&Mapping| !matches!(self.rows(mapping.module), Rows::Pending);
        let mut known = AddressSpace::new();
        space
            .iter()
            .filter(is_known)
            .for_each(|mapping| known.insert(*mapping));
        known
    }
}
