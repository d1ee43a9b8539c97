//! What an ELF file tells of itself from the memory of a process, where its section headers are not.

use super::headers::{loaded_notes, read};
use super::{ElfError, ReadAt, note};
use crate::model::BuildId;

/// The build id of a file of which only what is mapped can be read; its offsets are those of the file.
pub fn loaded_build_id(bytes: &dyn ReadAt) -> Result<Option<BuildId>, ElfError> {
    let len = bytes.len();
    let notes = loaded_notes(bytes, len)?;
    Ok(note::build_id_in(notes.into_iter(), |offset, size| {
        read(bytes, len, offset, size).ok()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Elf;

    #[test]
    fn the_first_bytes_of_a_file_tell_what_the_whole_file_does() {
        let path = "/proc/self/exe";
        let mut bytes = std::fs::read(path).expect("ourselves");
        let file = std::fs::File::open(path).expect("ourselves");
        let whole = Elf::parse(Box::new(file)).expect("is elf").build_id();
        assert!(whole.is_some());
        bytes.truncate(4096);
        assert_eq!(loaded_build_id(&bytes).expect("readable"), whole);
        bytes.truncate(64);
        assert!(loaded_build_id(&bytes).is_err());
    }
}
