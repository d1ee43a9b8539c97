//! The structs of the versions that do not describe themselves: CPython 3.11 and 3.12 on 64-bit machines, from the debug information of
//! their release builds. They are the same in all releases of a version, since its extensions rely on most of them.

use crate::bpf::PythonLayout;

/// A version's structs, and the place of `interpreters.head` in `_PyRuntime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) interpreters_head: u64,
    pub(super) layout: PythonLayout,
}

pub(super) const PYTHON_3_11: Known = Known {
    interpreters_head: 40,
    layout: PythonLayout {
        interpreter_next: 0,
        interpreter_threads: 16,
        thread_next: 8,
        thread_native_id: 160,
        thread_frame: 56,
        frame_in_holder: Some(8),
        frame_previous: 48,
        frame_code: 32,
        frame_owner: 69,
        frame_is_entry: Some(68),
        owner_without_code: None,
        object_type: 8,
        code_filename: 112,
        code_qualname: 128,
        code_first_line: 72,
        string_length: 16,
        string_state: 32,
        ascii_text: 48,
        other_text: 72,
    },
};

pub(super) const PYTHON_3_12: Known = Known {
    interpreters_head: 40,
    layout: PythonLayout {
        interpreter_next: 0,
        interpreter_threads: 72,
        thread_next: 8,
        thread_native_id: 144,
        thread_frame: 56,
        frame_in_holder: Some(0),
        frame_previous: 8,
        frame_code: 0,
        frame_owner: 70,
        frame_is_entry: None,
        owner_without_code: Some(3),
        object_type: 8,
        code_filename: 112,
        code_qualname: 128,
        code_first_line: 68,
        string_length: 16,
        string_state: 32,
        ascii_text: 40,
        other_text: 56,
    },
};
