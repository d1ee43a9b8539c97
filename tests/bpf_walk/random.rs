//! Random rules, registers and stacks, hostile ones among them, from a seed.

use std::ops::Range;

use perfd::model::{AddressSpace, Avma, Ended, FileOffset, Mapping, ModuleId, MonoNs, Registers};
use perfd::unwind::{CfaKind, FpKind, RaKind, Rule, Table};

use crate::kinds::{CFA, FP, RA};
use crate::scene::{Code, MAX_FRAMES, Sample, Scene, Tally};
use crate::walker::Walker;

const SCENES: u64 = 100;
const SAMPLES: usize = 300;

#[test]
fn random_samples_are_walked_alike() {
    let walker = Walker::compile();
    let mut tally = Tally::default();
    for seed in 0..SCENES {
        let mut random = Random(seed);
        let scene = scene(&mut random);
        tally.add(&scene.check(&walker, &format!("seed {seed}")));
    }
    // What never happened was not compared.
    let never = [Ended::NoUserStack, Ended::CopyTooShort, Ended::Unmapped];
    for ended in Ended::ALL {
        assert_eq!(
            tally.count(ended) > 30,
            !never.contains(&ended),
            "{ended}: {tally:?}"
        );
    }
    assert!(tally.asked() > 100, "{tally:?}");
    assert_eq!(tally.deepest, MAX_FRAMES);
    assert!(
        tally.n_frames > 4 * tally.ended.values().sum::<usize>(),
        "{tally:?}"
    );
}

#[test]
fn the_same_rule_is_found_at_every_offset() {
    // As many pages, rows and rules as fill their blocks to the last, one more, and one less.
    let mut random = Random(1);
    let walker = Walker::compile();
    for (n_pages, n_rules) in [(1023, 255), (1024, 256), (1025, 257), (1, 1000)] {
        let end = n_pages * 256;
        let spread = 2 * end / 2048;
        let mut rows = Vec::new();
        let mut offset = 0;
        while offset < end - 2 {
            // Each rule leads to another caller.
            let cfa_offset = 8 * (1 + rows.len() as u64 % (n_rules - 1));
            let rule = Rule {
                cfa_offset: i32::try_from(cfa_offset).expect("small"),
                ra_offset: -8,
                cfa: CfaKind::Sp,
                ra: RaKind::AtCfa,
                ..Rule::NONE
            };
            rows.push((FileOffset(offset), rule));
            offset += 1 + random.below(spread.max(1));
        }
        let offsets: Vec<u64> = rows.iter().map(|(offset, _)| offset.0).collect();
        rows.push((FileOffset(end - 1), Rule::NONE));
        let table = Table::from_rows(rows).expect("within the limits");
        assert_eq!(table.index().len() as u64, n_pages);
        assert!(table.rules().len() as u64 == n_rules || n_pages == 1);

        let mut scene = Scene::default();
        let mut space = AddressSpace::new();
        space.insert(Mapping {
            start: Avma(PLACES[0]),
            end: Avma(PLACES[0] + end + 0x1000),
            file_offset: FileOffset(0),
            module: ModuleId(0),
            since: MonoNs(0),
        });
        scene.spaces.push(space);
        scene.modules.push(Code::Table(table));
        // The address of each caller says by which word it was found.
        let words = (0..n_rules).map(|n| PLACES[0] + end + 1 + n);
        let stack: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let near = |offset: &u64| offset.saturating_sub(1)..offset + 2;
        for offset in offsets.iter().flat_map(near).chain(end - 2..end + 0x1000) {
            let registers = Registers {
                pc: PLACES[0] + offset,
                sp: 0x7ffc_0000_0000,
                fp: 0,
                drap: 0,
                link: 0,
                base: 0,
                in_syscall: false,
            };
            scene.samples.push(Sample {
                space: 0,
                registers,
                stack: stack.clone(),
            });
        }
        let tally = scene.check(&walker, &format!("{n_pages} pages"));
        assert!(tally.n_frames > scene.samples.len() * 11 / 10, "{tally:?}");
    }
}

/// What a scene is like.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Plain functions that call each other, as deep as their stack goes.
    Orderly,
    /// Anything.
    Mixed,
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True `n` times of a hundred.
    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("an index")]
    }
}

/// Where modules are mapped: a usual place, side by side, the lowest, the last pages of the address space.
const PLACES: [u64; 5] = [
    0x10_0000,
    0x10_0000 + SIZE,
    0x7f00_0000_0000,
    0x1_0000,
    0u64.wrapping_sub(2 * SIZE),
];
const SIZE: u64 = 0x4000;
const JIT: u64 = 0x30_0000;
const PENDING: u64 = 0x50_0000;

const HOSTILE: [u64; 14] = [
    0,
    1,
    7,
    8,
    0xffff,
    0x1_0000,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 24,
    u64::MAX - 17,
    u64::MAX - 16,
    u64::MAX - 15,
    u64::MAX - 7,
    u64::MAX,
];

fn scene(random: &mut Random) -> Scene {
    let mut scene = Scene::default();
    let mut space = AddressSpace::new();
    let mut map = |start, file_offset, module| {
        space.insert(Mapping {
            start: Avma(start),
            end: Avma(start + SIZE),
            file_offset: FileOffset(file_offset),
            module: ModuleId(module),
            since: MonoNs(0),
        });
    };
    let kind = random.of(&[Kind::Orderly, Kind::Mixed, Kind::Mixed, Kind::Mixed]);
    // How many rules of a hundred make no sense.
    let nonsense = match kind {
        Kind::Orderly => 0,
        Kind::Mixed => random.of(&[0, 2, 10, 50]),
    };
    for (module, start) in (0u32..).zip(PLACES) {
        let file_offset = random.below(4) * 0x1000;
        map(start, file_offset, module);
        // It need not end where the mapping does.
        let from = (file_offset + random.below(SIZE / 2)).saturating_sub(SIZE / 4);
        let table = table(random, from..from + SIZE, kind, nonsense);
        scene.modules.push(Code::Table(table));
    }
    map(JIT, JIT, 5);
    scene.modules.push(Code::None);
    map(PENDING, PENDING, 6);
    scene.modules.push(Code::Pending);
    scene.spaces.push(space);
    scene.samples = (0..SAMPLES).map(|_| sample(random, kind)).collect();
    scene.samples.push(tall_sample(random));
    scene
}

fn table(random: &mut Random, range: Range<u64>, kind: Kind, nonsense: u64) -> Table {
    let spread = random.of(&[3, 40, 600]);
    let mut rows = Vec::new();
    let mut offset = range.start;
    while offset < range.end {
        let rule = match random.percent(nonsense) {
            true => any_rule(random),
            false => usual_rule(random, kind),
        };
        rows.push((FileOffset(offset), rule));
        offset += 1 + random.below(spread);
    }
    rows.push((FileOffset(offset), Rule::NONE));
    Table::from_rows(rows).expect("small")
}

/// The rules of compilers, loaders and signal frames, for stacks as [`sample`] makes them.
fn usual_rule(random: &mut Random, kind: Kind) -> Rule {
    let lines = |random: &mut Random, n| i32::try_from(16 * (1 + random.below(n))).expect("small");
    let sp = Rule {
        cfa_offset: lines(random, 6),
        fp_offset: 0,
        ra_offset: -8,
        cfa: CfaKind::Sp,
        fp: FpKind::Same,
        ra: RaKind::AtCfa,
        flags: random.of(&[0, 0, 2, 3, Rule::BASE_SAME]),
    };
    let saves_fp = Rule {
        fp: FpKind::AtCfa,
        fp_offset: -16,
        ..sp
    };
    let of = |cfa, cfa_offset, flags, rule: Rule| Rule {
        cfa,
        cfa_offset,
        flags,
        ..rule
    };
    let realigned = Rule {
        fp: FpKind::AtFp,
        ..of(CfaKind::DerefFp, -16, 0, sp)
    };
    let signal = Rule {
        fp: random.of(&[FpKind::AtSp, FpKind::AtSp, FpKind::AtSpWithLink]),
        fp_offset: 16,
        ra: RaKind::AtSp,
        ra_offset: 8,
        ..of(CfaKind::DerefSp, lines(random, 4), Rule::SIGNAL, sp)
    };
    let link = Rule {
        ra: RaKind::Link,
        ..of(CfaKind::Sp, 16 * i32::from(random.percent(50)), 0, sp)
    };
    let n_kinds = if kind == Kind::Orderly { 70 } else { 100 };
    match random.below(n_kinds) {
        0..25 => sp,
        25..70 => saves_fp,
        70..80 => of(CfaKind::Fp, 16, sp.flags, saves_fp),
        80..84 => realigned,
        84..88 => signal,
        88..91 => of(CfaKind::Plt, 0, random.of(&[0, 0, 11]), sp),
        91..93 => of(CfaKind::Drap, 0, 0, sp),
        93..95 => of(CfaKind::Base, 16, sp.flags, sp),
        95..98 => link,
        98 => Rule::NONE,
        _ => Rule::END,
    }
}

fn any_rule(random: &mut Random) -> Rule {
    let small = |random: &mut Random| {
        let n = i16::try_from(random.below(40)).expect("small") - 12;
        n * random.of(&[8, 8, 8, 1])
    };
    let offset = |random: &mut Random| match random.percent(80) {
        true => small(random),
        false => random.of(&[i16::MIN, i16::MAX, i16::MIN + 8, 0]),
    };
    Rule {
        cfa_offset: match random.percent(80) {
            true => small(random).into(),
            false => random.of(&[i32::MIN, i32::MAX, i32::MIN + 8, 1 << 20, 1 << 30]),
        },
        fp_offset: offset(random),
        ra_offset: offset(random),
        cfa: random.of(&CFA),
        fp: random.of(&FP),
        ra: random.of(&RA),
        flags: random.of(&[
            0,
            1,
            2,
            11,
            64,
            126,
            Rule::BASE_SAME,
            Rule::SIGNAL,
            0x8b,
            0xff,
        ]),
    }
}

/// Words in pairs, as calls leave them: a frame pointer, a return address.
fn sample(random: &mut Random, kind: Kind) -> Sample {
    let (sp, n_stack) = stack_place(random);
    // How much of the stack is fit for walking.
    let fit = match kind {
        Kind::Orderly => 100,
        Kind::Mixed => random.of(&[60, 95, 100]),
    };
    let mut stack = Vec::new();
    while stack.len() < n_stack {
        let at = sp.wrapping_add(stack.len() as u64);
        let word = match random.percent(fit) {
            true if at & 8 == 0 => near_stack(random, at),
            true => code(random, kind),
            false => anything(random, sp),
        };
        stack.extend(word.to_le_bytes());
    }
    stack.truncate(n_stack);
    let mut register = |of_stack: u64| match random.below(100) {
        n if n < of_stack => near_stack(random, sp),
        n if n < 90 => code(random, kind),
        _ => anything(random, sp),
    };
    let [fp, drap, link, base] = [85, 85, 10, 85].map(&mut register);
    let pc = match random.below(100) {
        _ if kind == Kind::Orderly => code(random, kind),
        0..85 => code(random, kind),
        85..92 => random.below(1 << 17),
        _ => anything(random, sp),
    };
    // A call through a null pointer has just pushed its return address.
    let (sp, stack) = match stack.get(8..) {
        Some(rest) if pc < 1 << 16 => (sp + 8, rest.to_vec()),
        _ => (sp, stack),
    };
    let registers = Registers {
        pc,
        sp,
        fp,
        drap,
        link,
        base,
        in_syscall: random.percent(20),
    };
    Sample {
        space: 0,
        registers,
        stack,
    }
}

/// Frame pointers at the largest distance that is taken for one.
fn tall_sample(random: &mut Random) -> Sample {
    const LARGEST_FRAME: usize = 1 << 20;
    let sp = 0x7ffc_0000_0000;
    let mut stack = vec![0; LARGEST_FRAME + 64];
    for word in stack[LARGEST_FRAME - 64..].chunks_exact_mut(8) {
        word.copy_from_slice(&code(random, Kind::Orderly).to_le_bytes());
    }
    let registers = Registers {
        pc: JIT,
        sp,
        fp: sp + LARGEST_FRAME as u64 - 32 + 8 * random.below(8),
        drap: 0,
        link: 0,
        base: 0,
        in_syscall: false,
    };
    Sample {
        space: 0,
        registers,
        stack,
    }
}

/// A stack pointer, and how many bytes of memory there are from it on. Most stacks end with a page.
fn stack_place(random: &mut Random) -> (u64, usize) {
    let n_stack = match random.below(10) {
        0 => random.below(40),
        1..9 => random.below(200) * 8,
        _ => random.below(8000) * 8,
    };
    let end: u64 = match random.below(20) {
        0 => 0x1_0000,
        1 => 0u64.wrapping_sub(0x1000),
        2 => u64::MAX,
        _ => 0x7ffd_0000_0000,
    };
    let end = match random.percent(70) {
        true => end,
        false => end - random.below(0x1000),
    };
    let sp = end.saturating_sub(n_stack);
    let sp = if random.percent(95) { sp & !15 } else { sp };
    let n_stack = usize::try_from(end - sp).expect("small");
    if random.percent(2) {
        return (random.of(&HOSTILE), 0);
    }
    (sp, n_stack)
}

/// An address of a module.
fn code(random: &mut Random, kind: Kind) -> u64 {
    let start = match random.below(100) {
        _ if kind == Kind::Orderly => return PLACES[0] + SIZE / 2 + random.below(SIZE),
        0 => JIT,
        1 if random.percent(20) => PENDING,
        2 => random.of(&PLACES),
        _ => random.of(&PLACES[..4]),
    };
    start + random.below(SIZE + 2)
}

/// An address on the stack, a little above the place where it stands.
fn near_stack(random: &mut Random, at: u64) -> u64 {
    let lines = match random.percent(95) {
        true => 1 + random.below(6),
        false => random.below(0x200),
    };
    let address = at.wrapping_add(16 * lines);
    match random.percent(98) {
        true => address & !15,
        false => address.wrapping_add(random.below(16)),
    }
}

fn anything(random: &mut Random, sp: u64) -> u64 {
    let near = |random: &mut Random, far: u64| {
        sp.wrapping_add(far)
            .wrapping_add(random.below(64))
            .wrapping_sub(32)
    };
    match random.below(6) {
        0 => random.next(),
        1 => near(random, 0),
        2 => near(random, 1 << 20),
        3 => near(random, 1 << 30),
        _ => random.of(&HOSTILE),
    }
}
