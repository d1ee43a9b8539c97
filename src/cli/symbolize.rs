//! Says which functions and which lines of the source addresses in a file are: what profiles are named by, by itself.
//!
//! With `-e FILE`, addresses that the file was linked for are read from the command line, or one in a line from standard input, and
//! answered as `addr2line` does, whose flags these are. Without it, lines are `module offset` or `module+0xoffset`: a path and an offset in that file,
//! as perfd counts them in frames that have no name. What is unknown is `??`. What is learnt
//! of a large file is kept in `~/.cache/perfd/names`, so that it is not made again.
//!
//! ```text
//! $ cc -O2 -g -o square square.c
//! $ perfd symbolize -f -i -e square 0x1050
//! square
//! /src/square.c:2
//! main
//! /src/square.c:3
//! $ echo 'square+0x1050' | perfd symbolize -f
//! square
//! /src/square.c:2
//! ```

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, cache, debuginfod, manual};
use crate::debug_files;
use crate::session::symbolize::{self, Input, Spec, Style, What};
use crate::symbolize::{Config, Wanted};
use crate::sys;

/// Say which functions and lines addresses are
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("symbolize.rs")))]
pub(super) struct SymbolizeArgs {
    /// The file that the addresses are in; without it, each line names its own
    #[arg(short = 'e', long = "exe", value_name = "FILE")]
    exe: Option<PathBuf>,

    /// Write names of functions, before their places
    #[arg(short = 'f', long)]
    functions: bool,

    /// Write the functions too that the one at the address was inlined into
    #[arg(short = 'i', long = "inlines")]
    inlines: bool,

    /// Demangle names
    #[arg(short = 'C', long)]
    demangle: bool,

    /// Write each address before what it is
    #[arg(short = 'a', long)]
    addresses: bool,

    /// Write all of a function in one line
    #[arg(short = 'p', long = "pretty-print")]
    pretty: bool,

    /// Write files without their folders
    #[arg(short = 's', long)]
    basenames: bool,

    /// Ask debuginfod servers for debug files that are not on this host: these, or without a value those in DEBUGINFOD_URLS
    #[arg(long, value_name = "URL[,URL…]", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    debuginfod: Option<String>,

    #[command(flatten)]
    cache: cache::CacheArgs,

    /// Addresses; without any they are read from standard input
    #[arg(value_name = "ADDRESS", requires = "exe")]
    questions: Vec<String>,
}

pub(super) fn run(args: &SymbolizeArgs) -> anyhow::Result<Exit> {
    let spec = Spec {
        what: match &args.exe {
            Some(exe) => What::AddressesIn(exe.clone()),
            None => What::ModulesAndOffsets,
        },
        style: Style {
            addresses: args.addresses,
            functions: args.functions,
            inlines: args.inlines,
            demangle: args.demangle,
            pretty: args.pretty,
            basenames: args.basenames,
        },
        config: Config {
            wanted: Wanted {
                linkage: args.functions && !args.demangle,
                places: true,
            },
            ready_texts: 24 << 20,
            cache: args.cache.folder()?,
            debug_files: debug_files::Config {
                debuginfod: debuginfod::config(args.debuginfod.as_deref())?,
                ..debug_files::Config::default()
            },
            ..Config::default()
        },
    };
    let mut input: Box<dyn Input> = match args.questions.is_empty() {
        true => Box::new(StandardInput(
            io::stdin().as_fd().try_clone_to_owned()?.into(),
        )),
        false => Box::new(Given(Cursor::new(args.questions.join("\n").into_bytes()))),
    };
    let outcome = symbolize::run(&spec, &mut *input, &mut io::stdout().lock());
    match outcome {
        // A reader that has gone (`perfd symbolize … | head`) is not an error.
        Err(error) if is_broken_pipe(&error) => Ok(Exit::Ok),
        Err(error) => Err(error),
        Ok(notes) => {
            let mut stderr = io::stderr().lock();
            for note in notes {
                // Standard error may be closed; there is nobody left to tell.
                let _ = writeln!(stderr, "perfd: {note}");
            }
            Ok(Exit::Ok)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Read without a buffer of its own: whether there is more is asked of the system.
struct StandardInput(File);

impl Read for StandardInput {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Input for StandardInput {
    fn has_more(&self) -> bool {
        sys::has_input(&self.0)
    }
}

/// The addresses of the command line.
struct Given(Cursor<Vec<u8>>);

impl Read for Given {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Input for Given {
    fn has_more(&self) -> bool {
        true
    }
}
