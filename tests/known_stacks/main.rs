//! Programs whose stacks are known, recorded by perfd, walked in the kernel and by perfd itself: every stack that is not marked as
//! truncated equals the known one, and at least 999 of 1000 that fit the stack copy are not marked. In the kernel any size fits.
//!
//! The programs are in `tests/programs`, chains are written as `folded::chain` says. Libraries without
//! debug information have frames `module+0x…` where others have names, so frames of libc and of the Rust runtime
//! are not spelt out; the program's own frames are, one by one, and no chain lets them stand anywhere else.

use folded::said;
use judge::{judge, once_known};

mod judge;

#[path = "../folded/mod.rs"]
mod folded;
#[path = "../programs/mod.rs"]
mod programs;
#[path = "../support/mod.rs"]
mod support;

/// A program and its stacks.
struct Known {
    /// File in `tests/programs`.
    source: &'static str,
    arguments: &'static [&'static str],
    /// Every stack that can be; the first ones, up to `n_seen`, must be among the samples.
    chains: &'static [&'static str],
    n_seen: usize,
    fit: Fit,
}

/// Whether the stacks fit what the kernel copies.
#[derive(Clone, Copy, PartialEq)]
enum Fit {
    All,
    NotAll,
    /// They do not, but are walked where they are, from the window on in which the kernel knows the program.
    OnceKnown,
}

fn known(source: &'static str, chains: &'static [&'static str], n_seen: usize) -> Known {
    Known {
        source,
        arguments: &[],
        chains,
        n_seen,
        fit: Fit::All,
    }
}

#[test]
fn recursion_60_deep_is_unwound() {
    check(Known {
        arguments: &["60"],
        ..known(
            "recursion.c",
            &[
                "_start . .. main descend*60 spin",
                "_start . .. main descend*1-60",
            ],
            1,
        )
    });
}

#[test]
fn recursion_400_deep_is_unwound() {
    check(Known {
        arguments: &["400"],
        ..known(
            "recursion.c",
            &[
                "_start . .. main descend*400 spin",
                "_start . .. main descend*1-400",
            ],
            1,
        )
    });
}

#[test]
fn frames_of_a_kilobyte_and_a_half_are_unwound() {
    check(Known {
        arguments: &["20"],
        ..known(
            "wide_frames.cpp",
            &[
                "_start . .. main descend*20 spin",
                "_start . .. main descend*1-20",
            ],
            1,
        )
    });
}

#[test]
fn a_stack_larger_than_the_copy_is_marked() {
    check_on(
        "perf",
        &[],
        &Known {
            arguments: &["60"],
            fit: Fit::NotAll,
            ..known("wide_frames.cpp", &["_start . .. main descend*1-60"], 0)
        },
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_stack_larger_than_the_copy_is_unwound_in_the_kernel() {
    check_on(
        "bpf",
        &[],
        &Known {
            arguments: &["60"],
            fit: Fit::OnceKnown,
            ..known(
                "wide_frames.cpp",
                &[
                    "_start . .. main descend*60 spin",
                    "_start . .. main descend*1-60",
                ],
                1,
            )
        },
    );
}

#[test]
fn a_signal_handler_stands_above_what_it_interrupted() {
    check(known(
        "signal_handler.c",
        &[
            "_start . .. main interrupted . on_signal spin",
            "_start . .. main interrupted",
            "_start . .. main interrupted .",
            "_start . .. main interrupted . on_signal",
            "_start . .. main .. on_signal spin",
            "_start . .. main .. on_signal",
        ],
        2,
    ));
}

#[test]
fn calls_through_the_plt_are_unwound() {
    check(known(
        "plt.c",
        &[
            "_start . .. main call_tiny tiny",
            "_start . .. main call_library library_entry spin",
            "_start . .. main call_tiny .",
            "_start . .. main call_tiny",
            "_start . .. main call_library library_entry",
            "_start . .. main call_library ..",
        ],
        3,
    ));
}

#[test]
fn threads_are_unwound_to_their_clone() {
    check(known(
        "threads.c",
        &[
            ". . thread_main outer spin",
            ". . thread_main outer",
            ". . thread_main ..",
        ],
        1,
    ));
}

#[test]
fn inlined_functions_stand_between_their_callers() {
    check(known(
        "inlines.cpp",
        &[
            "_start . .. main shapes::outer shapes::Middle::turn_[i] shapes::inner_[i] spin",
            "_start . .. main shapes::outer shapes::Middle::turn_[i] shapes::inner_[i]",
            "_start . .. main shapes::outer shapes::Middle::turn_[i]",
            "_start . .. main shapes::outer",
        ],
        1,
    ));
}

#[test]
fn virtual_calls_and_exceptions_are_unwound() {
    check(known(
        "classes.cpp",
        &[
            "_start . .. main thrower Round::area spin",
            "_start . .. main thrower Round::area",
            // The exception's way through libstdc++ and libgcc.
            "_start . .. main thrower ..",
        ],
        1,
    ));
}

#[test]
fn leaf_functions_keep_their_caller() {
    check(known(
        "leaves.c",
        &[
            "_start . .. main caller leaf_a",
            "_start . .. main caller leaf_b",
            "_start . .. main caller leaf_c",
            "_start . .. main caller",
        ],
        3,
    ));
}

#[test]
fn the_vdso_is_unwound() {
    check(known(
        "vdso.c",
        &[
            "_start . .. main read_clocks . ..",
            "_start . .. main read_clocks ..",
        ],
        1,
    ));
}

#[test]
fn libraries_that_take_turns_at_one_address_keep_their_names() {
    check(known(
        "loads_library.c",
        &[
            "_start . .. main call_loaded first_entry spin",
            "_start . .. main call_loaded second_entry spin",
            "_start . .. main call_loaded first_entry",
            "_start . .. main call_loaded second_entry",
            "_start . .. main call_loaded",
        ],
        2,
    ));
}

#[test]
fn children_are_followed_through_fork_and_exec() {
    check(known(
        "fork_exec.c",
        &[
            "_start . .. main in_parent spin",
            "_start . .. main in_child spin",
            "_start . .. main in_exec spin",
            "_start . .. main in_parent ..",
            "_start . .. main in_child ..",
            "_start . .. main in_exec ..",
        ],
        3,
    ));
}

#[test]
fn samples_taken_in_the_kernel_have_their_user_stack() {
    check(known(
        "syscalls.c",
        &[
            "_start . .. main call_kernel .",
            "_start . .. main call_kernel ..",
        ],
        1,
    ));
}

#[test]
fn a_rust_program_is_unwound_in_both_its_threads() {
    check(known(
        "known.rs",
        &[
            "_start . .. known::in_main .. known::descend*60 known::spin ..",
            ". . .. known::in_thread .. known::descend*60 known::spin ..",
            "_start . .. known::in_main .. known::descend*1-60 ..",
            ". . .. known::in_thread .. known::descend*1-60 ..",
            "_start . .. known::in_main ..",
            ". . .. known::in_thread ..",
        ],
        2,
    ));
}

fn check(known: Known) {
    for backend in support::BACKENDS {
        for reader in support::READERS {
            check_on(backend, reader, &known);
        }
    }
}

/// Compiles, records, judges.
fn check_on(backend: &str, reader: &[&str], known: &Known) {
    if let Some(reason) = support::backend_forbidden(backend) {
        return support::skip(&reason);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(program) = programs::build(known.source, folder.path()) else {
        return support::skip(&format!("no compiler for {}", known.source));
    };
    let out = folder.path().join("out.folded");
    let windows = folder.path().join("windows.jsonl");
    let output = support::perfd()
        .args([
            "record",
            "-q",
            "-e",
            "cpu-clock",
            "-F",
            "4999",
            "--unit",
            "samples",
            "--backend",
            backend,
            "--interval",
            "100ms",
            "-o",
        ])
        .arg(&out)
        .arg("-o")
        .arg(&windows)
        .args(reader)
        .arg("--")
        .arg(program)
        .args(known.arguments)
        .args(
            known
                .source
                .contains("loads")
                .then_some([
                    folder.path().join("first.so"),
                    folder.path().join("second.so"),
                ])
                .into_iter()
                .flatten(),
        )
        .output()
        .expect("perfd runs");
    assert!(output.status.success(), "perfd: {}", said(&output));
    let text = std::fs::read_to_string(&out).expect("a folded file");
    if let Err(faults) = judge(&text, known) {
        panic!("{} with {backend} {reader:?}: {faults}", known.source);
    }
    if known.fit == Fit::OnceKnown {
        let windows = std::fs::read_to_string(&windows).expect("windows");
        let late = once_known(&windows);
        let (whole, cut) = late.unwrap_or_else(|| panic!("never whole: {windows}"));
        assert!(
            whole >= 200 && cut * 1000 <= whole + cut,
            "{whole} whole, {cut} cut after the first window of whole stacks"
        );
    }
}
