//! Stacks of hardware samples, unwound from their copies. (Deep ones: `tests/known_stacks/`.)

use crate::machine::has_pmu;
use crate::programs;
use crate::runs::record;

#[test]
fn both_events_have_whole_stacks() {
    if !has_pmu() {
        return;
    }
    let events = ["-e", "cycles:u,instructions:u", "-c", "100000"];
    let profile = record(&events, &programs::loops(), &["1000000"]);
    for idx in [0, 1] {
        for stack in &profile.stacks[idx] {
            // Start-up, or one of the two loops with its own caller: not one sample elsewhere.
            let frames: Vec<&str> = stack.frames.iter().map(String::as_str).collect();
            assert_eq!(stack.truncated, None, "{stack:?}");
            match frames.last() {
                Some(&"turns_[i]") => assert!(
                    frames == ["_start", "start", "calls_first", "first", "turns_[i]"]
                        || frames == ["_start", "start", "calls_second", "second", "turns_[i]"],
                    "{stack:?}"
                ),
                _ => assert_eq!(frames.first(), Some(&"_start"), "{stack:?}"),
            }
        }
        let weight = |caller: &str| {
            profile.weight(idx, |stack| {
                stack.frames.iter().any(|frame| frame == caller)
            })
        };
        assert!(weight("calls_first") > 0 && weight("calls_second") > 0);
    }
}
