//! A Go program, built in ways that leave more or less of what tells its names; and a resolver for files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use perfd::model::{AddressKind, FileOffset, Frame, FrameName, Module, ModuleId, ModuleKind};
use perfd::object::{Elf, LinkedAddress};
use perfd::symbolize::{Config, Resolver, Shown};

use crate::support::skip;

/// With two hexadecimal addresses and a step: what the runtime knows of addresses between them. With a number: work of so many rounds.
const SOURCE: &str = r#"
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
)

type shape interface{ area() uint64 }
type square struct{ side uint64 }

func (s *square) area() uint64 { return s.side * s.side }

func small(x uint64) uint64 { return x*6364136223846793005 + 1442695040888963407 }

func middle(x uint64) uint64 { return small(small(x)) ^ x }

//go:noinline
func leaf(n uint64) uint64 {
	for i := uint64(0); i < 20000; i++ {
		n = middle(n) ^ i
	}
	return n
}

//go:noinline
func outer(s shape, n uint64) uint64 { return leaf(n) + leaf(s.area()) }

func work(wg *sync.WaitGroup, rounds int, sums []uint64) {
	defer wg.Done()
	for round := 0; round < rounds; round++ {
		names := []string{}
		for i := 0; i < 300; i++ {
			names = append(names, fmt.Sprintf("%d-%s", i, strings.Repeat("x", i%7)))
		}
		sort.Slice(names, func(a, b int) bool { return names[a] < names[b] })
		sums[0] += outer(&square{uint64(round)}, uint64(len(names[0])))
	}
}

func main() {
	if len(os.Args) == 4 {
		start, _ := strconv.ParseUint(os.Args[1], 16, 64)
		end, _ := strconv.ParseUint(os.Args[2], 16, 64)
		step, _ := strconv.ParseUint(os.Args[3], 10, 64)
		for pc := start; pc < end; pc += step {
			frame, _ := runtime.CallersFrames([]uintptr{uintptr(pc) + 1}).Next()
			if frame.PC != uintptr(pc) || frame.Function == "" {
				continue
			}
			fmt.Printf("%x\t%s\t%s\t%d\n", pc, frame.Function, frame.File, frame.Line)
		}
		return
	}
	rounds, _ := strconv.Atoi(os.Args[1])
	var wg sync.WaitGroup
	sums := make([]uint64, 4*8)
	for i := 0; i < 4; i++ {
		wg.Add(1)
		go work(&wg, rounds, sums[8*i:])
	}
	wg.Wait()
	fmt.Fprintln(os.Stderr, sums[0])
}
"#;

/// What is left of the program.
#[derive(Clone, Copy, Debug)]
pub enum Build {
    /// Symbols and DWARF.
    Full,
    /// `-ldflags='-s -w'`
    Stripped,
    /// The same, to be loaded anywhere.
    StrippedPie,
    /// The same, linked by the C compiler, which puts Go's table into another section.
    StrippedPieByCc,
}

/// A folder with built programs.
pub struct Go(tempfile::TempDir);

impl Go {
    /// `None` if there is no Go here, which has then been said.
    pub fn new() -> Option<Go> {
        if Command::new("go").arg("version").output().is_err() {
            skip("no go");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("main.go"), SOURCE).expect("written");
        Some(Go(folder))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn build(&self, build: Build) -> PathBuf {
        let program = self.path(&format!("{build:?}").to_lowercase());
        let options: &[&str] = match build {
            Build::Full => &[],
            Build::Stripped => &["-ldflags=-s -w"],
            Build::StrippedPie => &["-buildmode=pie", "-ldflags=-s -w"],
            Build::StrippedPieByCc => &["-buildmode=pie", "-ldflags=-s -w -linkmode=external"],
        };
        let output = Command::new("go")
            .arg("build")
            .args(options)
            .arg("-o")
            .args([&program, &self.path("main.go")])
            .current_dir(self.0.path())
            .env("GOFLAGS", "-mod=mod")
            .env("GO111MODULE", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOCACHE", cache())
            .output()
            .expect("go starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{build:?}: {said}");
        program
    }
}

/// One for all tests of this build, so that the standard library is compiled once.
fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("go-cache")
}

pub fn elf_of(path: &Path) -> Elf {
    Elf::parse(Box::new(fs::File::open(path).expect("opened"))).expect("is elf")
}

/// The linked addresses of a program's code.
pub fn code_of(elf: &Elf) -> std::ops::Range<u64> {
    let code = elf
        .segments()
        .iter()
        .find(|segment| segment.is_executable());
    let code = code.expect("code");
    code.address.0..code.address.0 + code.file_size
}

/// Names of one file.
pub struct Names {
    elf: Elf,
    module: Module,
    resolver: Resolver,
}

impl Names {
    pub fn of(path: &Path, shown: Shown) -> Names {
        let metadata = fs::metadata(path).expect("there");
        Names {
            elf: elf_of(path),
            module: Module {
                kind: ModuleKind::File {
                    dev: metadata.dev(),
                    inode: metadata.ino(),
                },
                path: path.to_owned(),
                seen_in: None,
            },
            resolver: Resolver::new(Config {
                shown,
                ..Config::default()
            }),
        }
    }

    /// Outermost first.
    pub fn at(&mut self, address: u64) -> Vec<FrameName> {
        let offset = self.elf.file_offset(LinkedAddress(address));
        let frame = Frame {
            module: ModuleId(1),
            kind: AddressKind::Interrupted,
            offset: offset.unwrap_or(FileOffset(address)),
        };
        self.resolver.name(&self.module, frame)
    }
}
