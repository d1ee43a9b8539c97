//! What a profile must be for a program whose stacks are known.

use std::collections::BTreeSet;

use crate::folded::chain::Chain;
use crate::folded::{Stack, bare, parse};
use crate::{Fit, Known};

/// Judges folded text; the error says all that is wrong.
pub fn judge(text: &str, known: &Known) -> Result<(), String> {
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
                if known.fit != Fit::All
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

/// Whether libgcc is putting the registers of the frame that catches into the frame of `_Unwind_RaiseException`, or leaves that frame with them:
/// those of its caller, and on aarch64 its return address, are gone then, and no rows say so.
fn is_being_thrown_to(frames: &[String]) -> bool {
    let raises = frames
        .iter()
        .position(|frame| frame == "_Unwind_RaiseException");
    raises.is_some_and(|at| at + 2 >= frames.len())
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

/// Samples of a window in which a program has begun its work: at 4999 Hz, 10 ms, and many times those of its start.
const AT_WORK: u64 = 50;

/// Stacks that are whole, and such as are larger than the copy, in the windows from the first one on in which all are whole: until
/// the kernel has the mappings and tables of a program, samples come with a copy. `None` if there is no such window.
pub fn once_known(windows: &str) -> Option<(u64, u64)> {
    let lines = windows.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a document");
        let ended = |reason: &str| line["ledger"]["stacks"]["ended"][reason].as_u64();
        let is_window = line["type"] == "window";
        let counts = (
            ended("root").unwrap_or(0),
            ended("copy_too_short").unwrap_or(0),
        );
        (is_window, counts)
    });
    let windows = lines.filter(|(is_window, _)| *is_window);
    windows
        .map(|(_, counts)| counts)
        .skip_while(|(whole, cut)| *whole < AT_WORK || *cut > 0)
        .reduce(|sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
}

/// `recursion` 3 deep, judged on text made by hand.
fn verdict(lines: &str) -> Result<(), String> {
    judge(
        lines,
        &crate::known(
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
