//! A sampling profiler for Linux benchmark hosts: folded stacks and counter summaries of real processes, every sample accounted for.
//!
//! ```text
//! $ perfd record -o flame.svg -- ./bench   profile a command
//! $ perfd attach 4242 -d 5 -o flame.svg    profile a running process
//! $ perfd stat -r 5 -- ./bench             count events
//! $ perfd doctor                           say what works here
//! ```
//!
//! Standard output carries data alone; what is said to a person goes to standard error.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use super::completions::CompletionsArgs;
use super::config::ConfigArgs;
use super::ctl::CtlArgs;
use super::daemon::DaemonArgs;
use super::doctor::DoctorArgs;
use super::export::ExportArgs;
use super::list::ListArgs;
use super::man::ManArgs;
use super::symbolize::SymbolizeArgs;
use super::{AttachArgs, Exit, RecordArgs, StatArgs};
use super::{
    attach, completions, config, ctl, daemon, doctor, export, hints, list, man, manual, parse,
    record, stat, stdout, symbolize,
};

/// A sampling profiler for Linux: folded stacks and counters of real processes, every sample accounted for
#[derive(Parser)]
#[command(name = "perfd", version, long_about = manual::of(include_str!("app.rs")))]
#[command(disable_help_subcommand = true, subcommand_required = true)]
pub(super) struct Perfd {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Record(Box<RecordArgs>),
    Attach(Box<AttachArgs>),
    Stat(Box<StatArgs>),
    Export(Box<ExportArgs>),
    Symbolize(SymbolizeArgs),
    Daemon(DaemonArgs),
    Ctl(Box<CtlArgs>),
    Config(ConfigArgs),
    Doctor(DoctorArgs),
    List(ListArgs),
    Man(ManArgs),
    Completions(CompletionsArgs),
}

/// The flag table, for what is made from it.
pub fn command() -> clap::Command {
    Perfd::command()
}

/// Runs the command that the arguments (the program's name first) ask for.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if parse::is_asked_for(&args) {
        return parse::run().into();
    }
    let perfd = match Perfd::try_parse_from(args) {
        Ok(perfd) => perfd,
        Err(error) => return refuse(&error).into(),
    };
    // A panic has printed itself; the exit code says that the fault is perfd's.
    let outcome = catch_unwind(AssertUnwindSafe(|| dispatch(perfd.command)));
    let exit = match outcome {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => report(&error),
        Err(_panic) => Exit::Internal,
    };
    exit.into()
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Record(args) => record::run(*args),
        Command::Attach(args) => attach::run(*args),
        Command::Stat(args) => stat::run(*args),
        Command::Ctl(args) => ctl::run(*args),
        Command::Export(args) => export::run(&args),
        Command::Symbolize(args) => symbolize::run(&args),
        Command::Daemon(args) => daemon::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::List(args) => list::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Prints help and version where they belong, and a usage error in perfd's own form.
fn refuse(error: &clap::Error) -> Exit {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = match io::stdout().is_terminal() {
                true => text.ansi().to_string(),
                false => text.to_string(),
            };
            return stdout::print(text.as_bytes()).unwrap_or_else(|error| report(&error));
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say(&text.to_string());
            return Exit::Usage;
        }
        _ => (),
    }
    let text = text.to_string();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let mut said = format!(
        "perfd: {}\n",
        first.strip_prefix("error: ").unwrap_or(first)
    );
    for line in hints::of_usage(error)
        .iter()
        .map(String::as_str)
        .chain(lines)
    {
        said.push_str(&format!("  {}\n", line.trim()));
    }
    say(&said);
    Exit::Usage
}

/// Prints the chain of errors in one line and what to do about it in the lines below.
fn report(error: &anyhow::Error) -> Exit {
    let (class, hints) = hints::of(error);
    let mut said = format!("perfd: {error:#}\n");
    for hint in hints {
        said.push_str(&format!("  {hint}\n"));
    }
    say(&said);
    class.into()
}

/// To standard error; if that is closed there is nobody to tell.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
