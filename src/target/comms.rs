//! The names of threads, each once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Distinct names that are kept apart. A target can rename its threads as often as it likes; it must not fill perfd's memory
/// with that.
const MOST_NAMES: usize = 1 << 16;
/// What threads are called whose names came after those.
const TOO_MANY: &str = "[too many names]";

/// A thread name's number in [`Comms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommId(pub u32);

/// The distinct thread names of a run.
#[derive(Debug, Default)]
pub struct Comms {
    names: Vec<Arc<str>>,
    ids: FxHashMap<Arc<str>, CommId>,
}

impl Comms {
    /// The number of a name; bytes that are not UTF-8 are kept as `\xNN`.
    pub fn intern(&mut self, raw: &[u8]) -> CommId {
        let name: String = raw
            .utf8_chunks()
            .flat_map(|chunk| {
                let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
                std::iter::once(chunk.valid().to_owned()).chain(invalid)
            })
            .collect();
        let name = match self.names.len() {
            MOST_NAMES.. if !self.ids.contains_key(name.as_str()) => TOO_MANY.to_owned(),
            _ => name,
        };
        if let Some(id) = self.ids.get(name.as_str()) {
            return *id;
        }
        let id = CommId(u32::try_from(self.names.len()).expect("memory ends before 2³² names"));
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }

    /// The names from a number on.
    pub fn from(&self, first: usize) -> &[Arc<str>] {
        self.names.get(first..).unwrap_or_default()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name behind a number of this table.
    pub fn get(&self, id: CommId) -> &Arc<str> {
        &self.names[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_share_one_in_the_end() {
        let mut comms = Comms::default();
        for n in 0..MOST_NAMES + 1000 {
            comms.intern(format!("thread-{n}").as_bytes());
        }
        assert_eq!(comms.len(), MOST_NAMES + 1);
        let known = comms.intern(b"thread-7");
        assert_eq!(&**comms.get(known), "thread-7");
        let late = comms.intern(b"one more");
        assert_eq!(&**comms.get(late), TOO_MANY);
    }
}
