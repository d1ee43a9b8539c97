//! Programs whose stacks are known, recorded by perfd: every stack that is not marked as truncated equals the known
//! one, and at least 999 of 1000 that fit the stack copy are not marked.
//!
//! The programs are in `tests/programs`, chains are written as `folded::chain` says. Libraries without
//! debug information have frames `module+0x…` where others have names, so frames of libc and of the Rust runtime
//! are not spelt out; the program's own frames are, one by one, and no chain lets them stand anywhere else.

use std::collections::BTreeSet;

use folded::chain::Chain;
use folded::{Stack, bare, parse, said};

mod folded;
mod programs;
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
    check(Known {
        arguments: &["60"],
        fit: Fit::NotAll,
        ..known("wide_frames.cpp", &["_start . .. main descend*1-60"], 0)
    });
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

/// Compiles, records, judges.
fn check(known: Known) {
    if let Some(reason) = folded::forbidden(&mut support::perfd()) {
        return support::skip(&reason);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(program) = programs::build(known.source, folder.path()) else {
        return support::skip(&format!("no compiler for {}", known.source));
    };
    let out = folder.path().join("out.folded");
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
            "-o",
        ])
        .arg(&out)
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
    if let Err(faults) = judge(&text, &known) {
        panic!("{}: {faults}", known.source);
    }
}

/// Judges folded text; the error says all that is wrong.
fn judge(text: &str, known: &Known) -> Result<(), String> {
    let chains: Vec<Chain> = known
        .chains
        .iter()
        .map(|chain| Chain::parse(chain))
        .collect();
    let own: BTreeSet<String> = chains.iter().flat_map(Chain::names).collect();
    // `main` alone, start-up and exit say nothing: only stacks with a function of the chain are judged.
    let markers: BTreeSet<&String> = own
        .iter()
        .filter(|name| !["main", "_start"].contains(&name.as_str()))
        .collect();
    let mut faults = Vec::new();
    let mut seen = vec![0; chains.len()];
    let (mut whole, mut marked, mut too_short, mut thrown_to) = (0, 0, 0, 0);
    for stack in parse(text)? {
        let frames: Vec<String> = stack.frames.iter().map(|frame| bare(frame)).collect();
        if !frames.iter().any(|frame| markers.contains(frame)) {
            continue;
        }
        match &stack.truncated {
            // A deep stack grows by faults on pages that are not there yet: those samples have no copy at all.
            Some(reason)
                if known.fit == Fit::NotAll
                    && (reason.contains("copy too short") || reason.contains("not in memory")) =>
            {
                too_short += stack.samples
            }
            Some(_) if is_being_thrown_to(&frames) => thrown_to += stack.samples,
            Some(reason) => {
                marked += stack.samples;
                faults.push(format!("marked {reason}: {}", shown(&stack)));
            }
            None => {
                whole += stack.samples;
                match chains.iter().position(|chain| chain.matches(&frames, &own)) {
                    Some(at) => seen[at] += stack.samples,
                    None => faults.push(format!("not a known stack: {}", shown(&stack))),
                }
            }
        }
    }
    let wrong = faults.iter().any(|fault| fault.starts_with("not a known"));
    // A short part of each throw.
    if thrown_to * 50 > whole {
        faults.push(format!("{thrown_to} in a frame that is thrown to"));
    }
    if whole + marked + too_short < 200 {
        faults.push(format!("only {} samples", whole + marked + too_short));
    } else if !wrong && marked * 1000 <= whole + marked {
        faults.clear();
    }
    if known.fit == Fit::NotAll && too_short == 0 {
        faults.push("no stack is marked as larger than the copy".to_owned());
    }
    for (at, n) in seen.iter().enumerate().take(known.n_seen) {
        if *n == 0 {
            faults.push(format!("never seen: {}", known.chains[at]));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    faults.truncate(20);
    Err(format!(
        "{whole} whole, {marked} marked, {too_short} too large\n  {}",
        faults.join("\n  ")
    ))
}

/// Whether libgcc is putting the registers of the frame that catches into the frame of `_Unwind_RaiseException`: those of its caller are
/// gone then, on processors (aarch64) that save the return address among them.
fn is_being_thrown_to(frames: &[String]) -> bool {
    let raises = frames
        .iter()
        .position(|frame| frame == "_Unwind_RaiseException");
    cfg!(target_arch = "aarch64") && raises.is_some_and(|at| at + 2 == frames.len())
}

/// A stack with its repetitions counted, so that a recursion fits a line.
fn shown(stack: &Stack) -> String {
    let runs = stack.frames.chunk_by(|a, b| a == b);
    let frames: Vec<String> = runs
        .map(|run| match run.len() {
            1 => run[0].clone(),
            n => format!("{} × {n}", run[0]),
        })
        .collect();
    format!("{} × {}: {}", stack.samples, stack.comm, frames.join(";"))
}

/// `recursion` 3 deep, judged on text made by hand.
fn verdict(lines: &str) -> Result<(), String> {
    judge(
        lines,
        &known(
            "by hand",
            &[
                "_start . .. main descend*3 spin",
                "_start . .. main descend*1-3",
            ],
            1,
        ),
    )
}

const RIGHT: &str =
    "p;_start;libc.so.6+0x27305;libc.so.6+0x2724a;main;descend;descend;descend;spin";

#[test]
fn the_judge_accepts_the_known_stack() {
    assert_eq!(
        verdict(&format!(
            "{RIGHT} 1500\np;_start;x;main;descend;descend 2\np;_start;x;main;time 9\n"
        )),
        Ok(())
    );
    assert_eq!(
        verdict(&format!(
            "{RIGHT} 999\np;[truncated: no unwind row];spin 1\n"
        )),
        Ok(())
    );
    assert_eq!(
        verdict(&format!(
            "{RIGHT};asm_sysvec_apic_timer_interrupt_[k] 999\n"
        )),
        Ok(())
    );
}

#[test]
fn the_judge_refuses_every_other_stack() {
    for wrong in [
        "p;_start;x;main;descend;descend;spin",
        "p;_start;x;main;descend;descend;descend;descend;spin",
        "p;_start;x;main;descend;descend;x;descend;spin",
        "p;main;descend;descend;descend;spin",
        "p;x;main;descend;descend;descend;spin",
        "p;_start;x;main;spin;descend;descend;descend",
        "p;_start;x;main;descend;descend;descend;spin;x",
        "p;spin",
        "p;_start;x;main;descend;descend;descend;spin_[i]",
    ] {
        let verdict = verdict(&format!("{RIGHT} 100000\n{wrong} 1\n"));
        assert!(verdict.is_err(), "accepted: {wrong}");
    }
}

#[test]
fn the_judge_refuses_too_many_marks_too_few_samples_and_missing_chains() {
    assert!(
        verdict(&format!(
            "{RIGHT} 998\np;[truncated: no unwind row];spin 2\n"
        ))
        .is_err()
    );
    assert!(
        verdict(&format!(
            "{RIGHT} 998\np;[truncated: stack copy too short];spin 2\n"
        ))
        .is_err()
    );
    assert!(verdict(&format!("{RIGHT} 100\n")).is_err());
    assert!(verdict("p;_start;x;main;descend;descend 1000\n").is_err());
    assert!(verdict("no weight\n").is_err());
}

#[test]
fn a_bare_name_has_no_parameters_and_no_hash() {
    for (frame, name) in [
        ("descend(int)", "descend"),
        (
            "shapes::Middle::turn() const_[i]",
            "shapes::Middle::turn_[i]",
        ),
        (
            "unsigned long shapes::inner<unsigned long>(unsigned long)_[i]",
            "shapes::inner_[i]",
        ),
        ("known::descend::h0123456789abcdef", "known::descend"),
        ("known::descend::<u64>", "known::descend"),
        ("libc.so.6+0x2724a", "libc.so.6+0x2724a"),
    ] {
        assert_eq!(bare(frame), name);
    }
}
