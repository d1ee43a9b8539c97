//! Recorded samples of real programs, with the parts of their tables that they need: `recorded/*.zst`.
//!
//! They are made anew with `cargo test --test bpf_walk -- --ignored`, on a machine that has the programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use perfd::model::{Avma, Ended, FileOffset, ModuleId};
use perfd::unwind::{RowSource, Rows, Rule};

use crate::pack::{pack, unpack};
use crate::programs::PROGRAMS;
use crate::recorder::record;
use crate::reduce::reduce;
use crate::scene::{Sample, Scene, Tally};
use crate::walker::Walker;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bpf_walk/recorded")
}

#[test]
fn recorded_samples_of_real_programs_are_walked_alike() {
    let walker = Walker::compile();
    let mut tally = Tally::default();
    let mut steps = BTreeSet::new();
    for program in &PROGRAMS {
        let bytes = std::fs::read(folder().join(format!("{}.zst", program.name)));
        let scene = unpack(&bytes.expect("a recording of each program"));
        let of_program = scene.check(&walker, program.name);
        assert!(
            of_program.count(Ended::Root) > 10,
            "{}: {of_program:?}",
            program.name
        );
        tally.add(&of_program);
        steps.extend(
            scene
                .samples
                .iter()
                .flat_map(|sample| steps_of(&scene, sample)),
        );
    }
    assert!(tally.deepest > 100, "{tally:?}");
    let n_samples: usize = tally.ended.values().sum();
    assert!(n_samples > 200, "{tally:?}");
    let expected = [
        "leaf Sp AtCfa AtCfa",
        "leaf Sp Same AtCfa",
        "leaf Fp AtCfa AtCfa",
        "leaf Drap Same AtCfa",
        "leaf Drap AtFp AtCfa",
        "leaf DerefFp AtFp AtCfa",
        "leaf Plt Same AtCfa",
        "leaf Sp Same Link",
        "leaf by frame pointer",
        "caller Sp AtCfa AtCfa",
        "caller Sp Same AtCfa",
        "caller Fp AtCfa AtCfa",
        "caller DerefFp AtFp AtCfa",
        "caller DerefSp AtSp AtSp",
        "caller End Same Undefined",
        "caller by frame pointer",
        "caller Base Same AtCfa",
    ];
    for step in expected {
        assert!(steps.contains(step), "{step}: {steps:#?}");
    }
}

/// What steps the walk of a sample takes.
pub fn steps_of(scene: &Scene, sample: &Sample) -> BTreeSet<String> {
    let (frames, walked) = scene.walk(sample);
    let end = walked.map(|walked| walked.ended.to_string());
    let steps = frames.iter().enumerate().map(|(n, frame)| {
        let place = if n == 0 { "leaf" } else { "caller" };
        match rule_at(scene, frame.module, frame.lookup()) {
            Some(rule) => format!("{place} {:?} {:?} {:?}", rule.cfa, rule.fp, rule.ra),
            None => format!("{place} by frame pointer"),
        }
    });
    steps.chain(end.ok()).collect()
}

fn rule_at(scene: &Scene, module: ModuleId, offset: FileOffset) -> Option<Rule> {
    match scene.rows(module) {
        Rows::Table(table) => table.rule_at(offset),
        Rows::None | Rows::Pending => None,
    }
}

#[test]
#[ignore = "writes tests/bpf_walk/recorded"]
fn record_anew() {
    let walker = Walker::compile();
    std::fs::create_dir_all(folder()).expect("a folder");
    for program in &PROGRAMS {
        assert!(program.is_installed(), "{} is not installed", program.name);
        let temporary = tempfile::tempdir().expect("a temporary folder");
        program.prepare(temporary.path());
        let whole = record(program.script, temporary.path()).expect("sampling is permitted");
        let scene = reduce(&whole);
        scene.check(&walker, program.name);
        let bytes = pack(&scene);
        let back = unpack(&bytes);
        assert_eq!(scene.samples.len(), back.samples.len());
        for (sample, read) in scene.samples.iter().zip(&back.samples) {
            assert_eq!(scene.walk(sample), back.walk(read));
            let at = |scene: &Scene, space: usize| {
                let found = scene.spaces[space].find(Avma(sample.registers.pc));
                found.map(|mapping| mapping.module)
            };
            assert_eq!(at(&scene, sample.space), at(&back, read.space));
        }
        eprintln!(
            "{}: {} of {} samples, {} bytes",
            program.name,
            scene.samples.len(),
            whole.samples.len(),
            bytes.len()
        );
        let path = folder().join(format!("{}.zst", program.name));
        std::fs::write(path, bytes).expect("the recording is written");
    }
}
