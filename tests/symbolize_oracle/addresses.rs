//! Which addresses are asked about.

use std::ops::Range;

use object::{Object, ObjectSection};

/// Addresses of `.text`: all, or `n` of a larger one, in no order. The same at each run.
pub fn addresses(file: &object::File<'_>, n: usize) -> Vec<u64> {
    let text = file.section_by_name(".text").expect("the file has code");
    choose(text.address()..text.address() + text.size(), n)
}

fn choose(text: Range<u64>, n: usize) -> Vec<u64> {
    let n_all = text.end - text.start;
    if n_all <= n as u64 {
        return text.collect();
    }
    let mut state = 0;
    (0..n)
        .map(|_| text.start + splitmix64(&mut state) % n_all)
        .collect()
}

/// <https://prng.di.unimi.it/splitmix64.c>
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn of_little_code_all_addresses_are_asked_and_of_much_some_everywhere() {
    assert_eq!(choose(16..20, 4), [16, 17, 18, 19]);
    let chosen = choose(1000..2000, 500);
    assert_eq!(chosen.len(), 500);
    for tenth in 10..20 {
        let range = tenth * 100..(tenth + 1) * 100;
        assert!(chosen.iter().any(|address| range.contains(address)));
    }
}
