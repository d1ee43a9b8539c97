//! Unwind tables of a program and its libraries: how large they are, and how long it takes until the kernel has all of them.
//!
//! `cargo bench --bench tables -- FILE…`; without files, those of clang, if there is one. Sizes are of rows that say something: what pads blocks
//! is not counted as one. Times are of several runs of what perfd does for a program that has just mapped all of the files, from an
//! empty start: read, build, load into the kernel, show to the walk. Without BPF the time ends with the last table built.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use perfd::bpf::{CountEach, KernelWalk, Python, Room, TableWords};
use perfd::model::{Module, ModuleId, ModuleKind};
use perfd::object::Elf;
use perfd::session::tables::{TABLE_BUDGET, Tables};
use perfd::sys::{self, Waker};
use perfd::unwind::Table;
use rustc_hash::FxHashSet;

const RUNS: usize = 9;

fn main() -> Result<()> {
    let given: Vec<PathBuf> = std::env::args_os()
        .skip(1)
        .filter(|argument| !argument.as_encoded_bytes().starts_with(b"--"))
        .map(PathBuf::from)
        .collect();
    let files = match given.is_empty() {
        true => clang(),
        false => given,
    };
    if files.is_empty() {
        println!("SKIPPED: no clang here, and no files were named");
        return Ok(());
    }
    sizes(&files)?;
    times(&files)
}

/// The files of `clang`, its libraries and the loader among them.
fn clang() -> Vec<PathBuf> {
    let names =
        ["clang", "clang-14", "clang-16", "clang-19"].map(|name| Path::new("/usr/bin").join(name));
    let Some(program) = names.iter().find_map(|path| fs::canonicalize(path).ok()) else {
        return Vec::new();
    };
    let listed = Command::new("ldd").arg(&program).output();
    let listed = listed.map_or_else(|_| Vec::new(), |output| output.stdout);
    let text = String::from_utf8_lossy(&listed);
    let libraries = text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .filter_map(|path| fs::canonicalize(path).ok());
    let files: BTreeSet<PathBuf> = libraries.chain([program.clone()]).collect();
    files.into_iter().collect()
}

#[derive(Clone, Copy, Default)]
struct Size {
    rows: usize,
    perfd: usize,
    blocks: u64,
    allocated: u64,
}

fn sizes(files: &[PathBuf]) -> Result<()> {
    println!("     rows  B/row perfd   in blocks   as allocated  file");
    let mut all = Size::default();
    for path in files {
        let size = size(path).with_context(|| format!("build the table of {}", path.display()))?;
        line(&size, &path.display().to_string());
        all.rows += size.rows;
        all.perfd += size.perfd;
        all.blocks += size.blocks;
        all.allocated += size.allocated;
    }
    line(&all, "all");
    Ok(())
}

fn size(path: &Path) -> Result<Size> {
    let table = Table::build(&Elf::parse(Box::new(File::open(path)?))?)?;
    let words = TableWords {
        first_page: table.first_page(),
        index: table.index(),
        rows: table.rows(),
        rules: table.rules(),
    };
    Ok(Size {
        // A row of 0 is NONE at a page's start, or pads a block.
        rows: table.rows().iter().filter(|row| **row != 0).count(),
        perfd: table.memory(),
        blocks: words.bytes_in_blocks(),
        allocated: words.bytes_in_kernel(),
    })
}

fn line(size: &Size, name: &str) {
    let each = |bytes: u64| match size.rows {
        0 => "-".to_owned(),
        rows => format!("{:.2}", bytes as f64 / rows as f64),
    };
    println!(
        "{:>9}  {:>11} {:>11} {:>14}  {name}",
        size.rows,
        each(size.perfd as u64),
        each(size.blocks),
        each(size.allocated),
    );
}

fn times(files: &[PathBuf]) -> Result<()> {
    let modules: Vec<Arc<Module>> = files
        .iter()
        .map(|path| module(path))
        .collect::<Result<_>>()?;
    let mut runs = Vec::new();
    let mut told = String::new();
    for _ in 0..RUNS {
        let walk = KernelWalk::load(
            1,
            true,
            CountEach::Stack,
            Python::Leave,
            Room::default(),
            [1, 2],
        );
        told = match &walk {
            Ok(_) => format!("all {} in the kernel", modules.len()),
            Err(error) => format!("all {} built; none in the kernel: {error}", modules.len()),
        };
        let loader = walk.as_ref().ok().map(KernelWalk::table_loader);
        let waker = Waker::new()?;
        let mut tables = Tables::start(
            Path::new("/proc"),
            None,
            &waker,
            loader.as_ref(),
            TABLE_BUDGET,
        )?;
        let (start, cpu) = (Instant::now(), sys::cpu_time_of_process());
        for (id, module) in (1..).zip(&modules) {
            tables.want(ModuleId(id), module);
        }
        while tables.wait(FxHashSet::default) {}
        runs.push((
            start.elapsed(),
            Duration::from_nanos(sys::cpu_time_of_process() - cpu),
        ));
    }
    runs.sort_unstable();
    let [least, median, most] = [0, RUNS / 2, RUNS - 1].map(|run| runs[run].0);
    let mut cpu: Vec<Duration> = runs.iter().map(|(_, cpu)| *cpu).collect();
    cpu.sort_unstable();
    let cpu = cpu[RUNS / 2].as_millis();
    let [least, median, most] = [least, median, most].map(|time| time.as_millis());
    println!("{told} in {median} ms [{least}, {most}], {cpu} ms of CPU time; {RUNS} runs");
    Ok(())
}

fn module(path: &Path) -> Result<Arc<Module>> {
    let metadata = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
    Ok(Arc::new(Module {
        kind: ModuleKind::File {
            dev: metadata.dev(),
            inode: metadata.ino(),
        },
        path: path.to_owned(),
        seen_in: None,
    }))
}
