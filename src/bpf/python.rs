//! Python in the kernel's walk: what the programs are told of interpreters, and the names that they have read.

use std::ops::Range;
use std::sync::Arc;

use aya::maps::{HashMap, MapData, MapError};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::splice::{PythonFrame, Segments};
use super::wire::{
    FILENAME_BYTES, MAX_EVAL_RANGES, NO_OFFSET, PYTHON_ENTRY, PythonLayoutWire, PythonNameKey,
    PythonNameWire, PythonProcessWire, QUALNAME_BYTES,
};
use crate::model::{AddressKind, Avma, FileOffset, Frame, ModuleId, Pid, PythonRead};

/// Names that are kept apart in a run: code that is made and thrown away must not fill perfd's memory.
const MOST_NAMES: usize = 1 << 18;
/// The number of names that are not known.
const UNKNOWN: u64 = 0;

/// Whether the programs read Python frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Python {
    /// They do; what they read stands in frames of this module, whose offsets are numbers of names ([`PythonNames`]).
    Read(ModuleId),
    /// Native frames alone.
    Leave,
}

/// Where things are in CPython's structs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonLayout {
    /// `PyInterpreterState.next`
    pub interpreter_next: u16,
    /// `PyInterpreterState.threads.head`
    pub interpreter_threads: u16,
    /// `PyThreadState.next`
    pub thread_next: u16,
    /// `PyThreadState.native_thread_id`
    pub thread_native_id: u16,
    /// `PyThreadState.current_frame`, or `.cframe` where frames hang on that.
    pub thread_frame: u16,
    /// `_PyCFrame.current_frame`, where there is one.
    pub frame_in_holder: Option<u16>,
    /// `_PyInterpreterFrame.previous`
    pub frame_previous: u16,
    /// `_PyInterpreterFrame.f_executable` or `.f_code`
    pub frame_code: u16,
    /// `_PyInterpreterFrame.owner`
    pub frame_owner: u16,
    /// `_PyInterpreterFrame.is_entry`, which 3.11 alone has.
    pub frame_is_entry: Option<u16>,
    /// The first `enum _frameowner` whose frames have no code; `None` if there is none.
    pub owner_without_code: Option<u8>,
    /// `PyObject.ob_type`
    pub object_type: u16,
    /// `PyCodeObject.co_filename`
    pub code_filename: u16,
    /// `PyCodeObject.co_qualname`
    pub code_qualname: u16,
    /// `PyCodeObject.co_firstlineno`
    pub code_first_line: u16,
    /// `PyASCIIObject.length`
    pub string_length: u16,
    /// `PyASCIIObject.state`
    pub string_state: u16,
    /// Size of `PyASCIIObject`: the text of ASCII strings is behind it.
    pub ascii_text: u16,
    /// Size of `PyCompactUnicodeObject`: the text of other strings is behind it.
    pub other_text: u16,
}

/// The interpreter of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonProcess {
    /// Where the pointer to the first interpreter is (`_PyRuntime.interpreters.head`).
    pub interpreters: Avma,
    /// Where the type of code objects is (`PyCode_Type`).
    pub code_type: Avma,
    /// The module that holds `_PyEval_EvalFrameDefault`, and where in it that is; as many ranges as the programs know are used.
    pub module: ModuleId,
    /// See `module`.
    pub eval: Vec<Range<FileOffset>>,
    /// Its version's structs.
    pub layout: PythonLayout,
}

/// The names of Python functions of a run, each once; number 0 is the one that is not known.
#[derive(Debug)]
pub struct PythonNames {
    names: Vec<Option<Arc<str>>>,
    ids: FxHashMap<[u64; 2], u64>,
}

/// The side of perfd, while programs read Python frames.
pub(super) struct PythonSide {
    module: ModuleId,
    processes: HashMap<MapData, u32, PythonProcessWire>,
    told: FxHashMap<Pid, PythonProcess>,
    texts: HashMap<MapData, PythonNameKey, PythonNameWire>,
    names: PythonNames,
    /// Where Python runs, by module; of processes that have ended, too.
    eval: FxHashMap<ModuleId, Vec<Range<FileOffset>>>,
    segments: Segments,
    native: Vec<Frame>,
}

impl PythonSide {
    pub(super) fn new(
        module: ModuleId,
        processes: HashMap<MapData, u32, PythonProcessWire>,
        texts: HashMap<MapData, PythonNameKey, PythonNameWire>,
    ) -> PythonSide {
        PythonSide {
            module,
            processes,
            told: FxHashMap::default(),
            texts,
            names: PythonNames::default(),
            eval: FxHashMap::default(),
            segments: Segments::default(),
            native: Vec::new(),
        }
    }

    /// Tells of a process's interpreter; `None`: it has none (any more).
    ///
    /// # Errors
    /// Where there is no room for it.
    pub(super) fn tell(
        &mut self,
        pid: Pid,
        process: Option<&PythonProcess>,
    ) -> Result<(), MapError> {
        if self.told.get(&pid) == process {
            return Ok(());
        }
        let Some(process) = process else {
            self.told.remove(&pid);
            // Nothing but this removes it.
            let _ = self.processes.remove(&pid.0);
            return Ok(());
        };
        self.processes.insert(pid.0, process.encode(), 0)?;
        self.eval.insert(process.module, process.eval.clone());
        self.told.insert(pid, process.clone());
        Ok(())
    }

    pub(super) fn names(&self) -> &PythonNames {
        &self.names
    }

    /// Puts Python frames, as the programs wrote them, into the place of the native frames in which they run. `is_complete`: the native
    /// stack reaches its root.
    pub(super) fn splice(
        &mut self,
        frames: &mut Vec<Frame>,
        n_kernel: usize,
        words: &[u64],
        read: PythonRead,
        is_complete: bool,
    ) -> PythonRead {
        if !read.has_frames() {
            return read;
        }
        self.segments.clear();
        for word in words.chunks_exact(2) {
            let key = [word[0], word[1] & !PYTHON_ENTRY];
            let frame = match key {
                [0, 0] => None,
                key => Some(PythonFrame(self.number(key))),
            };
            self.segments.push(frame, word[1] & PYTHON_ENTRY != 0);
        }
        self.native.clear();
        self.native.extend(frames.drain(n_kernel..));
        let eval = &self.eval;
        let is_eval = |frame: &Frame| {
            let ranges = eval.get(&frame.module);
            ranges.is_some_and(|ranges| ranges.iter().any(|range| range.contains(&frame.lookup())))
        };
        let module = self.module;
        let python = |PythonFrame(number)| Frame {
            module,
            kind: AddressKind::Interrupted,
            offset: FileOffset(number),
        };
        let is_complete = is_complete && read == PythonRead::Whole;
        let is_spliced = self
            .segments
            .splice(&self.native, is_eval, is_complete, |frame| match frame {
                Ok(native) => frames.push(native),
                Err(frame) => frames.push(python(frame)),
            });
        match is_spliced {
            true => read,
            false => {
                frames.truncate(n_kernel);
                frames.extend(&self.native);
                PythonRead::NotMatching
            }
        }
    }

    fn number(&mut self, key: [u64; 2]) -> u64 {
        if let Some(number) = self.names.ids.get(&key) {
            return *number;
        }
        // What is used longest ago gives way there: then the name is not known, this time.
        let text = self.texts.get(&PythonNameKey { hash: key }, 0).ok();
        text.map_or(UNKNOWN, |text| self.names.add(key, text.text()))
    }
}

impl Default for PythonNames {
    fn default() -> PythonNames {
        PythonNames {
            names: vec![None],
            ids: FxHashMap::default(),
        }
    }
}

impl PythonNames {
    fn add(&mut self, key: [u64; 2], text: String) -> u64 {
        if self.names.len() >= MOST_NAMES {
            return UNKNOWN;
        }
        let number = self.names.len() as u64;
        self.names.push(Some(text.into()));
        self.ids.insert(key, number);
        number
    }

    /// The names from a number on; `None` for the one that is not known.
    pub fn from(&self, first: usize) -> &[Option<Arc<str>>] {
        self.names.get(first..).unwrap_or_default()
    }

    /// How many there are, the unknown one included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl PythonProcess {
    fn encode(&self) -> PythonProcessWire {
        let mut wire = PythonProcessWire {
            interpreters: self.interpreters.0,
            code_type: self.code_type.0,
            module: self.module.0.into(),
            eval_start: [0; MAX_EVAL_RANGES],
            eval_end: [0; MAX_EVAL_RANGES],
            layout: self.layout.encode(),
        };
        for (at, range) in self.eval.iter().take(MAX_EVAL_RANGES).enumerate() {
            wire.eval_start[at] = range.start.0;
            wire.eval_end[at] = range.end.0;
        }
        wire
    }
}

impl PythonLayout {
    fn encode(&self) -> PythonLayoutWire {
        PythonLayoutWire {
            interpreter_next: self.interpreter_next,
            interpreter_threads: self.interpreter_threads,
            thread_next: self.thread_next,
            thread_native_id: self.thread_native_id,
            thread_frame: self.thread_frame,
            frame_in_holder: self.frame_in_holder.unwrap_or(NO_OFFSET),
            frame_previous: self.frame_previous,
            frame_code: self.frame_code,
            frame_owner: self.frame_owner,
            frame_is_entry: self.frame_is_entry.unwrap_or(NO_OFFSET),
            // Beyond what a byte can say.
            owner_without_code: self.owner_without_code.map_or(NO_OFFSET, u16::from),
            object_type: self.object_type,
            code_filename: self.code_filename,
            code_qualname: self.code_qualname,
            code_first_line: self.code_first_line,
            string_length: self.string_length,
            string_state: self.string_state,
            ascii_text: self.ascii_text,
            other_text: self.other_text,
            unused: 0,
        }
    }
}

impl PythonNameWire {
    /// `qualname (file.py:12)`; `…` where a text was too long.
    fn text(&self) -> String {
        let width = usize::from(self.qualname_width);
        let n_read = (self.n_qualname as usize).min(QUALNAME_BYTES / width.max(1));
        let mut text = decode(&self.qualname[..n_read * width], width);
        if n_read < self.n_qualname as usize {
            text.push('…');
        }
        let width = usize::from(self.filename_width);
        let n_read = (self.n_filename as usize).min(FILENAME_BYTES / width.max(1));
        let path = decode(&self.filename[..n_read * width], width);
        let file = match path.rsplit_once('/') {
            Some((_, file)) => file.to_owned(),
            None if n_read < self.n_filename as usize => format!("…{path}"),
            None => path,
        };
        text.push_str(&format!(" ({file}:{})", self.first_line));
        text
    }
}

/// Text of one, two or four bytes a character.
fn decode(bytes: &[u8], width: usize) -> String {
    let point = |bytes: &[u8]| {
        let mut number = [0; 4];
        number[..bytes.len()].copy_from_slice(bytes);
        char::from_u32(u32::from_le_bytes(number)).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    match width {
        1 | 2 | 4 => bytes.chunks_exact(width).map(point).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(qualname: (&[u8], u32, u16), filename: (&[u8], u32, u16), expected: &str) {
        let mut name = PythonNameWire {
            first_line: 12,
            n_qualname: qualname.1,
            n_filename: filename.1,
            qualname_width: qualname.2,
            filename_width: filename.2,
            qualname: [0; QUALNAME_BYTES],
            filename: [0; FILENAME_BYTES],
        };
        name.qualname[..qualname.0.len()].copy_from_slice(qualname.0);
        name.filename[..filename.0.len()].copy_from_slice(filename.0);
        assert_eq!(name.text(), expected);
    }

    #[test]
    fn a_name_is_the_qualified_one_with_the_files_last_part_and_the_first_line() {
        check((b"A.f", 3, 1), (b"/srv/app.py", 11, 1), "A.f (app.py:12)");
        check((b"f", 1, 1), (b"<string>", 8, 1), "f (<string>:12)");
        check((b"", 0, 1), (b"/srv/", 5, 1), " (:12)");
    }

    #[test]
    fn text_of_any_width_is_read_and_what_is_too_long_is_marked() {
        check((b"gr\xfc\xdf", 4, 1), (b"x", 1, 1), "grüß (x:12)");
        check(
            (b"\x3b\x04\x00\xd8", 2, 2),
            (b"x", 1, 1),
            "л\u{fffd} (x:12)",
        );
        check(
            (b"\x00\xf6\x01\x00", 1, 4),
            (b"x", 1, 1),
            "\u{1f600} (x:12)",
        );
        let long = [b'a'; QUALNAME_BYTES];
        let shown = format!(
            "{}… (…{}:12)",
            "a".repeat(QUALNAME_BYTES),
            "b".repeat(FILENAME_BYTES)
        );
        check((&long, 500, 1), (&[b'b'; FILENAME_BYTES], 65, 1), &shown);
    }

    #[test]
    fn a_layout_without_a_field_says_so_by_an_offset_that_none_has() {
        let layout = PythonLayout {
            frame_in_holder: None,
            frame_is_entry: Some(68),
            owner_without_code: None,
            ..PythonLayout {
                interpreter_next: 0,
                interpreter_threads: 16,
                thread_next: 8,
                thread_native_id: 160,
                thread_frame: 56,
                frame_in_holder: None,
                frame_previous: 48,
                frame_code: 32,
                frame_owner: 69,
                frame_is_entry: None,
                owner_without_code: None,
                object_type: 8,
                code_filename: 112,
                code_qualname: 128,
                code_first_line: 72,
                string_length: 16,
                string_state: 32,
                ascii_text: 48,
                other_text: 72,
            }
        };
        let wire = layout.encode();
        assert_eq!(wire.frame_in_holder, NO_OFFSET);
        assert_eq!(wire.frame_is_entry, 68);
        assert!(wire.owner_without_code > u16::from(u8::MAX));
    }
}
