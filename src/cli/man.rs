//! Prints the man pages, made from the same table as `--help`: perfd(1), then one page for each command.
//!
//! ```text
//! $ perfd man | man -l -
//! $ perfd man record > perfd-record.1
//! ```

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{Exit, app, manual, stdout};
use crate::model::{Fault, FaultClass};

/// Print the man pages
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("man.rs")))]
pub(super) struct ManArgs {
    /// Print this command's page alone
    command: Option<String>,
}

pub(super) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let mut perfd = app::Perfd::command();
    // Gives the commands their full names, `perfd-record`.
    perfd.build();
    let mut text = Vec::new();
    let commands = perfd.get_subcommands().filter(|it| it.get_name() != "help");
    match &args.command {
        None => {
            render(&perfd, &mut text)?;
            for command in commands {
                render(command, &mut text)?;
            }
        }
        Some(name) => match { commands }.find(|command| command.get_name() == name) {
            Some(command) => render(command, &mut text)?,
            None => {
                return Err(
                    Fault::new(FaultClass::Usage, format!("no command {name:?}"))
                        .hint("try: perfd --help")
                        .into(),
                );
            }
        },
    }
    stdout::print(&text)
}

fn render(command: &clap::Command, text: &mut Vec<u8>) -> anyhow::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    clap_mangen::Man::new(command.clone())
        .title(name)
        .manual("perfd manual")
        .render(text)
        .context("render a man page")
}
