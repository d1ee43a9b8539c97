//! Folded stacks: `task;root;…;leaf number`, one line for each distinct stack.
//!
//! What `flamegraph.pl`, `inferno-flamegraph` and speedscope read. Kernel frames end in `_[k]`, inlined ones in `_[i]`,
//! JIT ones in `_[j]`, those of Python in `_[p]`; a stack whose root was not reached has `[truncated: reason]` in the place of what is missing.
//! Lines are sorted and distinct, so that the same profile is the same text; windows are deltas, and the text of
//! several windows one after the other is a valid folded file of the whole. Text is encoded by [`super::escape`].

use std::io::{self, Write};

use super::{Stacks, View};
use crate::model::Profile;

/// Writes the profile's stacks in one view.
pub fn encode(profile: &Profile, view: View, out: &mut impl Write) -> io::Result<()> {
    let mut stacks = Stacks::new(view);
    stacks.add(profile);
    stacks.write(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::*;
    use crate::sink::Measure;

    const WEIGHT: View = View {
        event: EventIdx(0),
        measure: Measure::Weight,
    };

    fn frame(text: &str, kind: NameKind) -> FrameName {
        FrameName {
            text: text.into(),
            kind,
            unnamed: None,
        }
    }

    fn row(comm: &str, ended: Ended, frames: &[&str], weight: u64) -> Row {
        Row {
            task: TaskLabel {
                comm: comm.into(),
                pid: None,
                tid: None,
            },
            ended,
            frames: frames
                .iter()
                .map(|text| frame(text, NameKind::User))
                .collect(),
            weights: vec![Weight {
                total: weight,
                samples: 1,
                squares: 0,
            }],
        }
    }

    fn profile(rows: Vec<Row>) -> Profile {
        Profile {
            run: Arc::new(RunInfo {
                perfd_version: "".into(),
                hostname: String::new(),
                kernel: String::new(),
                target: String::new(),
                events: Vec::new(),
                notes: Vec::new(),
            }),
            span: WindowSpan {
                sequence: 0,
                start: MonoNs(0),
                end: MonoNs(1),
                start_unix_ns: 0,
                is_last: true,
            },
            rows,
            processes: Vec::new(),
            ledger: Ledger::default(),
            whole_run: None,
        }
    }

    fn check(rows: Vec<Row>, view: View, expected: &str) {
        let mut out = Vec::new();
        encode(&profile(rows), view, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn kinds_of_frames_and_broken_roots_are_marked() {
        let mut whole = row("app", Ended::Root, &["main"], 7);
        whole.frames.extend([
            frame("inner", NameKind::Inlined),
            frame("jitted", NameKind::Jit),
            frame("do_syscall_64", NameKind::Kernel),
        ]);
        check(
            vec![
                whole,
                row("app", Ended::CopyTooShort, &["f"], 3),
                row("kworker", Ended::NoUserStack, &[], 2),
            ],
            WEIGHT,
            "app;[truncated: stack copy too short];f 3\n\
             app;main;inner_[i];jitted_[j];do_syscall_64_[k] 7\n\
             kworker 2\n",
        );
    }

    #[test]
    fn equal_lines_are_one_and_empty_ones_none() {
        let mut unnamed = row("a", Ended::Root, &["f"], 2);
        unnamed.frames[0].unnamed = Some(Unnamed::NoSymbols);
        check(
            vec![
                row("a", Ended::Root, &["f"], 1),
                unnamed,
                row("a", Ended::Root, &["g"], 0),
            ],
            WEIGHT,
            "a;f 3\n",
        );
    }

    #[test]
    fn samples_are_shown_where_they_are_asked_for() {
        let view = View {
            measure: Measure::Samples,
            ..WEIGHT
        };
        check(vec![row("a", Ended::Root, &["f"], 900)], view, "a;f 1\n");
        let other = View {
            event: EventIdx(1),
            ..WEIGHT
        };
        check(vec![row("a", Ended::Root, &["f"], 900)], other, "");
    }

    #[test]
    fn the_lines_are_in_the_order_of_their_text() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let names = ["a", "a-", "a b", "a;", "ab", "b", "~", "é", "a\n", "a:"];
        let mut pick = || names[usize::try_from(next() % 10).unwrap()];
        let rows: Vec<Row> = (0..500)
            .map(|idx| row(pick(), Ended::Root, &[pick(), pick(), pick()][..idx % 4], 1))
            .collect();
        let total = rows.len();
        let mut out = Vec::new();
        encode(&profile(rows), WEIGHT, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<(&str, usize)> = text
            .lines()
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(stack, weight)| (stack, weight.parse().unwrap()))
            .collect();
        assert!(lines.windows(2).all(|pair| pair[0].0 < pair[1].0), "{text}");
        assert_eq!(lines.iter().map(|line| line.1).sum::<usize>(), total);
    }
}
