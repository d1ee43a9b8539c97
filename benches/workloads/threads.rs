//! Eight threads that hash, sort and walk B-trees through generics: `threads CPU_SECONDS`.
//!
//! Many short functions, most of them inlined; stacks of some ten frames. Reports as `progress.h` says.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const N_THREADS: u64 = 8;

static UNITS: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

fn now_ns(clock: i32) -> u64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` is a valid timespec of 64-bit Linux, and both clocks exist.
    unsafe { clock_gettime(clock, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

const MONOTONIC: i32 = 1;
const PROCESS_CPU: i32 = 2;

fn main() {
    let cpu_seconds: f64 = std::env::args().nth(1).map_or(1e9, |text| text.parse().expect("CPU seconds"));
    let end_ns = (cpu_seconds * 1e9) as u64;
    println!("pid {}", std::process::id());
    println!("0 {} {}", now_ns(PROCESS_CPU), now_ns(MONOTONIC));
    let threads: Vec<_> = (0..N_THREADS)
        .map(|seed| {
            std::thread::Builder::new()
                .name(format!("worker{seed}"))
                .spawn(move || work(seed, end_ns))
                .expect("start a thread")
        })
        .collect();
    let sum = threads.into_iter().map(|thread| thread.join().expect("a worker")).fold(0, u64::wrapping_add);
    println!("{} {} {}", UNITS.load(Ordering::Relaxed), now_ns(PROCESS_CPU), now_ns(MONOTONIC));
    std::process::exit(i32::from(sum == 1));
}

fn work(seed: u64, end_ns: u64) -> u64 {
    let mut random = Random(seed + 88_172_645_463_325_252);
    let mut sum = 0;
    let mut printed_ns = 0;
    while !OVER.load(Ordering::Relaxed) {
        let words: Vec<String> = (0..200).map(|_| format!("key{}", random.next() % 500)).collect();
        let numbers: Vec<u64> = (0..400).map(|_| random.next()).collect();
        sum ^= count(&words) ^ count(&numbers) ^ tree(&words) ^ tree(&numbers) ^ sorted(words) ^ sorted(numbers);
        let units = UNITS.fetch_add(1, Ordering::Relaxed) + 1;
        let cpu_ns = now_ns(PROCESS_CPU);
        if cpu_ns >= end_ns {
            OVER.store(true, Ordering::Relaxed);
        }
        if seed == 0 && cpu_ns - printed_ns >= 20_000_000 {
            println!("{units} {cpu_ns} {}", now_ns(MONOTONIC));
            printed_ns = cpu_ns;
        }
    }
    sum
}

#[inline(never)]
fn count<K: Hash + Eq>(keys: &[K]) -> u64 {
    let mut counts: HashMap<&K, u64> = HashMap::new();
    keys.iter().for_each(|key| *counts.entry(key).or_default() += 1);
    counts.values().copied().max().unwrap_or(0)
}

#[inline(never)]
fn tree<K: Ord>(keys: &[K]) -> u64 {
    let tree: BTreeMap<&K, usize> = keys.iter().enumerate().map(|(place, key)| (key, place)).collect();
    keys.iter().filter_map(|key| tree.get(key)).map(|place| *place as u64).sum()
}

#[inline(never)]
fn sorted<K: Ord + Clone>(mut keys: Vec<K>) -> u64 {
    keys.sort_by(|a, b| b.cmp(a));
    keys.dedup();
    keys.len() as u64
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
