//! What `record` and `attach` have in common: from the flags to a run, and from its outcome to words and an exit code.

use std::ffi::OsStr;
use std::io::Write;
use std::time::Duration;

use super::args::{BackendChoice, SamplingArgs, WeightUnit};
use super::{Exit, debuginfod};
use crate::debug_files;
use crate::model::{AskedEvent, Fault, FaultClass, Profile};
use crate::parser::{Limits, Parsing};
use crate::procfs::SysRoots;
use crate::session::progress::{self, Status, Talk};
use crate::session::tables::TABLE_BUDGET;
use crate::session::{
    self, Backend, EventChoice, JitReporting, Labels, Observer, Outcome, Spec, Target, report,
};
use crate::sink::{Format, Measure, Place, SinkSpec, same_place_twice};
use crate::symbolize::{self, Inline};

/// Does the run that the flags ask for; `default_output` is where the profile goes without `-o`. Its format is that of the run, if it says
/// none.
pub(super) fn run(
    args: &SamplingArgs,
    target: Target,
    default_output: &str,
) -> anyhow::Result<Exit> {
    let sinks = sinks(args, default_output)?;
    let spec = Spec {
        show: shown(args)?,
        target,
        events: args
            .events()?
            .map_or(EventChoice::Default, EventChoice::Asked),
        rate: args.rate(),
        call_graph: args.call_graph,
        backend: match args.backend {
            BackendChoice::Auto => Backend::Auto,
            BackendChoice::Bpf => Backend::Bpf,
            BackendChoice::Perf => Backend::Perf,
        },
        inherit: !args.no_inherit,
        python: args.python,
        naming: naming(args)?,
        parsing: match args.parse_in_child {
            true => Parsing::InChild(Limits::default()),
            false => Parsing::Here,
        },
        delay: args.delay.unwrap_or_default(),
        duration: args.duration,
        interval: args.interval,
        max_overhead: args.max_overhead,
        timestamps: sinks.iter().any(|sink| sink.format == Format::Samples),
        jit: match args.jit {
            true => JitReporting::On,
            false => JitReporting::Off,
        },
        labels: Labels {
            pid: args.pid_label,
            tid: args.tid_label,
        },
        ring_pages: args.ring_pages,
        table_budget: TABLE_BUDGET,
        sinks,
        measure: match args.unit {
            WeightUnit::Weight => Measure::Weight,
            WeightUnit::Samples => Measure::Samples,
        },
        roots: SysRoots::default(),
    };
    let mut terminal = Terminal::new(args.quiet);
    let outcome = session::run(&spec, &mut terminal)?;
    outcome.notes.iter().for_each(|note| terminal.note(note));
    terminal.summary(&spec.sinks, &outcome);
    conclude(args, &outcome)
}

/// How frames are named.
fn naming(args: &SamplingArgs) -> Result<symbolize::Config, Fault> {
    Ok(symbolize::Config {
        inline: match args.no_inline {
            true => Inline::Hide,
            false => Inline::Show,
        },
        shown: args.shown(),
        cache: args.cache.folder()?,
        debug_files: debug_files::Config {
            debuginfod: debuginfod::config(args.debuginfod.as_deref())?,
            ..debug_files::Config::default()
        },
        ..symbolize::Config::default()
    })
}

/// Whether standard output is one of the places that the profile goes to.
pub(super) fn takes_stdout(args: &SamplingArgs) -> bool {
    args.outputs
        .iter()
        .any(|output| output == "-" || output.ends_with(":-"))
}

/// Where the profile goes; `default_output` without `-o`.
pub(super) fn sinks(args: &SamplingArgs, default_output: &str) -> anyhow::Result<Vec<SinkSpec>> {
    let usage = |text: String| Fault::new(FaultClass::Usage, text);
    let unsaid = match args.timestamps {
        true => Format::Samples,
        false => Format::Folded,
    };
    let mut typed: Vec<&str> = args.outputs.iter().map(String::as_str).collect();
    if typed.is_empty() {
        typed.push(default_output);
    }
    let sinks = sink_specs(&typed, unsaid)?;
    if args.timestamps && sinks.iter().all(|sink| sink.format != Format::Samples) {
        let text =
            "--timestamps: every -o names another format, so that no output would hold the samples";
        return Err(usage(text.to_owned()).hint("try: -o out.samples").into());
    }
    Ok(sinks)
}

/// Outputs as they were typed; one that says no format has the one of `unsaid`.
pub(super) fn sink_specs(typed: &[&str], unsaid: Format) -> Result<Vec<SinkSpec>, Fault> {
    let usage = |text: String| Fault::new(FaultClass::Usage, text);
    let parse = |output: &&str| {
        SinkSpec::parse(OsStr::new(output), unsaid)
            .map_err(|error| usage(format!("-o {output}: {error}")))
    };
    let sinks: Vec<SinkSpec> = typed.iter().map(parse).collect::<Result<_, _>>()?;
    match same_place_twice(&sinks) {
        Some(twice) => Err(usage(format!("-o {twice} is given twice"))),
        None => Ok(sinks),
    }
}

/// The position of `--show` among the events.
pub(super) fn shown(args: &SamplingArgs) -> anyhow::Result<Option<usize>> {
    let Some(shown) = &args.show else {
        return Ok(None);
    };
    let events = args.events()?.unwrap_or_default();
    let is_shown = |event: &AskedEvent| {
        event.spec == shown.spec && (shown.rate.is_none() || event.rate == shown.rate)
    };
    if let Some(idx) = events.iter().position(is_shown) {
        return Ok(Some(idx));
    }
    let known: Vec<String> = events.iter().map(AskedEvent::to_string).collect();
    let hint = match known.is_empty() {
        true => "name the events with -e".to_owned(),
        false => format!("the events are {}", known.join(", ")),
    };
    Err(Fault::new(
        FaultClass::Usage,
        format!("--show {shown} is not one of the events"),
    )
    .hint(hint)
    .into())
}

/// An output that failed outweighs a bad account, and that the command's own status.
pub(super) fn conclude(args: &SamplingArgs, outcome: &Outcome) -> anyhow::Result<Exit> {
    let mut failures = outcome.outputs.iter().flat_map(|output| &output.failures);
    if let Some(first) = failures.next() {
        let mut lines = first.lines();
        let mut fault = Fault::new(FaultClass::OutputFailed, lines.next().unwrap_or_default());
        for line in lines.chain(failures.flat_map(|failure| failure.lines())) {
            fault = fault.hint(line.trim_start());
        }
        return Err(fault.into());
    }
    let account = outcome
        .last
        .as_deref()
        .and_then(|profile| profile.whole_run.as_deref());
    if args.strict
        && let (Some((_, ledger)), Some(profile)) = (account, &outcome.last)
    {
        let verdict = report::verdict(ledger);
        if !verdict.is_good() {
            let mut text = String::new();
            let _ = report::write_verdict(&profile.run, &verdict, &mut text);
            say(&text);
            return Ok(Exit::StrictFailed);
        }
    }
    Ok(outcome
        .status
        .map_or(Exit::Ok, |status| Exit::Command(status.exit_code())))
}

/// The person at standard error.
pub(super) struct Terminal {
    is_quiet: bool,
    progress: Option<progress::Progress<std::io::Stderr>>,
}

impl Terminal {
    pub(super) fn new(is_quiet: bool) -> Terminal {
        let talk = if is_quiet { Talk::Quiet } else { Talk::Normal };
        Terminal {
            is_quiet,
            progress: progress::Progress::on_stderr(talk),
        }
    }

    pub(super) fn summary(&mut self, sinks: &[SinkSpec], outcome: &Outcome) {
        if self.is_quiet {
            return;
        }
        let Some(profile) = outcome.last.as_deref() else {
            return;
        };
        let mut text = String::new();
        write_summary(profile, outcome.elapsed, &mut text);
        for (sink, output) in sinks.iter().zip(&outcome.outputs) {
            // What has failed is told last, with the place that has the profile instead.
            if sink.place != Place::Stdout && output.failures.is_empty() {
                for place in &output.places {
                    text.push_str(&format!("profile  {place}\n"));
                }
            }
        }
        say(&text);
    }
}

fn write_summary(profile: &Profile, elapsed: Duration, text: &mut String) {
    let Some((counts, ledger)) = profile.whole_run.as_deref() else {
        return;
    };
    // Writing into a string cannot fail.
    let _ = report::write_counters(counts, elapsed, text);
    let _ = report::write_ledger(&profile.run, ledger, text);
    let _ = report::write_jit(&profile.run, ledger, text);
}

impl Observer for Terminal {
    fn note(&mut self, note: &str) {
        if !self.is_quiet {
            say(&format!("perfd: {note}\n"));
        }
    }

    fn progress(&mut self, status: Status) {
        if let Some(progress) = &mut self.progress {
            progress.show(&status);
        }
    }

    fn sampling_ended(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
    }
}

/// Standard error may be closed; there is nobody left to tell.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
}
