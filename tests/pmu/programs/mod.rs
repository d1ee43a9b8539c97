//! Programs of known length. All but `crew` do without libc, so that their instructions can be counted.

use crate::support::{Program, compile_c};

/// Instructions of a turn of each loop.
pub const PER_TURN: u64 = 10;

/// `first` with N turns and `second` with 2·N.
pub fn loops() -> Program {
    freestanding(include_str!("loops.c"))
}

/// N turns each in `in_parent`, `in_child` and, after an exec, `in_exec`.
pub fn family() -> Program {
    freestanding(include_str!("family.c"))
}

/// N turns and N system calls.
pub fn calls_kernel() -> Program {
    freestanding(include_str!("calls_kernel.c"))
}

/// Three instructions in all.
pub fn ends() -> Program {
    compile_c(include_str!("ends.c"), &FREESTANDING)
}

/// Four threads, busy in `before_1` to `before_4` until they are told, then for N turns in `after_1` to `after_4`.
pub fn crew() -> Program {
    compile_c(
        include_str!("crew.c"),
        &["-O1", "-fno-optimize-sibling-calls"],
    )
}

const FREESTANDING: [&str; 8] = [
    "-O1",
    "-fno-optimize-sibling-calls",
    "-fno-stack-protector",
    "-fasynchronous-unwind-tables",
    "-ffreestanding",
    "-nostdlib",
    "-static",
    "-no-pie",
];

fn freestanding(source: &str) -> Program {
    let source = format!("{}{source}", include_str!("freestanding.h"));
    compile_c(&source, &FREESTANDING)
}
