//! The names of one module: its file, opened once, and the chain of sources over it.

use std::path::Path;

use super::confine::confined;
use super::dwarf::{Dwarf, Opened};
use super::elf_symbols::ElfSymbols;
use super::{Config, Corrupt, Inline, NameSource, SourceName};
use crate::debug_files::{self, DebugFile, DebugFiles, Origin};
use crate::model::{FileOffset, Module, ModuleKind, Unnamed};
use crate::object::{Elf, LinkedAddress};
use crate::procfs::module_file::{self, OpenError};

/// A module that was unloaded so often shares the budget with one of its size: it gets along with its symbols.
const MAX_LOADS: u32 = 8;

/// A module whose file is open. The sources over it can be dropped and made again.
pub(super) struct ModuleNames {
    elf: Elf,
    /// The file with what was split off from it, open too.
    separate: Option<DebugFile>,
    /// In the order they are asked; `None` while they are not loaded.
    sources: Option<Vec<Box<dyn NameSource>>>,
    /// Number of times that they have been loaded.
    n_loads: u32,
}

impl ModuleNames {
    /// Opens the module's file, and its debug file if it has one; loads nothing yet.
    pub(super) fn open(
        proc_root: &Path,
        debug_files: &DebugFiles,
        module: &Module,
    ) -> Result<ModuleNames, Unnamed> {
        let bytes = module_file::open(proc_root, module).map_err(|error| match error {
            OpenError::Unreadable { .. } | OpenError::NotRegular(_) => Unnamed::FileUnreadable,
            OpenError::Changed(_) => Unnamed::FileChanged,
            OpenError::NoFile => Unnamed::Anonymous,
        })?;
        let elf = Elf::parse(bytes).map_err(|_| Unnamed::FileCorrupt)?;
        let separate = match module.kind {
            ModuleKind::File { .. } if !elf.has_debug_info() => {
                debug_files.separate(&elf, &Origin::of(module))
            }
            _ => None,
        };
        Ok(ModuleNames {
            elf,
            separate,
            sources: None,
            n_loads: 0,
        })
    }

    /// The names at `offset`, outermost first, never empty; or why there are none.
    ///
    /// [`Unnamed::FileCorrupt`] is a verdict on the whole module: it must not be asked again.
    pub(super) fn names(
        &mut self,
        config: &Config,
        offset: FileOffset,
    ) -> Result<Vec<SourceName>, Unnamed> {
        let Some(address) = self.elf.linked_address(offset) else {
            return Err(Unnamed::NotCovered);
        };
        let sources = match &mut self.sources {
            Some(sources) => sources,
            unloaded => {
                self.n_loads += 1;
                // What is built from the sections takes about as much again.
                let max_dwarf = match self.n_loads {
                    0..=MAX_LOADS => config.memory_budget / 2,
                    _ => 0,
                };
                let separate = self.separate.as_ref().map(|found| &found.elf);
                let loaded = load(&self.elf, separate, max_dwarf);
                unloaded.insert(loaded.map_err(|Corrupt| Unnamed::FileCorrupt)?)
            }
        };
        if sources.is_empty() {
            return Err(Unnamed::NoSymbols);
        }
        ask(sources, address, config.inline)
            .map_err(|Corrupt| Unnamed::FileCorrupt)?
            .ok_or(Unnamed::NotCovered)
    }

    /// Bytes of memory held, estimated.
    pub(super) fn memory(&self) -> usize {
        self.sources
            .iter()
            .flatten()
            .map(|source| source.memory())
            .sum()
    }

    /// Gives the memory back. The file stays open: its process may be gone when it is needed again.
    pub(super) fn unload(&mut self) {
        self.sources = None;
    }
}

/// The sources that a file has, with those of its debug file; DWARF only up to a size.
fn load(
    elf: &Elf,
    separate: Option<&Elf>,
    max_dwarf: usize,
) -> Result<Vec<Box<dyn NameSource>>, Corrupt> {
    let mut sources = separate.map_or_else(Vec::new, |separate| {
        // What is wrong with the debug file costs what it would have given.
        of_one_file(separate, max_dwarf).unwrap_or_default()
    });
    sources.extend(of_one_file(elf, max_dwarf)?);
    if !elf.has_symbol_table() && separate.is_none_or(|separate| !separate.has_symbol_table()) {
        sources.extend(mini(elf));
    }
    Ok(sources)
}

fn of_one_file(elf: &Elf, max_dwarf: usize) -> Result<Vec<Box<dyn NameSource>>, Corrupt> {
    let mut sources: Vec<Box<dyn NameSource>> = Vec::new();
    if let Opened::Dwarf(dwarf) = Dwarf::open(elf, max_dwarf)? {
        sources.push(dwarf);
    }
    let symbols = elf.symbols().map_err(|_| Corrupt)?;
    if !symbols.is_empty() {
        sources.push(Box::new(ElfSymbols::new(symbols)));
    }
    Ok(sources)
}

/// The symbols that a stripped file carries in itself, compressed.
fn mini(elf: &Elf) -> Option<Box<dyn NameSource>> {
    let mini = confined(|| debug_files::mini(elf)).ok()?.ok()??;
    let symbols = mini.symbols().ok()?;
    Some(Box::new(ElfSymbols::in_memory(symbols, mini.file_size())))
}

/// The first source that covers the address gives the names; what it lacks of the outermost one, a later one gives.
fn ask(
    sources: &mut [Box<dyn NameSource>],
    address: LinkedAddress,
    inline: Inline,
) -> Result<Option<Vec<SourceName>>, Corrupt> {
    let mut names: Vec<SourceName> = Vec::new();
    for source in sources {
        let mut more = Vec::new();
        source.names(address, inline, &mut more)?;
        match names.first_mut() {
            None => names = more,
            Some(outermost) => {
                if let Some(better) = more.into_iter().next().filter(SourceName::is_whole) {
                    outermost.text = better.text.map(without_clone);
                    outermost.is_bare = false;
                }
            }
        }
        if names.first().is_some_and(SourceName::is_whole) {
            break;
        }
    }
    Ok((!names.is_empty()).then_some(names))
}

/// A compiler's copy of a function (`f() [clone .isra.0]`) has the name of the function in DWARF, and so here.
fn without_clone(mut name: String) -> String {
    if let Some(at) = name.find(" [clone ") {
        name.truncate(at);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NameKind;

    struct Fixed(&'static [Option<&'static str>]);

    impl NameSource for Fixed {
        fn names(
            &mut self,
            _address: LinkedAddress,
            _inline: Inline,
            names: &mut Vec<SourceName>,
        ) -> Result<(), Corrupt> {
            names.extend(self.0.iter().map(|text| SourceName {
                text: text.map(str::to_owned),
                is_bare: text.is_some_and(|text| text == "bare"),
                kind: NameKind::User,
            }));
            Ok(())
        }

        fn memory(&self) -> usize {
            0
        }
    }

    fn check(sources: &[&'static [Option<&'static str>]], expected: Option<&[Option<&str>]>) {
        let mut sources: Vec<Box<dyn NameSource>> = sources
            .iter()
            .map(|names| Box::new(Fixed(names)) as Box<dyn NameSource>)
            .collect();
        let names = ask(&mut sources, LinkedAddress(1), Inline::Show).expect("not corrupt");
        let texts: Option<Vec<Option<&str>>> = names
            .as_ref()
            .map(|names| names.iter().map(|name| name.text.as_deref()).collect());
        assert_eq!(texts.as_deref(), expected);
    }

    #[test]
    fn the_first_source_that_covers_the_address_wins() {
        check(
            &[&[Some("a"), Some("b")], &[Some("c")]],
            Some(&[Some("a"), Some("b")]),
        );
        check(&[&[], &[Some("c")]], Some(&[Some("c")]));
        check(&[&[], &[]], None);
    }

    #[test]
    fn a_function_whose_name_one_source_lacks_has_it_from_the_next() {
        check(
            &[&[None, Some("b")], &[Some("c")]],
            Some(&[Some("c"), Some("b")]),
        );
        check(&[&[None], &[]], Some(&[None]));
        check(
            &[&[Some("bare"), Some("b")], &[Some("ns::bare(int)")]],
            Some(&[Some("ns::bare(int)"), Some("b")]),
        );
        check(&[&[Some("bare")], &[]], Some(&[Some("bare")]));
    }
}
