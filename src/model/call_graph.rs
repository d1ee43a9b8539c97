//! How stacks are found: the value of `--call-graph`.
//!
//! ```text
//! auto | dwarf[,BYTES] | fp | none
//! ```

use std::fmt;
use std::str::FromStr;

/// How a sample's stack is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallGraph {
    /// Copies of the stack, walked by unwind tables; how much is copied follows from what the stacks need.
    #[default]
    Auto,
    /// The same with copies of a fixed size, if one is given.
    Dwarf {
        /// Bytes copied with each sample: a multiple of 8, at most [`CallGraph::MAX_COPY`].
        bytes: Option<u32>,
    },
    /// The kernel follows frame pointers; nothing is copied.
    FramePointer,
    /// No stacks: the interrupted address alone.
    None,
}

impl CallGraph {
    /// The largest stack copy the kernel takes: a record's size is 16 bits wide, and the copy a multiple of 8.
    pub const MAX_COPY: u32 = 65528;
}

/// Why the text is no call graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCallGraphError {
    /// None of the methods.
    #[error("unknown method {0:?}: auto, dwarf[,BYTES], fp and none are known")]
    Method(String),
    /// A copy size that is no number, 0 or too large.
    #[error("stack copy of {0:?} bytes: 1 to {max} are possible", max = CallGraph::MAX_COPY)]
    Size(String),
}

impl FromStr for CallGraph {
    type Err = ParseCallGraphError;

    fn from_str(text: &str) -> Result<CallGraph, ParseCallGraphError> {
        match text.split_once(',') {
            None => match text {
                "auto" => Ok(CallGraph::Auto),
                "dwarf" => Ok(CallGraph::Dwarf { bytes: None }),
                "fp" => Ok(CallGraph::FramePointer),
                "none" | "no" => Ok(CallGraph::None),
                _ => Err(ParseCallGraphError::Method(text.to_owned())),
            },
            Some(("dwarf", size)) => {
                let error = || ParseCallGraphError::Size(size.to_owned());
                let bytes: u32 = size.parse().map_err(|_| error())?;
                if bytes == 0 || bytes > CallGraph::MAX_COPY {
                    return Err(error());
                }
                Ok(CallGraph::Dwarf {
                    bytes: Some(bytes.next_multiple_of(8)),
                })
            }
            Some(_) => Err(ParseCallGraphError::Method(text.to_owned())),
        }
    }
}

impl fmt::Display for CallGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallGraph::Auto => f.write_str("auto"),
            CallGraph::Dwarf { bytes: None } => f.write_str("dwarf"),
            CallGraph::Dwarf { bytes: Some(bytes) } => write!(f, "dwarf,{bytes}"),
            CallGraph::FramePointer => f.write_str("fp"),
            CallGraph::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_size_is_rounded_up_to_what_the_kernel_takes() {
        let bytes = |text: &str| text.parse::<CallGraph>();
        for (text, expected) in [("dwarf,1", 8), ("dwarf,8192", 8192), ("dwarf,65521", 65528)] {
            let expected = CallGraph::Dwarf {
                bytes: Some(expected),
            };
            assert_eq!(bytes(text), Ok(expected));
        }
        for text in ["dwarf,0", "dwarf,65529", "dwarf,", "dwarf,-8", "dwarf,8k"] {
            assert!(
                matches!(bytes(text), Err(ParseCallGraphError::Size(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_printed_parses_to_the_same_method() {
        for text in ["auto", "dwarf", "dwarf,4096", "fp", "none"] {
            let parsed: CallGraph = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
        for text in ["", "lbr", "fp,8", "auto,8"] {
            assert!(text.parse::<CallGraph>().is_err(), "{text}");
        }
    }
}
