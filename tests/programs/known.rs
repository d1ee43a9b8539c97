//! A Rust program: recursion through a generic function, 60 deep, in the main thread and in a named one.

use std::hint::black_box;

fn main() {
    let thread = std::thread::Builder::new()
        .name("second".into())
        .spawn(|| in_thread(3))
        .expect("start a thread");
    let sum = in_main(1) ^ thread.join().expect("the thread");
    std::process::exit(i32::from(black_box(sum) == 1));
}

#[inline(never)]
fn in_main(seed: u64) -> u64 {
    repeat(|| descend::<u64>(60, seed))
}

#[inline(never)]
fn in_thread(seed: u64) -> u64 {
    repeat(|| descend::<u64>(60, seed))
}

#[inline(always)]
fn repeat(work: impl Fn() -> u64) -> u64 {
    (0..5_000).fold(0, |sum, _| sum ^ black_box(work()))
}

#[inline(never)]
fn descend<T: Into<u64> + From<u32> + Copy>(depth: u32, seed: T) -> u64 {
    let below = if depth > 1 {
        descend::<T>(depth - 1, seed)
    } else {
        spin(seed.into())
    };
    black_box(below) + 1
}

#[inline(never)]
fn spin(mut x: u64) -> u64 {
    for _ in 0..20_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x = black_box(x);
    }
    x
}
