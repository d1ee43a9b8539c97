//! Says what works on this host and what does not, why, and the command that fixes it.
//!
//! Nothing is guessed that can be tried: every kind of event is opened once, as perfd would open it, and the counters of the PMU are
//! found by filling it, which also says how many of them the NMI watchdog or another profiler holds. The exit code is 0 if processes
//! of one's own can be sampled, else 69. At the end stands what perfd does not do yet, on any host.
//!
//! ```text
//! $ perfd doctor
//! ok       own processes           user mode can be sampled
//! limited  kernel part of stacks   left out: … paranoid is 2 …
//!            try: sudo sysctl kernel.perf_event_paranoid=1
//! ok       hardware counters       cycles is counted and sampled
//! limited  PMU                     cpu: 6 counters on each CPU, each for any event; 5 are free; …
//! limited  taken counters          the NMI watchdog holds 1 on each CPU (kernel.nmi_watchdog is 1)
//!            try: sudo sysctl kernel.nmi_watchdog=0
//! …
//! $ perfd doctor --json | jq '.pmus, (.checks[] | select(.status != "ok"))'
//! ```

mod checks;
mod facts;
mod limit_checks;
mod not_yet;
mod pmu;

use std::fmt::Write;
use std::iter::repeat;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use self::checks::{Check, Status};
use self::facts::Facts;
use self::pmu::Pmu;
use super::hints::SETCAP;
use super::{Exit, manual, stdout};
use crate::procfs::SysRoots;

/// Say what works on this host, and what to do about the rest
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("doctor.rs")))]
pub(super) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the doctor says, as `--json` prints it.
#[derive(Serialize)]
struct Findings<'a> {
    perfd: &'static str,
    /// Whether processes of one's own can be sampled.
    can_sample: bool,
    /// The PMUs of the CPUs; none in many virtual machines.
    pmus: &'a [Pmu],
    checks: Vec<Check>,
    not_yet: &'static [&'static str],
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let facts = Facts::gather(&SysRoots::default());
    let findings = Findings {
        perfd: env!("CARGO_PKG_VERSION"),
        can_sample: facts.own_user.is_ok(),
        pmus: &facts.pmus,
        checks: checks::all(&facts),
        not_yet: not_yet::NOT_YET,
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&findings).context("encode the findings")? + "\n",
        false => table(&findings)?,
    };
    stdout::print(text.as_bytes())?;
    Ok(match findings.can_sample {
        true => Exit::Ok,
        false => Exit::Unavailable,
    })
}

fn table(findings: &Findings<'_>) -> anyhow::Result<String> {
    let mut text = String::new();
    for check in &findings.checks {
        let status = match check.status {
            Status::Ok => "ok",
            Status::Limited => "limited",
            Status::No => "no",
        };
        writeln!(text, "{status:<8} {:<23} {}", check.name, check.finding)?;
        let remedies = check.remedies.iter().map(String::as_str);
        for (remedy, word) in remedies.zip(["try:"].into_iter().chain(repeat("or:"))) {
            let remedy = match remedy {
                SETCAP => "give perfd its capabilities (below)",
                other => other,
            };
            writeln!(text, "{:>11}{word:<4} {remedy}", "")?;
        }
    }
    let all_remedies = findings.checks.iter().flat_map(|check| &check.remedies);
    if { all_remedies }.any(|remedy| remedy == SETCAP) {
        writeln!(
            text,
            "\nits capabilities (whoever may run it can then look into every process: keep it to a group):\n  {SETCAP}"
        )?;
    }
    writeln!(text, "\nperfd does not yet, on any host:")?;
    for item in findings.not_yet {
        writeln!(text, "  - {item}")?;
    }
    Ok(text)
}
