//! Programs of this machine, sampled on the spot.

use perfd::model::Ended;

use crate::programs::{PROGRAMS, Program};
use crate::recorder::record;
use crate::scene::Tally;
use crate::support::skip;
use crate::walker::Walker;

#[test]
fn samples_of_programs_at_work_are_walked_alike() {
    let walker = Walker::compile();
    let mut tally = Tally::default();
    // Not every machine is asked to have node; its samples are among the recorded ones.
    let asked = |program: &&Program| program.name != "node" || program.is_installed();
    for program in PROGRAMS.iter().filter(asked) {
        if !program.is_installed() {
            skip(&format!("{} is not installed", program.name));
            continue;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        program.prepare(folder.path());
        let scene = match record(program.script, folder.path()) {
            Ok(scene) => scene,
            Err(reason) => return skip(&reason),
        };
        let of_program = scene.check(&walker, program.name);
        eprintln!("{}: {of_program:?}", program.name);
        tally.add(&of_program);
    }
    let n_samples: usize = tally.ended.values().sum();
    assert!(n_samples > 500, "{tally:?}");
    assert!(tally.count(Ended::Root) > n_samples / 2, "{tally:?}");
}
