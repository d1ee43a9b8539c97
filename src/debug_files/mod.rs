//! Where the debug information of a file lies that it does not hold itself.
//!
//! | asked for | where | known to be right by |
//! | --- | --- | --- |
//! | [`separate`](DebugFiles::separate) | `/usr/lib/debug/.build-id/xx/yyyy.debug` | build id |
//! | | what `.gnu_debuglink` names: beside the file, in `.debug/` there, in `/usr/lib/debug/FOLDER` | CRC-32, and the build id where both have one |
//! | | a debuginfod server, if the user wants that | build id |
//! | [`alternate`](DebugFiles::alternate) | what `.gnu_debugaltlink` names (`dwz -m`): by its build id, then by its path, then debuginfod | build id |
//! | [`mini()`] | `.gnu_debugdata` in the file itself, an xz stream | being part of the file |
//! | [`package`](DebugFiles::package), [`split_unit`](DebugFiles::split_unit) | `FILE.dwp`; the path in a skeleton unit (`.dwo`) | the unit's id, by who reads it |
//!
//! A target's files are looked for in the tree that the target sees, then in perfd's own. All paths and links are foreign
//! ([`FileTree`](crate::procfs::file_tree::FileTree)); only regular files are opened. What is there and not right is left
//! out, and told of in [`DebugFiles::notes`]. DWARF is not read here.

mod candidate;
pub mod debuginfod;
mod mini;
mod origin;
mod search;
mod split;
mod trees;

pub use mini::{MiniError, mini};
pub use origin::{DebugFile, Origin};
pub use search::{Config, DebugFiles};
pub use trees::{Found, NotFound, OwnTrees, Tree, Trees};
