//! Samples one by one, in the layout of `perf script`, so that what reads that reads these: FlameScope, speedscope, the collapsers of
//! FlameGraph and inferno.
//!
//! ```text
//! gzip      42/42      [003]  1234.567890:    1003009 cpu-clock:
//!                 11d6 inner (inlined)
//!                 11d6 main (/usr/bin/gzip)
//!                27249 [unknown] (/usr/lib/libc.so.6)
//!
//! ```
//!
//! Leaf first, a tab before each frame; the number before a name is the place in the module's file, 0 in the kernel and in memory without a file. A record never
//! has fewer than one frame, since collapsers drop those that have none. What is perfd's own word, and no frame of the program's, has
//! the module `perfd`. Text is encoded by [`super::escape`].

use std::io::{self, Write};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::escape;
use crate::model::{
    EventIdx, FrameName, Module, ModuleKind, NameKind, NamedFrame, NamedSample, RunInfo,
};

/// Writes the samples of all events, or of the one that is shown, in their order.
pub fn encode(
    samples: &[NamedSample],
    run: &RunInfo,
    shown: Option<EventIdx>,
    out: &mut impl Write,
) -> io::Result<()> {
    let events: Vec<String> = run
        .events
        .iter()
        .map(|event| event_text(&event.spec.to_string()))
        .collect();
    let mut frames = Frames::default();
    let mut comm = String::new();
    for sample in samples {
        if shown.is_some_and(|shown| shown != sample.event) {
            continue;
        }
        comm.clear();
        escape::script_comm(sample.comm.as_bytes(), &mut comm);
        let micros = sample.time.0 / 1000;
        writeln!(
            out,
            "{comm} {:7}/{:<7} [{:03}] {:5}.{:06}: {:10} {}: ",
            sample.pid.0,
            sample.tid.0,
            sample.cpu.0,
            micros / 1_000_000,
            micros % 1_000_000,
            sample.period,
            events.get(sample.event.0).map_or("", String::as_str),
        )?;
        stack(sample, &mut frames, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn stack(sample: &NamedSample, frames: &mut Frames, out: &mut impl Write) -> io::Result<()> {
    let Some(stack) = &sample.stack else {
        return own_word("[stack table full]", out);
    };
    for frame in stack.iter() {
        out.write_all(frames.lines(frame).as_bytes())?;
    }
    if sample.ended.is_truncated() {
        return own_word(&format!("{}{}]", escape::TRUNCATED, sample.ended), out);
    }
    match stack.is_empty() {
        true => own_word("[no stack]", out),
        false => Ok(()),
    }
}

fn own_word(text: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\t{:16x} {text} (perfd)", 0)
}

/// With two colons or more (`mem:0x401000:x`) they become slashes: collapsers would take what is behind the second one for a frame.
fn event_text(event: &str) -> String {
    match event.matches(':').count() {
        0 | 1 => event.to_owned(),
        _ => event.replace(':', "/"),
    }
}

/// The lines of frames that were seen before. The samples, which hold every frame, live as long.
#[derive(Default)]
struct Frames {
    lines: FxHashMap<(*const FrameName, *const Module, u64), String>,
}

impl Frames {
    /// A line for each function, those that were inlined first.
    fn lines(&mut self, frame: &NamedFrame) -> &str {
        let key = (
            frame.names.as_ptr(),
            Arc::as_ptr(&frame.module),
            frame.offset.0,
        );
        self.lines.entry(key).or_insert_with(|| {
            let mut lines = String::new();
            for name in frame.names.iter().rev() {
                line(name, frame, &mut lines);
            }
            lines
        })
    }
}

fn line(name: &FrameName, frame: &NamedFrame, out: &mut String) {
    let offset = match frame.module.kind {
        // Addresses of this run, which tell an attacker where things are.
        ModuleKind::Kernel | ModuleKind::Anonymous { .. } | ModuleKind::Python => 0,
        ModuleKind::File { .. } | ModuleKind::Vdso => frame.offset.0,
    };
    out.push_str(&format!("\t{offset:16x} "));
    match name.unnamed {
        Some(_) => out.push_str("[unknown]"),
        None => escape::script_symbol(name.text.as_bytes(), out),
    }
    out.push_str(" (");
    match (name.kind, &frame.module.kind) {
        (NameKind::Inlined, _) => out.push_str("inlined"),
        // As perf names them, and readers know them.
        (_, ModuleKind::Kernel) => out.push_str("[kernel.kallsyms]"),
        (_, ModuleKind::Anonymous { .. }) => out.push_str("//anon"),
        (_, ModuleKind::File { .. } | ModuleKind::Vdso | ModuleKind::Python) => {
            escape::script_module(frame.module.path.as_os_str().as_encoded_bytes(), out);
        }
    }
    out.push_str(")\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::*;

    fn name(text: &str, kind: NameKind, unnamed: Option<Unnamed>) -> FrameName {
        FrameName {
            text: text.into(),
            kind,
            unnamed,
        }
    }

    fn module(kind: ModuleKind, path: &str) -> Arc<Module> {
        Arc::new(Module {
            kind,
            path: path.into(),
            seen_in: None,
        })
    }

    const FILE: ModuleKind = ModuleKind::File { dev: 1, inode: 2 };

    fn frame(names: &[FrameName], kind: ModuleKind, path: &str, offset: u64) -> NamedFrame {
        NamedFrame {
            names: names.into(),
            module: module(kind, path),
            offset: FileOffset(offset),
        }
    }

    fn sample(comm: &str, ended: Ended, stack: Option<Vec<NamedFrame>>) -> NamedSample {
        NamedSample {
            time: MonoNs(1_234_567_890_999),
            cpu: Cpu(3),
            pid: Pid(42),
            tid: Tid(43),
            comm: comm.into(),
            event: EventIdx(0),
            period: 1_003_009,
            ended,
            stack: stack.map(Into::into),
        }
    }

    fn run(event: &str) -> RunInfo {
        let event = event.parse::<AskedEvent>().expect("an event");
        RunInfo {
            perfd_version: "".into(),
            hostname: String::new(),
            kernel: String::new(),
            target: String::new(),
            events: vec![SampledEvent {
                spec: event.spec,
                rate: Rate::Period(1),
                modes: Modes::ALL,
            }],
            notes: Vec::new(),
        }
    }

    fn encoded(samples: &[NamedSample], event: &str) -> String {
        let mut out = Vec::new();
        encode(samples, &run(event), None, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn frames_are_as_perf_script_prints_them() {
        let stack = vec![
            frame(
                &[name("do_syscall_64", NameKind::Kernel, None)],
                ModuleKind::Kernel,
                "[kernel]",
                0xffff_ffff_8100_0000,
            ),
            frame(
                &[
                    name("main", NameKind::User, None),
                    name("inner", NameKind::Inlined, None),
                ],
                FILE,
                "/usr/bin/gzip",
                0x11d6,
            ),
            frame(
                &[name("[anon]", NameKind::User, Some(Unnamed::Anonymous))],
                ModuleKind::Anonymous {
                    pid: Pid(42),
                    epoch: 0,
                },
                "[anon]",
                0x7f00_0000_1000,
            ),
            frame(
                &[name(
                    "libc.so.6+0x27249",
                    NameKind::User,
                    Some(Unnamed::NoSymbols),
                )],
                FILE,
                "/usr/lib/libc.so.6",
                0x27249,
            ),
        ];
        assert_eq!(
            encoded(&[sample("gzip", Ended::Root, Some(stack))], "cpu-clock"),
            "gzip      42/43      [003]  1234.567890:    1003009 cpu-clock: \n\
             \t               0 do_syscall_64 ([kernel.kallsyms])\n\
             \t            11d6 inner (inlined)\n\
             \t            11d6 main (/usr/bin/gzip)\n\
             \t               0 [unknown] (//anon)\n\
             \t           27249 [unknown] (/usr/lib/libc.so.6)\n\n"
        );
    }

    #[test]
    fn a_record_says_what_is_missing_and_never_has_no_frame() {
        let f = || frame(&[name("f", NameKind::User, None)], FILE, "/x", 16);
        let text = encoded(
            &[
                sample("a", Ended::NoRow, Some(vec![f()])),
                sample("b", Ended::NoUserStack, Some(vec![])),
                sample("c", Ended::Root, None),
            ],
            "cpu-clock",
        );
        let records: Vec<&str> = text.split_terminator("\n\n").collect();
        for (record, last) in records.iter().zip([
            "\t               0 [truncated: no unwind row] (perfd)",
            "\t               0 [no stack] (perfd)",
            "\t               0 [stack table full] (perfd)",
        ]) {
            assert!(record.ends_with(last), "{record}");
        }
        assert_eq!(records.len(), 3);
    }

    #[test]
    fn an_event_with_more_than_one_colon_has_none() {
        let check = |event: &str, expected: &str| {
            let text = encoded(&[sample("a", Ended::NoUserStack, Some(vec![]))], event);
            let line = text.lines().next().expect("a record");
            assert!(line.ends_with(&format!(" {expected}: ")), "{line}");
        };
        check("cpu-clock:u", "cpu-clock:u");
        check("sched:sched_switch", "sched:sched_switch");
        check("mem:0x401000:x", "mem/0x401000/x");
    }

    #[test]
    fn one_event_is_written_if_it_alone_is_shown() {
        let mut out = Vec::new();
        let mut other = sample("other", Ended::NoUserStack, Some(vec![]));
        other.event = EventIdx(1);
        let samples = [sample("one", Ended::NoUserStack, Some(vec![])), other];
        encode(&samples, &run("cpu-clock"), Some(EventIdx(1)), &mut out).expect("memory");
        assert!(out.starts_with(b"other "));
    }

    /// What no text of a program may look like, or contain: the patterns by which readers know lines.
    #[test]
    fn no_text_of_a_program_can_forge_a_record_or_a_frame() {
        const HOSTILE: [&str; 16] = [
            "x 1/2 [000] 3.4: 5 cycles: ",
            "# comment",
            "#",
            "a\n\nb 1/1 [000] 1.000000: 1 cycles: \n\t 1 forged (x)\n\n",
            "a / b",
            "a 12: b: c",
            "  12 ",
            "f (inlined)",
            "f (/bin/x)\n",
            "(anonymous namespace)::f(int)",
            "a->b->c",
            "f+0x12",
            "[unknown]",
            "[truncated: no unwind row]",
            "\u{2028}\u{85}\r\t",
            "",
        ];
        for hostile in HOSTILE {
            let frames = vec![
                frame(&[name(hostile, NameKind::User, None)], FILE, hostile, 16),
                frame(&[name("main", NameKind::User, None)], FILE, "/bin/x", 17),
            ];
            let text = encoded(&[sample(hostile, Ended::Root, Some(frames))], "cycles");
            let lines: Vec<&str> = text.split('\n').collect();
            let [header, symbol, main, "", ""] = lines[..] else {
                panic!("{hostile:?}: {text}");
            };
            let (comm, rest) = header.split_once("      42/43 ").expect("the pid");
            assert_eq!(rest, "     [003]  1234.567890:    1003009 cycles: ");
            assert_eq!(escape::decode(comm), bytes(hostile, "[no name]"));
            assert!(!comm.starts_with('#') && comm.trim() == comm, "{comm:?}");
            // A word of digits and slashes is the pid, and digits with a colon are the time (of FlameScope, in any line).
            let is_number = |word: &str| {
                !word.is_empty() && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'/'))
            };
            assert!(!comm.split(' ').skip(1).any(is_number), "{comm:?}");
            assert!(!symbol[18..].split(' ').any(|word| {
                word.split_once(':')
                    .is_some_and(|(number, _)| is_number(number))
            }));
            let (function, module) = symbol[18..].rsplit_once(' ').expect("a module");
            assert!(module.starts_with('(') && module.ends_with(')'), "{symbol}");
            assert_eq!(escape::decode(function), bytes(hostile, "[no name]"));
            let module = &module[1..module.len() - 1];
            assert_eq!(escape::decode(module), bytes(hostile, "[unknown]"));
            // What collapsers split, cut or pass over.
            assert!(!function.starts_with('(') && !function.contains("->"));
            assert!(!function.ends_with("+0x12") && function != "[unknown]");
            assert!(!function.starts_with(escape::TRUNCATED));
            assert_eq!(main, "\t              11 main (/bin/x)");
        }
    }

    fn bytes(text: &str, if_empty: &str) -> Vec<u8> {
        let text = if text.is_empty() { if_empty } else { text };
        text.as_bytes().to_vec()
    }
}
