//! What perfd and its child say to each other, and how large it may be.
//!
//! Encoded by postcard. Both ends are one program, executed twice, so that there are no versions.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{JitFigures, JitRates, NameKind, Unnamed, at_most};
use crate::procfs::jit_file::Refused;
use crate::python::Looked;
use crate::symbolize::{Inline, Shown, Wanted};
use crate::sys::parcel::{Bounds, MAX_FILES};

/// What the child reads.
pub(super) const TO_CHILD: Bounds = Bounds {
    bytes: 1 << 20,
    files: MAX_FILES,
};
/// Bytes of what perfd reads: the largest tables that there are take 20 MB. Never a file.
pub(super) const TO_PERFD: Bounds = Bounds {
    bytes: 64 << 20,
    files: 0,
};
/// Frames that one request names.
pub(super) const MAX_FRAMES: usize = 64;
/// Functions of one frame: the one, and those inlined into it.
pub(super) const MAX_FUNCTIONS: usize = 4096;
/// Bytes of a name, its file and line included.
pub(super) const MAX_NAME: usize = 64 << 10;
/// Places in code made at run time that one request names.
pub(super) const MAX_CODE: usize = 4096;
/// Processes that make code and are looked after, as by [`Jit`](crate::symbolize::jit::Jit).
pub(super) const MAX_PROCESSES: usize = 4096;
/// Notes of one search, and bytes of each.
pub(super) const MAX_NOTES: usize = 16;
pub(super) const MAX_NOTE: usize = 8 << 10;

/// What perfd asks for, one thing after the other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// First of all: what the child may take and how it is to name.
    Begin {
        memory: u64,
        open_files: u64,
        file_size: u64,
        /// Seconds of CPU time for each request.
        cpu: u64,
        naming: Naming,
    },
    /// Name frames of a module. Its file comes along when it is first spoken of.
    Name {
        module: u32,
        new: Option<NewModule>,
        /// Whether it is a return address, and the offset in the file.
        frames: Vec<(bool, u64)>,
    },
    /// Make the unwind table of the file that comes along.
    Table,
    /// Look after a process that makes code, there if that is known.
    Watch { pid: u32, code: Option<(u64, u64)> },
    /// It has mapped the jitdump that comes along, or one that may not be read, and why.
    AddDump { pid: u32, refused: Option<String> },
    /// It is another program from that time on.
    BeganAnew { pid: u32, at: u64 },
    /// It has ended, and nothing of it is asked any more.
    ForgetCode { pid: u32 },
    /// Read what is new of its files, and say whether code has taken the place of other code.
    ReadCode { pid: u32, asks: bool },
    /// What processes say of themselves.
    CodeFacts,
    /// Name addresses in processes, each for a span of time.
    NameCode(Vec<(u32, u64, u64, u64)>),
    /// Leave in the cache what was learnt, and end.
    Finish,
    /// Say what Python interpreter the file that comes along is, if it is one. So it is called.
    Python { name: String },
}

/// How to name: what of [`Config`](crate::symbolize::Config) a child can use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Naming {
    pub(super) inline: Inline,
    pub(super) shown: Shown,
    pub(super) wanted: Wanted,
    pub(super) memory_budget: u64,
    pub(super) ready_texts: u64,
    pub(super) has_cache: bool,
    pub(super) debug_roots: Vec<Bytes>,
}

/// A module that the child has not heard of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NewModule {
    /// As its process sees it.
    pub(super) path: Bytes,
    /// A process that has it mapped.
    pub(super) pid: Option<u32>,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Answer(Answer),
    Ask(Ask),
}

/// What has become of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It has confined itself.
    Begun,
    /// The functions of each frame, outermost first, and what is new of what the user should know of the search for debug files.
    Named {
        #[serde(deserialize_with = "at_most::<MAX_FRAMES, _, _>")]
        names: Vec<SaidNames>,
        #[serde(deserialize_with = "at_most::<MAX_NOTES, _, _>")]
        notes: Vec<String>,
    },
    /// The table, if there can be one.
    Table(Option<SaidTable>),
    /// Nothing is to be said of it.
    Done,
    /// When the last change was over, if there was one.
    CodeRead(Option<u64>),
    CodeFacts(#[serde(deserialize_with = "at_most::<MAX_PROCESSES, _, _>")] Vec<SaidFacts>),
    /// One for each that was asked.
    CodeNamed(
        #[serde(deserialize_with = "at_most::<MAX_CODE, _, _>")] Vec<Result<String, Unnamed>>,
    ),
    Finished,
    Python(Looked),
}

/// [`JitFacts`](crate::symbolize::jit::JitFacts).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SaidFacts {
    pub(super) pid: u32,
    pub(super) figures: Option<JitFigures>,
    pub(super) rates: JitRates,
    /// The kind of file by its place in [`JitFileNote::FILES`](crate::model::JitFileNote::FILES), and why it is not believed.
    #[serde(deserialize_with = "at_most::<MAX_NOTES, _, _>")]
    pub(super) notes: Vec<(u32, String)>,
}

/// The functions of one frame, outermost first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SaidNames(
    #[serde(deserialize_with = "at_most::<MAX_FUNCTIONS, _, _>")] pub(super) Vec<SaidName>,
);

/// A [`FrameName`](crate::model::FrameName).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SaidName {
    pub(super) text: String,
    pub(super) kind: NameKind,
    pub(super) unnamed: Option<Unnamed>,
}

/// [`TableParts`](crate::unwind::TableParts).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SaidTable {
    pub(super) first_page: u32,
    pub(super) index: Bytes,
    pub(super) rows: Bytes,
    pub(super) rules: Bytes,
    pub(super) skipped: u32,
}

/// What the child needs for the request that it is at.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Does this process see another tree of files than perfd?
    HasOwnTree(u32),
    /// Open a file in the tree of that process, or in perfd's.
    Open { pid: Option<u32>, path: Bytes },
    /// Open the files of the cache with this key.
    Files { key: String },
    /// Make a file for the cache.
    Create,
    /// Keep the file with this inode, which was made so, under this key.
    Keep { inode: u64, key: String },
    /// Take away a file of the cache.
    Remove { key: String, number: u32 },
    /// Take hold of the root of a process that makes code.
    Root(u32),
    /// Does the process of that root live?
    IsAlive(u32),
    /// Open what its runtime has left there, if it has at most so many bytes.
    Temporary {
        root: u32,
        kind: Temporary,
        max_size: u64,
    },
    /// Let go of a root.
    LetGo(u32),
}

/// A file that a runtime leaves under a name that can be foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Temporary {
    PerfMap,
    Report,
}

impl Temporary {
    /// Its name, for a process of that number in its own namespace.
    pub(super) fn name(self, own_pid: u32) -> String {
        match self {
            Temporary::PerfMap => format!("perf-{own_pid}.map"),
            Temporary::Report => format!("perfd-jit-{own_pid}.txt"),
        }
    }
}

/// What perfd has done about it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is so.
    Yes,
    /// It is not so, or not to be had.
    No,
    /// The file comes along.
    Opened { real_path: Option<Bytes> },
    /// Why it was not opened.
    NotOpened(WhyNot),
    /// These numbers, and as many files with them.
    Files(Vec<u32>),
    /// The file comes along.
    Created,
    /// It was done, if it could be.
    Done,
    /// The number of the root, and that of the process in its own namespace.
    Root { root: u32, own_pid: u32 },
    /// The file comes along.
    Temporary { is_stale: bool },
    /// The rule that it breaks.
    Refused(Refused),
}

/// Why a file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WhyNot {
    /// The number of the system's error.
    Errno(i32),
    NotRegular,
    NotElf,
}

/// The bytes of a message.
pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    // Only a message without a known length cannot be encoded, and there is none.
    postcard::to_stdvec(message).unwrap_or_default()
}

/// The message that bytes are, to their end.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (message, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(message)
}

/// Bytes, which serde would take for a list of numbers.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn of_path(path: &Path) -> Bytes {
        Bytes(path.as_os_str().as_bytes().to_vec())
    }

    pub(super) fn into_path(self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.0))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_all_of_its_bytes_and_nothing_more() {
        let ask = Said::Ask(Ask::Open {
            pid: Some(7),
            path: Bytes::of_path(Path::new("/a/b")),
        });
        let bytes = encode(&ask);
        let Some(Said::Ask(Ask::Open { pid, path })) = decode(&bytes) else {
            panic!("{bytes:?}");
        };
        assert_eq!((pid, path.into_path()), (Some(7), PathBuf::from("/a/b")));
        for cut in 0..bytes.len() {
            assert!(decode::<Said>(&bytes[..cut]).is_none(), "{cut}");
        }
        assert!(decode::<Said>(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn a_list_that_is_too_long_is_no_message() {
        let named = |n_frames: u8, n_notes: u8| {
            // `Said::Answer(Answer::Named)`: frames without a name, notes without text.
            let mut bytes = vec![0, 1, n_frames];
            bytes.extend(vec![0; usize::from(n_frames)]);
            bytes.push(n_notes);
            bytes.extend(vec![0; usize::from(n_notes)]);
            decode::<Said>(&bytes).is_some()
        };
        assert!(named(64, 16));
        assert!(!named(65, 16) && !named(64, 17));
    }

    #[test]
    fn a_length_that_is_not_there_takes_no_memory() {
        // A table whose index has 2⁶² bytes.
        let mut bytes = vec![0, 2, 1, 0];
        bytes.extend([0xff; 8]);
        bytes.push(0x3f);
        assert!(decode::<Said>(&bytes).is_none());
    }
}
