//! The `perfd` program: the exit code of [`perfd::cli`].

fn main() {}
