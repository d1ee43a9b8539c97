//! The names of one module: its file, opened once, and the chain of sources over it.

use std::path::Path;

use super::dwarf::{Dwarf, Opened};
use super::elf_symbols::ElfSymbols;
use super::{Config, Corrupt, Inline, NameSource, SourceName};
use crate::model::{FileOffset, Module, Unnamed};
use crate::object::{Elf, LinkedAddress};
use crate::procfs::module_file::{self, OpenError};

/// A module whose file is open. The sources over it can be dropped and made again.
pub(super) struct ModuleNames {
    elf: Elf,
    /// In the order they are asked; `None` while they are not loaded.
    sources: Option<Vec<Box<dyn NameSource>>>,
}

impl ModuleNames {
    /// Opens the module's file; loads nothing yet.
    pub(super) fn open(proc_root: &Path, module: &Module) -> Result<ModuleNames, Unnamed> {
        let bytes = module_file::open(proc_root, module).map_err(|error| match error {
            OpenError::Unreadable { .. } | OpenError::NotRegular(_) => Unnamed::FileUnreadable,
            OpenError::Changed(_) => Unnamed::FileChanged,
            OpenError::NoFile => Unnamed::Anonymous,
        })?;
        let elf = Elf::parse(bytes).map_err(|_| Unnamed::FileCorrupt)?;
        Ok(ModuleNames { elf, sources: None })
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
                let loaded = load(&self.elf, config.memory_budget);
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

/// The sources that a file has. DWARF that alone would break the memory budget is left out: symbols must do.
fn load(elf: &Elf, memory_budget: usize) -> Result<Vec<Box<dyn NameSource>>, Corrupt> {
    let mut sources: Vec<Box<dyn NameSource>> = Vec::new();
    if let Opened::Dwarf(dwarf) = Dwarf::open(elf, memory_budget)? {
        sources.push(dwarf);
    }
    let symbols = elf.symbols().map_err(|_| Corrupt)?;
    if !symbols.is_empty() {
        sources.push(Box::new(ElfSymbols::new(symbols)));
    }
    Ok(sources)
}

/// The first source that covers the address gives the names; where it lacks the outermost one, a later one gives that.
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
            Some(outermost) => outermost.text = more.into_iter().find_map(|name| name.text),
        }
        if names
            .first()
            .is_some_and(|outermost| outermost.text.is_some())
        {
            break;
        }
    }
    Ok((!names.is_empty()).then_some(names))
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
    }
}
