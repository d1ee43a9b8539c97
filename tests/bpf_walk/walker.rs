//! `walk.c`: compiled, fed with a scene, its answers read.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use perfd::model::{AddressSpace, Frame};

use crate::blocks::Blocks;
use crate::scene::{Code, Sample, Scene};

/// The compiled program.
pub struct Walker {
    folder: tempfile::TempDir,
}

/// What the C walk made of a sample.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Frames as they are in the kernel: see [`wire_frame`].
    pub frames: Vec<u64>,
    /// `enum ended`.
    pub ended: u64,
    /// The address at which the walk stands.
    pub address: u64,
}

/// `walk.c`.
pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bpf_walk/walk.c")
}

impl Walker {
    /// Compiles it.
    pub fn compile() -> Walker {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror"])
            // Both are meant for clang.
            .args(["-Wno-unknown-pragmas", "-Wno-unused-parameter", "-o"])
            .args([&folder.path().join("walk"), &source()])
            .output()
            .expect("cc is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cc: {said}");
        Walker { folder }
    }

    /// Walks all samples of a scene.
    pub fn walk(&self, scene: &Scene) -> Vec<Answer> {
        let mut input = tempfile::tempfile().expect("a temporary file");
        write_scene(scene, &mut input).expect("the scene is written");
        input.rewind().expect("a regular file");
        let output = Command::new(self.folder.path().join("walk"))
            .stdin(input)
            .output()
            .expect("the walk runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "walk: {said}");
        let mut words = output
            .stdout
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
        let mut answers = Vec::with_capacity(scene.samples.len());
        while let Some(ended) = words.next() {
            let [n_frames, address] = [(); 2].map(|()| words.next().expect("a whole answer"));
            let n_frames = usize::try_from(n_frames).expect("few");
            answers.push(Answer {
                frames: words.by_ref().take(n_frames).collect(),
                ended,
                address,
            });
        }
        assert_eq!(answers.len(), scene.samples.len(), "an answer each");
        answers
    }
}

/// A frame as `bpf/wire.h` has it: bit 63 return address, bits 62–47 module, bits 46–0 offset.
pub fn wire_frame(frame: &Frame) -> u64 {
    let is_return = u64::from(frame.kind == perfd::model::AddressKind::Return);
    assert!(frame.offset.0 < 1 << 47 && frame.module.0 < 1 << 16);
    is_return << 63 | u64::from(frame.module.0) << 47 | frame.offset.0
}

fn write_scene(scene: &Scene, file: &mut File) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(file);
    words(&mut file, &[scene.modules.len() as u64])?;
    for code in &scene.modules {
        let blocks = match code {
            Code::Pending => Blocks::none(0),
            Code::Table(table) => Blocks::of(table),
            Code::None => Blocks::none(2),
        };
        for number in [
            blocks.state,
            blocks.first_page,
            blocks.n_pages,
            blocks.rows,
            blocks.rules,
            blocks.n_rules,
            // The table's number in an array of maps, which there is not.
            0,
        ] {
            file.write_all(&number.to_le_bytes())?;
        }
        words(&mut file, &[blocks.n_blocks() as u64])?;
        file.write_all(&blocks.bytes)?;
    }
    words(&mut file, &[scene.spaces.len() as u64])?;
    for space in &scene.spaces {
        write_space(space, &mut file)?;
    }
    words(&mut file, &[scene.samples.len() as u64])?;
    for sample in &scene.samples {
        write_sample(sample, &mut file)?;
    }
    file.flush()
}

fn write_space(space: &AddressSpace, file: &mut impl Write) -> std::io::Result<()> {
    words(file, &[space.iter().count() as u64])?;
    for mapping in space.iter() {
        let bias = mapping.file_offset.0.wrapping_sub(mapping.start.0);
        let module = u64::from(mapping.module.0);
        words(file, &[mapping.start.0, mapping.end.0, bias, module])?;
    }
    Ok(())
}

fn write_sample(sample: &Sample, file: &mut impl Write) -> std::io::Result<()> {
    let registers = &sample.registers;
    words(
        file,
        &[
            registers.pc,
            registers.sp,
            registers.fp,
            registers.drap,
            registers.link,
            registers.base,
            u64::from(registers.in_syscall),
            sample.space as u64,
            sample.stack.len() as u64,
        ],
    )?;
    file.write_all(&sample.stack)
}

fn words(file: &mut impl Write, words: &[u64]) -> std::io::Result<()> {
    words
        .iter()
        .try_for_each(|word| file.write_all(&word.to_le_bytes()))
}
