//! A program that is built anew at its place is another one, though the kernel gives it the inode of the old.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use perfd::session::Backend;

use crate::held::{Held, spec};
use crate::support::{Program, copy_program};
use crate::targets::on_each_backend;
use crate::worker::{Worker, other_program};

/// How often a file is made anew until it has the inode of the one before: file systems differ in that.
const ATTEMPTS: usize = 32;

/// Runs what is at the path, and sees that its own function is named and the other's is not: first of a process that runs already, then of one
/// that becomes it.
fn check(held: &mut Held, path: &Path, own: &str, other: &str) {
    let mut running = Worker::running(path);
    let target = held.attach(&running);
    running.spin(60);
    let mut windows = vec![held.detach(target)];
    running.end();
    let mut becoming = Worker::start();
    let target = held.attach(&becoming);
    becoming.exec_file(path);
    becoming.spin(60);
    windows.push(held.detach(target));
    becoming.end();
    for windows in windows {
        assert!(windows.through(own) > 15, "{own}");
        assert_eq!(windows.through(other), 0, "{other}");
    }
}

/// `replace` puts the program at a path in the place of what is there.
fn names_are_right(backend: Backend, replace: impl Fn(&Program, &Path)) {
    let (before, behind) = (
        other_program("before", 0o755),
        other_program("behind", 0o755),
    );
    let mut held = Held::start(spec(backend));
    let path = before.folder().join("built");
    copy_program(before.path(), &path);
    check(&mut held, &path, "before", "behind");
    replace(&behind, &path);
    check(&mut held, &path, "behind", "before");
    // What is known of it is not the first that it was.
    replace(&before, &path);
    check(&mut held, &path, "before", "behind");
    held.finish();
}

#[test]
fn of_a_program_that_is_written_anew_in_place_the_names_are_its_own() {
    on_each_backend(|backend| {
        names_are_right(backend, |program, path| {
            let inode = fs::metadata(path).expect("there").ino();
            copy_program(program.path(), path);
            assert_eq!(
                fs::metadata(path).expect("there").ino(),
                inode,
                "cp writes in place"
            );
        });
    });
}

#[test]
fn of_a_program_that_gets_the_inode_of_another_the_names_are_its_own() {
    on_each_backend(|backend| {
        names_are_right(backend, |program, path| {
            let inode = fs::metadata(path).expect("there").ino();
            for _ in 0..ATTEMPTS {
                fs::remove_file(path).expect("there");
                copy_program(program.path(), path);
                if fs::metadata(path).expect("there").ino() == inode {
                    break;
                }
            }
        });
    });
}
