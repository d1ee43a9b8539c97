//! Unwind tables in the kernel: loaded once for all modules whose tables are equal, shown to the programs module by module, and taken out.
//!
//! A table is an array of its blocks, at its number in an array of maps; a module names the number. Which tables are there, and when, is
//! somebody else's decision.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, ArrayOfMaps, InnerMap, Map, MapData, MapError};

use super::blocks::{self, TableWords};
use super::wire::{Block, MAX_MODULES, MAX_TABLES, MODULE_NO_TABLE, MODULE_UNKNOWN, Module};
use super::{LoadError, batch};
use crate::model::ModuleId;

/// `BPF_F_INNER_MAP`: arrays in an array of maps may differ in size.
const INNER_MAP: u32 = 1 << 12;
/// The number that no table has.
const NOTHING: u32 = 0;

/// Loads tables. To load or unload one waits for grace periods of the kernel's, some 10 ms each; what is done to modules does not, and may
/// be done by another thread meanwhile.
#[derive(Clone)]
pub struct TableLoader {
    maps: Arc<Maps>,
}

struct Maps {
    tables: Mutex<Tables>,
    modules: Mutex<Modules>,
    bytes: AtomicU64,
}

struct Modules {
    map: Array<MapData, Module>,
    hidings: Array<MapData, u64>,
    n_hidden: u64,
}

struct Tables {
    descriptor: OwnedFd,
    map: ArrayOfMaps<MapData, Array<MapData, Block>>,
    /// Stands at the number that no table has.
    nothing: Array<MapData, Block>,
    free: Vec<u32>,
    /// The first number that was never given.
    next: u32,
}

/// A table in the kernel. Dropped, it stays there: [`TableLoader::unload`] takes it out.
#[derive(Debug)]
pub struct LoadedTable {
    module: Module,
    bytes: u64,
}

impl TableLoader {
    pub(super) fn new(
        map: Map,
        modules: Array<MapData, Module>,
        hidings: Array<MapData, u64>,
    ) -> Result<TableLoader, MapError> {
        let tables = Tables {
            descriptor: descriptor_of(&map)?,
            map: ArrayOfMaps::try_from(map)?,
            nothing: Array::create(1, INNER_MAP)?,
            free: Vec::new(),
            next: NOTHING + 1,
        };
        Ok(TableLoader {
            maps: Arc::new(Maps {
                tables: Mutex::new(tables),
                modules: Mutex::new(Modules {
                    map: modules,
                    hidings,
                    n_hidden: 0,
                }),
                bytes: AtomicU64::new(0),
            }),
        })
    }

    /// Copies tables into the kernel, and announces each before it is there: what waits for the kernel's grace period, as the caller
    /// does, would come too late for a process that lives 50 ms. A program that looks for a table which is announced and not there
    /// leaves its sample to the ring.
    ///
    /// # Errors
    /// Announced for each table: what the kernel says, for want of memory or descriptors for example; no number is left. What is announced
    /// first as loaded and then with an error never came.
    pub fn load(
        &self,
        tables: &[TableWords<'_>],
        mut announce: impl FnMut(usize, Result<LoadedTable, LoadError>),
    ) {
        let mut maps = lock(&self.maps.tables);
        let mut numbered = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let bytes = table.bytes_in_kernel();
            let loaded = copy(table).and_then(|(module, array)| {
                let module = Module {
                    table: maps.number()?,
                    ..module
                };
                numbered.push((index, module.table, array));
                self.maps.bytes.fetch_add(bytes, Ordering::Relaxed);
                Ok(LoadedTable { module, bytes })
            });
            announce(index, loaded);
        }
        for (index, error) in maps.insert(&numbered) {
            self.maps
                .bytes
                .fetch_sub(tables[index].bytes_in_kernel(), Ordering::Relaxed);
            announce(index, Err(error));
        }
    }

    /// Takes a table out that no module is shown with any more, when no program looks at it any more.
    ///
    /// # Errors
    /// Those of the system calls; the memory stays taken then.
    pub fn unload(&self, table: LoadedTable) -> Result<(), LoadError> {
        lock(&self.maps.tables).remove(table.module.table)?;
        self.maps.bytes.fetch_sub(table.bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Shows the programs a module's table; `None`: it has none and never will. What no program can name goes through the ring as ever.
    ///
    /// # Errors
    /// Those of the system call; samples in the module go through the ring then.
    pub fn show(&self, id: ModuleId, table: Option<&LoadedTable>) -> Result<(), LoadError> {
        let module = table.map_or(stateless(MODULE_NO_TABLE), |table| table.module);
        self.set(id, module)
    }

    /// Lets samples in a module go through the ring again.
    ///
    /// # Errors
    /// Those of the system call: its table must not be unloaded then.
    pub fn hide(&self, id: ModuleId) -> Result<(), LoadError> {
        self.set(id, stateless(MODULE_UNKNOWN))?;
        let mut modules = lock(&self.maps.modules);
        modules.n_hidden += 1;
        let n_hidden = modules.n_hidden;
        Ok(modules.hidings.set(0, n_hidden, 0)?)
    }

    fn set(&self, id: ModuleId, module: Module) -> Result<(), LoadError> {
        if id.0 as usize >= MAX_MODULES {
            return Ok(());
        }
        Ok(lock(&self.maps.modules).map.set(id.0, module, 0)?)
    }

    /// Bytes that the loaded tables take.
    pub fn bytes(&self) -> u64 {
        self.maps.bytes.load(Ordering::Relaxed)
    }
}

/// A table in an array of its own, which nobody knows of yet.
type Copied = (Module, Array<MapData, Block>);
/// Which of the tables to load, its number, and its array.
type Numbered = (usize, u32, Array<MapData, Block>);

fn copy(table: &TableWords<'_>) -> Result<Copied, LoadError> {
    let (module, blocks) = blocks::encode(table);
    let n_blocks = u32::try_from(blocks.len()).expect("the limits of tables are far lower");
    let array = Array::create(n_blocks.max(1), INNER_MAP)?;
    let numbers: Vec<u32> = (0..n_blocks).collect();
    batch::set(descriptor(&array), &numbers, &blocks).map_err(MapError::from)?;
    Ok((module, array))
}

/// The trait that has the descriptor can be a bound, but not be named.
fn descriptor<V: InnerMap>(map: &V) -> BorrowedFd<'_> {
    map.fd().as_fd()
}

impl Tables {
    /// Puts tables where their numbers say. All at once, since the kernel waits after each change for programs to end. Returns those that it did
    /// not take; their numbers are not given again, as modules may have been shown with them.
    fn insert(&mut self, numbered: &[Numbered]) -> Vec<(usize, LoadError)> {
        let (numbers, maps): (Vec<u32>, Vec<u32>) = numbered
            .iter()
            .map(|(_, number, array)| (*number, descriptor(array).as_raw_fd().cast_unsigned()))
            .unzip();
        if numbers.is_empty() || batch::set(self.descriptor.as_fd(), &numbers, &maps).is_ok() {
            return Vec::new();
        }
        let one_by_one = numbered.iter().filter_map(|(index, number, array)| {
            let error = self.map.set(*number, array, 0).err()?;
            Some((*index, error.into()))
        });
        one_by_one.collect()
    }

    fn number(&mut self) -> Result<u32, LoadError> {
        match self.free.pop() {
            Some(number) => Ok(number),
            None if self.next < MAX_TABLES => {
                self.next += 1;
                Ok(self.next - 1)
            }
            None => Err(LoadError::TooManyTables),
        }
    }

    fn remove(&mut self, number: u32) -> Result<(), LoadError> {
        // The kernel comes back from a change of an array of maps when every program that ran before it has ended (`maybe_wait_bpf_programs`).
        // The first waits for those that still have the module as it was shown, the second takes the table from nobody.
        self.map.set(NOTHING, &self.nothing, 0)?;
        batch::delete(self.descriptor.as_fd(), number).map_err(MapError::from)?;
        self.free.push(number);
        Ok(())
    }
}

fn descriptor_of(map: &Map) -> Result<OwnedFd, MapError> {
    let Map::ArrayOfMaps(data) = map else {
        unreachable!("tables are declared as an array of maps, not as {map:?}");
    };
    Ok(data.fd().as_fd().try_clone_to_owned()?)
}

fn stateless(state: u32) -> Module {
    Module {
        state,
        first_page: 0,
        n_pages: 0,
        rows: 0,
        rules: 0,
        n_rules: 0,
        table: NOTHING,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
