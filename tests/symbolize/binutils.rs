//! The same question to binutils' `addr2line`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use perfd::object::LinkedAddress;
use perfd::symbolize::Inline;

use crate::support::skip;
use crate::workbench::{elf_of, frame, module_of, resolver};

/// Asks binutils for the same chains, outermost first.
fn addr2line(path: &Path, addresses: &[LinkedAddress]) -> Option<Vec<Vec<String>>> {
    let mut child = Command::new("addr2line")
        .args(["-a", "-f", "-i", "-C", "-e"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().expect("piped");
    let questions: String = addresses
        .iter()
        .map(|address| format!("{:#x}\n", address.0))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(questions.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads");
    let mut answers: Vec<Vec<String>> = Vec::new();
    let mut is_name = true;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if line.starts_with("0x") {
            answers.push(Vec::new());
            is_name = true;
            continue;
        }
        if is_name && let Some(answer) = answers.last_mut() {
            answer.insert(0, line.to_owned());
        }
        is_name = !is_name;
    }
    Some(answers)
}

/// Compares all named addresses of `.text` with binutils, whose names `normal` brings into our form.
pub fn check_against_addr2line(path: &Path, normal: impl Fn(&str) -> String) {
    let elf = elf_of(path);
    let text = elf.section(".text").expect("readable").expect("there");
    let addresses: Vec<LinkedAddress> = (0..text.bytes.len() as u64)
        .step_by(1 + text.bytes.len() / 1500)
        .map(|distance| LinkedAddress(text.address.0 + distance))
        .collect();
    let Some(answers) = addr2line(path, &addresses) else {
        skip("no addr2line");
        return;
    };
    assert_eq!(answers.len(), addresses.len());
    let mut resolver = resolver(Inline::Show);
    let module = module_of(path);
    let mut n_compared = 0;
    for (address, theirs) in addresses.iter().zip(&answers) {
        let offset = elf.file_offset(*address).expect("in a segment");
        let ours = resolver.name(&module, frame(offset.0));
        if ours.iter().any(|name| name.unnamed.is_some()) {
            continue;
        }
        n_compared += 1;
        let ours: Vec<&str> = ours.iter().map(|name| &*name.text).collect();
        let theirs: Vec<String> = theirs.iter().map(|name| normal(name)).collect();
        assert_eq!(ours, theirs, "at {:#x} of {}", address.0, path.display());
    }
    assert!(
        n_compared * 10 > addresses.len() * 7,
        "{n_compared} of {} addresses have names",
        addresses.len()
    );
}
