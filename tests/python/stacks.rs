//! The stacks that lead to `spin_NAME` in `program.py`.

use std::collections::BTreeMap;

use crate::folded::Stack;
use crate::programs::Interpreter;

/// For each case the qualified names between `case_NAME` and `spin_NAME`, root first; `NAME*N` stands N times.
pub const EXPECTED: [(&str, &[&str]); 23] = [
    ("recursion", &["recurse*301"]),
    ("deep", &["recurse*901"]),
    ("method", &["Methods.of_class", "Methods.method"]),
    ("property", &["Methods.prop"]),
    ("call", &["Methods.__call__"]),
    ("del", &["Methods.__del__"]),
    ("exit", &["Methods.__exit__"]),
    ("less", &["Methods.__lt__"]),
    ("lambda", &["case_lambda.<locals>.<lambda>"]),
    (
        "closure",
        &[
            "case_closure.<locals>.outer",
            "case_closure.<locals>.outer.<locals>.inner",
        ],
    ),
    (
        "generator",
        &[
            "case_generator.<locals>.delegates",
            "case_generator.<locals>.generates",
        ],
    ),
    (
        "coroutine",
        &[
            "case_coroutine.<locals>.awaits",
            "case_coroutine.<locals>.awaited",
        ],
    ),
    ("key", &["case_key.<locals>.key"]),
    ("sub", &["sub", "case_sub.<locals>.replaces"]),
    ("partial", &["recurse*3"]),
    ("nested", &["case_nested.<locals>.nested*21"]),
    ("class_body", &["case_class_body.<locals>.Body"]),
    ("except", &[]),
    ("exec", &["<module>", "executed"]),
    ("names", &["größe", "имя", "\u{10400}"]),
    (
        "thread",
        &[
            "Thread._bootstrap",
            "Thread._bootstrap_inner",
            "Thread.run",
            "case_thread.<locals>.thread",
        ],
    ),
    ("fork", &[]),
    ("interpreter", &["<module>"]),
];

/// The Python frames of a stack, root first, without their mark.
pub fn python_frames(stack: &Stack) -> impl Iterator<Item = &str> {
    stack
        .frames
        .iter()
        .filter_map(|frame| frame.strip_suffix("_[p]"))
}

/// Every sample in a `spin_NAME` has the frames that lead to it and no others, and there are some of each.
pub fn check(interpreter: &Interpreter, stacks: &[Stack]) {
    let mut n_samples: BTreeMap<&str, u64> = BTreeMap::new();
    for stack in stacks {
        let frames: Vec<&str> = python_frames(stack).collect();
        let names: Vec<&str> = frames.iter().copied().map(qualname).collect();
        let Some(leaf) = names.last().and_then(|name| name.strip_prefix("spin_")) else {
            continue;
        };
        if stack.truncated.is_some() {
            continue;
        }
        let expected = EXPECTED.iter().find(|(name, _)| *name == leaf);
        let (case, between) = expected.expect("a case for each");
        assert_eq!(names, chain(case, between), "{interpreter}: {case}");
        if *case != "interpreter" {
            assert_eq!(
                frames.last().copied(),
                Some(format!("spin_{case} (spin.py:1)").as_str())
            );
        }
        *n_samples.entry(case).or_default() += stack.samples;
    }
    for (case, _) in EXPECTED {
        let n = n_samples.get(case).copied().unwrap_or(0);
        assert!(
            n >= 5,
            "{interpreter}: {case}: {n} samples of {n_samples:?}"
        );
    }
}

fn chain(case: &str, between: &[&str]) -> Vec<String> {
    let mut chain = match case {
        // It begins in its thread.
        "thread" => Vec::new(),
        case => ["<module>", "run", &format!("case_{case}")]
            .map(str::to_owned)
            .into(),
    };
    for name in between {
        let (name, n) = name.split_once('*').unwrap_or((name, "1"));
        let n = n.parse().expect("a number");
        chain.extend(std::iter::repeat_n(name.to_owned(), n));
    }
    chain.push(format!("spin_{case}"));
    chain
}

/// `A.f` of `A.f (file.py:12)`.
fn qualname(frame: &str) -> &str {
    frame.rsplit_once(" (").map_or(frame, |(name, _)| name)
}
