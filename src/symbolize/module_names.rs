//! The names of one module: its file, opened once, and the chain of sources over it.

use std::ops::Range;
use std::sync::Arc;

use super::confine::confined;
use super::demangle::fold_suffixes;
use super::dwarf::{Dwarf, Files, FindSplit, Keeping};
use super::elf_symbols::ElfSymbols;
use super::functions::{Functions, Name, Wanted};
use super::go::GoNames;
use super::resolver::Config;
use super::store::FileKey;
use super::{CacheFolder, Corrupt, Job, NameSource};
use crate::debug_files::{self, DebugFiles, Origin};
use crate::model::{FileOffset, Module, ModuleKind, Unnamed};
use crate::object::{Elf, LinkedAddress};
use crate::procfs::module_file::{self, OpenError};

/// Bytes of debug information whose tables are made in some milliseconds, so that keeping them gains nothing.
const NOT_WORTH_KEEPING: u64 = 256 << 10;

/// A module whose file is open. The sources over it can be dropped and made again.
pub struct ModuleNames {
    elf: Arc<Elf>,
    /// Where it lies, and who finds what belongs to it; `None` for bytes that lie nowhere.
    at: Option<(Origin, Arc<DebugFiles>)>,
    /// The file with what was split off from it, open too.
    separate: Option<(Arc<Elf>, Origin)>,
    /// `None` while they are not loaded.
    sources: Option<Sources>,
}

/// The sources in the order they are asked.
struct Sources {
    dwarf: Option<Dwarf>,
    others: Vec<Box<dyn NameSource>>,
}

impl ModuleNames {
    /// Opens the module's file, and its debug file if it has one; loads nothing yet.
    pub fn open(
        config: &Config,
        debug_files: &Arc<DebugFiles>,
        module: &Module,
    ) -> Result<ModuleNames, Unnamed> {
        let bytes =
            module_file::open(&config.proc_root, module).map_err(|error| why_unopened(&error))?;
        let elf = Elf::parse(bytes).map_err(|_| Unnamed::FileCorrupt)?;
        Ok(match module.kind {
            ModuleKind::File { .. } => ModuleNames::of_file(elf, Origin::of(module), debug_files),
            _ => ModuleNames::of(elf),
        })
    }

    /// The names of an opened file that lies at `origin`, with those of its debug file if it has one.
    pub fn of_file(elf: Elf, origin: Origin, debug_files: &Arc<DebugFiles>) -> ModuleNames {
        let mut names = ModuleNames::of(elf);
        if !names.elf.has_debug_info() {
            let found = debug_files.separate(&names.elf, &origin);
            names.separate = found.map(|found| (Arc::new(found.elf), found.origin));
        }
        names.at = Some((origin, Arc::clone(debug_files)));
        names
    }

    /// The names of an opened file, by what it holds itself.
    pub fn of(elf: Elf) -> ModuleNames {
        ModuleNames {
            elf: Arc::new(elf),
            at: None,
            separate: None,
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
        ask(&mut chain, address, config.wanted(), functions).map_err(corrupt)?;
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
            None => self.load(config)?,
        };
        Ok(self.sources.insert(sources))
    }

    fn load(&self, config: &Config) -> Result<Sources, Corrupt> {
        let dwarf = match &self.separate {
            // What is wrong with the debug file costs what it would have given.
            Some((separate, origin)) => self.dwarf(separate, Some(origin), config).unwrap_or(None),
            None => {
                let origin = self.at.as_ref().map(|(origin, _)| origin);
                self.dwarf(&self.elf, origin, config)?
            }
        };
        let mut others: Vec<Box<dyn NameSource>> = Vec::new();
        if let Some(go) = GoNames::open(&self.elf) {
            others.push(Box::new(go));
        }
        let has_all_symbols = |elf: &Arc<Elf>| elf.has_symbol_table();
        let separate = self.separate.as_ref().map(|(elf, _)| elf);
        if let Some(separate) = separate.filter(|elf| has_all_symbols(elf)) {
            others.push(Box::new(ElfSymbols::new(Arc::clone(separate))));
        }
        others.push(Box::new(ElfSymbols::new(Arc::clone(&self.elf))));
        if !has_all_symbols(&self.elf) && !separate.is_some_and(has_all_symbols) {
            others.extend(mini(&self.elf));
        }
        Ok(Sources { dwarf, others })
    }

    /// The DWARF in `elf`, the module's file or its debug file, which lies at `origin`.
    fn dwarf(
        &self,
        elf: &Arc<Elf>,
        origin: Option<&Origin>,
        config: &Config,
    ) -> Result<Option<Dwarf>, Corrupt> {
        let at = origin.zip(self.at.as_ref().map(|(_, debug_files)| debug_files));
        let alternate = at.and_then(|(origin, debug_files)| debug_files.alternate(elf, origin));
        // A package lies beside the module's file, or beside its debug file.
        let package = self.at.as_ref().and_then(|(own, debug_files)| {
            let beside = |origin| debug_files.package(origin);
            beside(own).or_else(|| beside(origin?))
        });
        let find_split: Box<FindSplit> = match &self.at {
            Some((origin, debug_files)) => {
                let (origin, debug_files) = (origin.clone(), Arc::clone(debug_files));
                Box::new(move |folder, name| debug_files.split_unit(&origin, folder, name))
            }
            None => Box::new(|_, _| None),
        };
        let alternate = alternate.as_ref().map(|found| &found.elf);
        let package = package.as_ref();
        let keeping = Keeping {
            folder: self.kept_in(elf, alternate, package, config),
            ready_texts: config.ready_texts,
            max_loaded: config.memory_budget / 2,
        };
        let files = Files {
            main: elf,
            alternate,
            package,
            find_split,
            code: code_of(&self.elf),
        };
        Dwarf::open(files, keeping)
    }

    /// Where the tables of the debug information in `elf` are kept, if they are.
    fn kept_in(
        &self,
        elf: &Elf,
        alternate: Option<&Elf>,
        package: Option<&Elf>,
        config: &Config,
    ) -> Option<(CacheFolder, FileKey)> {
        let folder = config.cache.as_ref()?;
        if elf.section_size(".debug_info").ok()? < NOT_WORTH_KEEPING {
            return None;
        }
        let mut stamps = vec![self.elf.stamp()?];
        if self.separate.is_some() {
            stamps.push(elf.stamp()?);
        }
        for elf in alternate.into_iter().chain(package) {
            stamps.push(elf.stamp()?);
        }
        let key = FileKey::new(&self.elf.build_id()?, &stamps);
        Some((folder.clone(), key))
    }
}

/// What frames of a module lack a name for whose file cannot be had.
pub fn why_unopened(error: &OpenError) -> Unnamed {
    match error {
        OpenError::Unreadable { .. } | OpenError::NotRegular(_) => Unnamed::FileUnreadable,
        OpenError::Changed(_) => Unnamed::FileChanged,
        OpenError::NoFile => Unnamed::Anonymous,
    }
}

/// The symbols that a stripped file carries in itself, compressed.
fn mini(elf: &Elf) -> Option<Box<dyn NameSource>> {
    let mini = confined(|| debug_files::mini(elf)).ok()?.ok()??;
    Some(Box::new(ElfSymbols::in_memory(Arc::new(mini))))
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
