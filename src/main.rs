//! The `perfd` program: the exit code of [`perfd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    perfd::cli::run(std::env::args_os())
}
