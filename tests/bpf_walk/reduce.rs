//! Cuts a recording down to what is worth keeping: few samples, of their stacks the words that their walks need, of the
//! tables the pages.

use std::collections::{BTreeMap, BTreeSet};

use perfd::model::{AddressSpace, FileOffset, ModuleId, Registers};
use perfd::unwind::{Rule, Table};

use crate::recorded::steps_of;
use crate::scene::{Code, MAX_FRAMES, Sample, Scene};

/// Samples that show a step, for each kind of step.
const OF_EACH_STEP: usize = 4;
/// Samples beside those, of all depths.
const OF_ALL_DEPTHS: usize = 40;
/// Bytes of a page of a table's index.
const PAGE: u64 = 256;

/// The small scene.
pub fn reduce(whole: &Scene) -> Scene {
    let mut samples: Vec<Sample> = choose(whole)
        .into_iter()
        .map(|idx| without_needless(whole, &whole.samples[idx]))
        .collect();
    let mut spaces: Vec<AddressSpace> = Vec::new();
    for sample in &mut samples {
        let space = &whole.spaces[sample.space];
        let known = spaces
            .iter()
            .position(|other| other.iter().eq(space.iter()));
        sample.space = known.unwrap_or_else(|| {
            spaces.push(space.clone());
            spaces.len() - 1
        });
    }
    let mut pages: BTreeMap<ModuleId, BTreeSet<u64>> = BTreeMap::new();
    for sample in &samples {
        let space = &spaces[sample.space];
        for frame in whole.walk_in(space, sample, MAX_FRAMES).0 {
            let page = frame.lookup().0 / PAGE;
            pages.entry(frame.module).or_default().insert(page);
        }
    }
    let modules = (0u32..).map(ModuleId).zip(&whole.modules);
    let modules = modules.map(|(id, code)| match (code, pages.get(&id)) {
        (Code::Table(table), Some(pages)) => Code::Table(of_pages(table, pages)),
        // Not a frame is in it.
        _ => Code::None,
    });
    Scene {
        modules: modules.collect(),
        spaces,
        samples,
    }
}

/// Which samples to keep.
fn choose(whole: &Scene) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_depth = Vec::new();
    let mut stacks = BTreeSet::new();
    for (idx, sample) in whole.samples.iter().enumerate() {
        let frames = whole.walk(sample).0;
        by_depth.push((frames.len(), idx));
        if !stacks.insert(frames) {
            by_depth.pop();
            continue;
        }
        for step in steps_of(whole, sample) {
            let n = seen.entry(step).or_default();
            if *n < OF_EACH_STEP {
                chosen.insert(idx);
                *n += 1;
            }
        }
    }
    by_depth.sort_unstable();
    let last = by_depth.len().saturating_sub(1);
    let spread = (0..OF_ALL_DEPTHS).map(|n| by_depth[n * last / (OF_ALL_DEPTHS - 1)].1);
    chosen.extend(spread);
    chosen
}

/// The sample with zeros for all that its walk does not need, and the stack as long as it needs.
fn without_needless(whole: &Scene, sample: &Sample) -> Sample {
    let expected = whole.walk(sample);
    let used = expected.1.as_ref().map_or(0, |walked| walked.used_stack);
    let mut reduced = sample.clone();
    reduced
        .stack
        .truncate(usize::try_from(used).expect("a copy"));
    assert_eq!(whole.walk(&reduced), expected);
    for at in (0..reduced.stack.len() / 8).map(|word| word * 8) {
        let word: [u8; 8] = reduced.stack[at..at + 8].try_into().expect("8 bytes");
        reduced.stack[at..at + 8].fill(0);
        if whole.walk(&reduced) != expected {
            reduced.stack[at..at + 8].copy_from_slice(&word);
        }
    }
    let forgets: [fn(&mut Registers); 3] = [
        |registers| registers.drap = 0,
        |registers| registers.link = 0,
        |registers| registers.base = 0,
    ];
    for forget in forgets {
        let before = reduced.registers;
        forget(&mut reduced.registers);
        if whole.walk(&reduced) != expected {
            reduced.registers = before;
        }
    }
    reduced
}

/// The part of a table that says what holds in these pages.
fn of_pages(table: &Table, pages: &BTreeSet<u64>) -> Table {
    let mut rows = Vec::new();
    for page in pages {
        let offsets = (page * PAGE..(page + 1) * PAGE).map(FileOffset);
        rows.extend(offsets.map(|offset| (offset, table.rule_at(offset).unwrap_or(Rule::NONE))));
        rows.push((FileOffset((page + 1) * PAGE), Rule::NONE));
    }
    Table::from_rows(rows).expect("less than there was")
}
