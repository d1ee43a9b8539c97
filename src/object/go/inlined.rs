//! The functions at an address: the one that is called, and those that were inlined into it.
//!
//! A function's third table of numbers says which record of its inlining tree holds at an address; −1 is the function
//! itself. A record has the inlined function's name, and an address whose own line is that of the call.

use super::table::{Field, Function, GoTable, Place, Version};

/// `PCDATA_InlTreeIndex` and `FUNCDATA_InlTree` of `cmd/internal/objabi/funcdata.go`, Go 1.16 and later.
const INDEX_TABLE: u64 = 2;
const TREE: u64 = 3;
/// Functions inlined into each other.
const MAX_INLINED: usize = 256;
/// Records of one tree.
const MAX_RECORDS: i32 = 1 << 20;

/// A function at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoFrame {
    /// Its name, `path/of/package.(*Type).method`.
    pub name: Vec<u8>,
    /// The line of the address in it; where another function is inlined, of that one's call.
    pub place: Option<Place>,
}

impl GoTable {
    /// The functions at a linked address: the outermost first, those inlined into it after it. Empty if the table has none.
    ///
    /// Records that contradict each other are left out, all of them: the function itself is right without.
    pub fn frames(&mut self, address: u64) -> Vec<GoFrame> {
        let Some(function) = self.function_at(address) else {
            return Vec::new();
        };
        let Some(name) = self.name_of(&function) else {
            return Vec::new();
        };
        let mut frames = Vec::new();
        // Without the records it is not known which line of the function it is.
        let (mut inner, call) = self.inlined(&function, address).unwrap_or_default();
        let place = call.and_then(|call| self.place(&function, call));
        frames.push(GoFrame { name, place });
        inner.reverse();
        frames.extend(inner);
        frames
    }

    /// The inlined functions, innermost first, and the address that has the function's own line; `None` if the records are no such thing.
    fn inlined(
        &mut self,
        function: &Function,
        address: u64,
    ) -> Option<(Vec<GoFrame>, Option<u64>)> {
        let mut frames = Vec::new();
        let Some((list, tree)) = self.tree(function) else {
            return Some((frames, Some(address)));
        };
        let indices = self.values(function, list)?;
        let mut address = address;
        while frames.len() < MAX_INLINED {
            let index = indices.at(&mut self.memory, address).unwrap_or(-1);
            if index < 0 {
                return Some((frames, Some(address)));
            }
            let (name, call) = self.record(tree?, index)?;
            let name = self.name(name)?;
            let place = self.place(function, address);
            frames.push(GoFrame { name, place });
            address = function.entry.checked_add(u64::from(call))?;
            if address >= function.end {
                return None;
            }
        }
        None
    }

    /// The list of indices, and the tree if it is known where it is; `None` if nothing is inlined.
    fn tree(&mut self, function: &Function) -> Option<(u32, Option<u64>)> {
        let layout = self.layout;
        let n_tables = u64::from(self.field(function, Field::NTables)?);
        let [_, _, _, n_data] = self.field(function, Field::Counts)?.to_le_bytes();
        if layout.version == Version::V12 || n_tables <= INDEX_TABLE || u64::from(n_data) <= TREE {
            return None;
        }
        let tables = self.behind(function)?;
        let list = self.memory.u32(tables.checked_add(4 * INDEX_TABLE)?)?;
        let data = tables.checked_add(4 * n_tables)?;
        let tree = match layout.version {
            Version::V116 => {
                let data = data.checked_next_multiple_of(layout.width)?;
                let at = data.checked_add(TREE * layout.width)?;
                self.memory.pointer(at, layout.width)
            }
            _ => {
                let offset = self.memory.u32(data.checked_add(4 * TREE)?)?;
                let is_there = offset != u32::MAX;
                let base = layout.function_data.filter(|_| is_there);
                base.and_then(|base| base.checked_add(u64::from(offset)))
            }
        };
        (list != 0).then_some((list, tree))
    }

    /// The name's offset and the call's offset in the function of a record.
    fn record(&mut self, tree: u64, index: i32) -> Option<(u32, u32)> {
        let index = u64::try_from(index).ok().filter(|_| index < MAX_RECORDS)?;
        let (size, name, call) = match self.layout.version {
            Version::V120 => (16, 4, 8),
            _ => (20, 12, 16),
        };
        let record = tree.checked_add(index * size)?;
        let name = self.memory.u32(record.checked_add(name)?)?;
        Some((name, self.memory.u32(record.checked_add(call)?)?))
    }
}
