//! The names of one module: its file, opened once, and the chain of sources over it.

use std::ops::Range;
use std::sync::Arc;

use super::demangle::fold_suffixes;
use super::dwarf::{Dwarf, Files, Keeping};
use super::elf_symbols::ElfSymbols;
use super::functions::{Functions, Name, Wanted};
use super::go::GoNames;
use super::resolver::Config;
use super::store::FileKey;
use super::{Corrupt, Job, NameSource};
use crate::model::{FileOffset, Module, Unnamed};
use crate::object::{Elf, LinkedAddress};
use crate::procfs::module_file::{self, OpenError};

/// Bytes of debug information whose tables are made in some milliseconds, so that keeping them gains nothing.
const NOT_WORTH_KEEPING: u64 = 1 << 20;

/// A module whose file is open. The sources over it can be dropped and made again.
pub struct ModuleNames {
    elf: Arc<Elf>,
    /// `None` while they are not loaded.
    sources: Option<Sources>,
}

/// The sources in the order they are asked.
struct Sources {
    dwarf: Option<Dwarf>,
    others: Vec<Box<dyn NameSource>>,
}

impl ModuleNames {
    /// Opens the module's file; loads nothing yet.
    pub fn open(config: &Config, module: &Module) -> Result<ModuleNames, Unnamed> {
        let bytes = module_file::open(&config.proc_root, module).map_err(|error| match error {
            OpenError::Unreadable { .. } | OpenError::NotRegular(_) => Unnamed::FileUnreadable,
            OpenError::Changed(_) => Unnamed::FileChanged,
            OpenError::NoFile => Unnamed::Anonymous,
        })?;
        let elf = Elf::parse(bytes).map_err(|_| Unnamed::FileCorrupt)?;
        Ok(ModuleNames::of(elf))
    }

    /// The names of an opened file.
    pub fn of(elf: Elf) -> ModuleNames {
        ModuleNames {
            elf: Arc::new(elf),
            sources: None,
        }
    }

    /// The address that an offset in the file was linked for.
    pub fn linked_address(&self, offset: FileOffset) -> Option<LinkedAddress> {
        self.elf.linked_address(offset)
    }

    /// Finds the functions at `address`, at least one; or why there are none.
    ///
    /// # Errors
    /// [`Unnamed::FileCorrupt`] is a verdict on the whole module: it must not be asked again.
    pub fn functions(
        &mut self,
        config: &Config,
        address: LinkedAddress,
        functions: &mut Functions,
    ) -> Result<(), Unnamed> {
        functions.clear();
        let corrupt = |Corrupt| Unnamed::FileCorrupt;
        let sources = self.sources(config).map_err(corrupt)?;
        let mut chain: Vec<&mut dyn NameSource> = Vec::with_capacity(4);
        if let Some(dwarf) = &mut sources.dwarf {
            chain.push(dwarf);
        }
        for source in &mut sources.others {
            chain.push(source.as_mut());
        }
        ask(&mut chain, address, config.wanted, functions).map_err(corrupt)?;
        if !functions.is_empty() {
            return Ok(());
        }
        match chain.iter_mut().all(|source| source.is_empty()) {
            true => Err(Unnamed::NoSymbols),
            false => Err(Unnamed::NotCovered),
        }
    }

    /// Work that can be done by `n_jobs` threads at a time, before these addresses are asked for.
    pub fn jobs(
        &mut self,
        config: &Config,
        addresses: &[LinkedAddress],
        n_jobs: usize,
    ) -> Vec<Job<'_>> {
        match self.sources(config) {
            // What is wrong with the file is found again by whoever asks for names.
            Ok(Sources {
                dwarf: Some(dwarf), ..
            }) => dwarf.jobs(addresses, n_jobs).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Bytes of memory held, estimated.
    pub fn memory(&self) -> usize {
        let Some(sources) = &self.sources else {
            return 0;
        };
        let others: usize = sources.others.iter().map(|source| source.memory()).sum();
        sources.dwarf.as_ref().map_or(0, NameSource::memory) + others
    }

    /// Gives the memory back, and leaves for later runs what was learnt. The file stays open: its process may be gone when it is
    /// needed again.
    pub fn unload(&mut self) {
        if let Some(Sources {
            dwarf: Some(dwarf), ..
        }) = self.sources.take()
        {
            dwarf.keep();
        }
    }

    fn sources(&mut self, config: &Config) -> Result<&mut Sources, Corrupt> {
        let sources = match self.sources.take() {
            Some(sources) => sources,
            None => Sources::load(&self.elf, config)?,
        };
        Ok(self.sources.insert(sources))
    }
}

impl Sources {
    fn load(elf: &Arc<Elf>, config: &Config) -> Result<Sources, Corrupt> {
        let keeping = Keeping {
            folder: kept_in(elf, config),
            ready_texts: config.ready_texts,
            max_loaded: config.memory_budget / 2,
        };
        let files = Files {
            main: elf,
            alternate: None,
            package: None,
            find_split: Box::new(|_, _| None),
            code: code_of(elf),
        };
        let mut others: Vec<Box<dyn NameSource>> = Vec::new();
        if let Some(go) = GoNames::open(elf) {
            others.push(Box::new(go));
        }
        others.push(Box::new(ElfSymbols::new(Arc::clone(elf))));
        Ok(Sources {
            dwarf: Dwarf::open(files, keeping)?,
            others,
        })
    }
}

/// Where the tables of a file's debug information are kept, if they are.
fn kept_in(elf: &Elf, config: &Config) -> Option<(super::CacheFolder, FileKey)> {
    let folder = config.cache.as_ref()?;
    if elf.section_size(".debug_info").ok()? < NOT_WORTH_KEEPING {
        return None;
    }
    let key = FileKey::new(&elf.build_id()?, &[elf.stamp()?]);
    Some((folder.clone(), key))
}

/// The addresses that a file's code was linked for, from the first to behind the last.
fn code_of(elf: &Elf) -> Range<u64> {
    let code = elf.segments().iter().filter(|s| s.is_executable());
    let ends = code.map(|s| (s.address.0, s.address.0.saturating_add(s.memory_size)));
    let (start, end) = ends.fold((u64::MAX, 0), |(first, last), (start, end)| {
        (first.min(start), last.max(end))
    });
    start..end
}

/// The first source that covers the address gives the functions; what it lacks of the outermost one, a later one gives.
fn ask(
    sources: &mut [&mut dyn NameSource],
    address: LinkedAddress,
    wanted: Wanted,
    functions: &mut Functions,
) -> Result<(), Corrupt> {
    let mut more = Functions::default();
    for source in sources.iter_mut() {
        if functions.is_empty() {
            source.functions(address, wanted, functions)?;
        } else {
            more.clear();
            source.functions(address, wanted, &mut more)?;
            let better = more.outermost().filter(|function| function.is_named());
            if let Some(name) = better.and_then(|function| function.name) {
                // A compiler's copy of a function (`f() [clone .isra.0]`) has the name of the function in DWARF, and so here.
                functions.rename_outermost(Name {
                    shown: &fold_suffixes(name.shown),
                    ..name
                });
            }
        }
        if functions.outermost().is_some_and(|one| one.is_named()) {
            break;
        }
    }
    let lacks_place = |functions: &Functions| {
        let mut all = functions.iter();
        all.next()
            .is_some_and(|innermost| innermost.place.is_none())
    };
    if wanted.places && lacks_place(functions) {
        for source in sources {
            source.place(address, functions);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::functions::Function;

    /// Names, innermost first; `bare` is one that lacks something.
    struct Fixed(&'static [Option<&'static str>]);

    impl NameSource for Fixed {
        fn functions(
            &mut self,
            _address: LinkedAddress,
            _wanted: Wanted,
            functions: &mut Functions,
        ) -> Result<(), Corrupt> {
            for name in self.0 {
                functions.push(Function {
                    name: name.map(|shown| Name {
                        shown,
                        linkage: shown.as_bytes(),
                        is_bare: shown == "bare",
                    }),
                    place: None,
                    is_inlined: false,
                });
            }
            Ok(())
        }

        fn is_empty(&mut self) -> bool {
            self.0.is_empty()
        }

        fn memory(&self) -> usize {
            0
        }
    }

    fn check(sources: &[&'static [Option<&'static str>]], expected: &[Option<&str>]) {
        let mut sources: Vec<Fixed> = sources.iter().map(|names| Fixed(names)).collect();
        let mut chain: Vec<&mut dyn NameSource> = sources
            .iter_mut()
            .map(|source| source as &mut dyn NameSource)
            .collect();
        let mut functions = Functions::default();
        let wanted = Wanted::default();
        ask(&mut chain, LinkedAddress(1), wanted, &mut functions).expect("not corrupt");
        let shown: Vec<Option<&str>> = functions
            .iter()
            .map(|function| function.name.map(|name| name.shown))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_first_source_that_covers_the_address_wins() {
        check(
            &[&[Some("a"), Some("b")], &[Some("c")]],
            &[Some("a"), Some("b")],
        );
        check(&[&[], &[Some("c")]], &[Some("c")]);
        check(&[&[], &[]], &[]);
    }

    #[test]
    fn a_function_whose_name_one_source_lacks_has_it_from_the_next() {
        check(&[&[Some("b"), None], &[Some("c")]], &[Some("b"), Some("c")]);
        check(&[&[None], &[]], &[None]);
        check(
            &[&[Some("b"), Some("bare")], &[Some("ns::bare(int)")]],
            &[Some("b"), Some("ns::bare(int)")],
        );
        check(&[&[Some("bare")], &[]], &[Some("bare")]);
        check(&[&[None], &[Some("f() [clone .isra.0]")]], &[Some("f()")]);
    }
}
