//! What the file of a Python interpreter says of itself.

use std::hint::black_box;

use perfd::object::Elf;
use perfd::python::PythonFile;

use super::made::{DYNSYM, STRTAB, Section, file_with_data};

/// Where the data is linked for.
const DATA: u64 = 0x2000;
const SYMBOLS: [(&str, u64); 5] = [
    ("Py_Version", DATA),
    ("_PyRuntime", DATA + 4),
    ("PyCode_Type", 0x1010),
    ("_PyEval_EvalFrameDefault", 0x1020),
    ("Py_BytesMain", 0x1040),
];

/// The version and, behind it, the table that describes the structs, in a file that has all the symbols.
pub fn python(bytes: &[u8]) {
    let mut names = vec![0];
    let mut symbols = vec![0; 24];
    for (name, address) in SYMBOLS {
        let at = u32::try_from(names.len()).expect("small");
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        symbols.extend_from_slice(&at.to_le_bytes());
        // A global function of the first section.
        symbols.extend_from_slice(&[0x12, 0, 1, 0]);
        symbols.extend_from_slice(&address.to_le_bytes());
        symbols.extend_from_slice(&16u64.to_le_bytes());
    }
    let section = |name, kind, link, bytes| Section {
        name,
        kind,
        link,
        bytes,
    };
    let file = file_with_data(
        &[
            section(".dynsym", DYNSYM, 2, &symbols),
            section(".dynstr", STRTAB, 0, &names),
        ],
        DATA,
        bytes,
    );
    let elf = Elf::parse(Box::new(file)).expect("it is one");
    let found = black_box(PythonFile::read(&elf, "python3"));
    assert!(found != Ok(None), "the symbols are there");
}
