//! Prints completions for a shell, made from the same table as `--help`.
//!
//! ```text
//! $ perfd completions bash > ~/.local/share/bash-completion/completions/perfd
//! $ perfd completions zsh > ~/.zfunc/_perfd
//! $ perfd completions fish > ~/.config/fish/completions/perfd.fish
//! ```

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::shells::{Bash, Fish, Zsh};

use super::{Exit, app, manual, stdout};

/// Print completions for a shell
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("completions.rs")))]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut command = app::Perfd::command();
    let mut text = Vec::new();
    match args.shell {
        Shell::Bash => clap_complete::generate(Bash, &mut command, "perfd", &mut text),
        Shell::Zsh => clap_complete::generate(Zsh, &mut command, "perfd", &mut text),
        Shell::Fish => clap_complete::generate(Fish, &mut command, "perfd", &mut text),
    }
    stdout::print(&text)
}
