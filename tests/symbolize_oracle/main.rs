//! `perfd symbolize` against `llvm-symbolizer-14`, the reference: functions, chains of inlined calls, files and lines at 100 000 addresses of real files,
//! and at every address of programs that are built here.
//!
//! Functions are compared as the linker names them (without `-C`); what `-C` makes of them has a test of its own. Of each kind (depth of the chain, name,
//! file, line) fewer than one address in a thousand may differ, after this normalisation and no other:
//!
//! - ` (discriminator 3)` behind a line is dropped, a line of `?` is 0, a file without a name is `??`. `.` and empty components of a path are dropped; `..` are kept.
//! - llvm gives the outermost frame the name of the symbol that covers the address, not that of the debug information. Any symbol that begins at the same address will do
//!   (`__wcscasecmp_l` for `wcscasecmp_l`), and any of these names without version (`@GLIBC_2.2.5`) and without what a compiler appends (`.cold`, `.isra.0`, `.llvm.123`, `.abi0` of Go).
//! - Filling between functions belongs to no function: there llvm has a line but no name, and the symbol before it will do.
//! - Where there is no debug information llvm takes the name of the source file from the symbol table (`crtstuff.c:0`); `??:0` will do.
//! - llvm 14 puts a relative directory of compilation before directory 0 of DWARF 5, which is that directory (`./nss/./nss/x.c`): once is right.
//!
//! What was normalised is counted by class in the report that a failing test prints. To judge the judge, put another program in perfd's place:
//! `PERFD_ORACLE_STAND_IN=…/addr2line cargo test --test symbolize_oracle`, of which gimli's passes.

mod addresses;
mod answers;
mod compare;
mod demangled;
mod files;
mod own;
mod programs;
#[path = "../support/mod.rs"]
mod support;
mod symbols;
