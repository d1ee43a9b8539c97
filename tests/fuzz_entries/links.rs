//! Sections by which a file leads to its debug information, or carries a part of it.

use std::hint::black_box;

use perfd::debug_files;
use perfd::object::Elf;

use super::made::{file_of, section};

/// `.gnu_debuglink` and `.gnu_debugaltlink`.
pub fn debug_links(bytes: &[u8]) {
    let elf = with_section(".gnu_debuglink", bytes);
    if let Ok(Some(link)) = elf.debug_link() {
        assert!(!link.file_name.is_empty() && !link.file_name.contains(&b'/'));
    }
    let elf = with_section(".gnu_debugaltlink", bytes);
    if let Ok(Some(link)) = elf.alternate_link() {
        assert!(!link.path.is_empty());
    }
}

/// The xz stream of `.gnu_debugdata`.
pub fn mini_debug_info(bytes: &[u8]) {
    let _ = black_box(debug_files::mini(&with_section(".gnu_debugdata", bytes)));
}

fn with_section(name: &str, bytes: &[u8]) -> Elf {
    Elf::parse(Box::new(file_of(&[section(name, bytes)]))).expect("it is one")
}
