//! A `perf_event_attr` as text, field by field, under the names that `perf -vv` prints: from the kernel's bytes, and from
//! that print itself.

use std::collections::BTreeMap;

/// rbx, rcx, rdi, rbp, rsp, rip, flags, r10, r11.
#[cfg(target_arch = "x86_64")]
pub const UNWOUND_REGISTERS: &str = "0xc03e6";
/// x29, x30, sp, pc.
#[cfg(target_arch = "aarch64")]
pub const UNWOUND_REGISTERS: &str = "0x1e0000000";

/// Fields that are not 0. Bits of `sample_type` and `read_format` are fields of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attr(BTreeMap<String, String>);

/// Offset, size in bytes, name. <linux/perf_event.h>
const WORDS: [(usize, usize, &str); 18] = [
    (0, 4, "type"),
    (4, 4, "size"),
    (8, 8, "config"),
    (16, 8, "{ sample_period, sample_freq }"),
    (48, 4, "{ wakeup_events, wakeup_watermark }"),
    (52, 4, "bp_type"),
    (56, 8, "{ bp_addr, config1 }"),
    (64, 8, "{ bp_len, config2 }"),
    (72, 8, "branch_sample_type"),
    (80, 8, "sample_regs_user"),
    (88, 4, "sample_stack_user"),
    (92, 4, "clockid"),
    (96, 8, "sample_regs_intr"),
    (104, 4, "aux_watermark"),
    (108, 2, "sample_max_stack"),
    (112, 4, "aux_sample_size"),
    (120, 8, "sig_data"),
    (128, 8, "config3"),
];
/// Of these the print is hexadecimal.
const IN_HEXADECIMAL: [&str; 6] = [
    "config",
    "{ bp_addr, config1 }",
    "{ bp_len, config2 }",
    "sample_regs_user",
    "sample_regs_intr",
    "config3",
];
const SAMPLE_TYPE: (usize, &str) = (24, "sample_type");
const SAMPLE_TYPES: &str = "IP TID TIME ADDR READ CALLCHAIN ID CPU PERIOD STREAM_ID RAW BRANCH_STACK REGS_USER \
     STACK_USER WEIGHT DATA_SRC IDENTIFIER TRANSACTION REGS_INTR PHYS_ADDR AUX CGROUP DATA_PAGE_SIZE CODE_PAGE_SIZE \
     WEIGHT_STRUCT";
const READ_FORMAT: (usize, &str) = (32, "read_format");
const READ_FORMATS: &str = "TOTAL_TIME_ENABLED TOTAL_TIME_RUNNING ID GROUP LOST";
const FLAGS: usize = 40;
/// In the order of their bits.
const FLAG_NAMES: &str = "disabled inherit pinned exclusive exclude_user exclude_kernel exclude_hv exclude_idle mmap comm \
     freq inherit_stat enable_on_exec task watermark precise_ip precise_ip.1 mmap_data sample_id_all exclude_host exclude_guest \
     exclude_callchain_kernel exclude_callchain_user mmap2 comm_exec use_clockid context_switch write_backward namespaces \
     ksymbol bpf_event aux_output cgroup text_poke build_id inherit_thread remove_on_exec sigtrap";

impl Attr {
    /// From memory, and what is behind it.
    pub fn from_bytes(bytes: &[u8]) -> (Attr, &[u8]) {
        let size = usize::try_from(number(bytes, 4, 4)).expect("a size");
        let (bytes, rest) = bytes.split_at(size);
        let mut fields = BTreeMap::new();
        let mut add = |name: String, value: u64| {
            let text = match IN_HEXADECIMAL.contains(&name.as_str()) {
                true => format!("{value:#x}"),
                false => value.to_string(),
            };
            if value != 0 {
                fields.insert(name, text);
            }
        };
        for (offset, length, name) in WORDS {
            add(name.to_owned(), number(bytes, offset, length));
        }
        let bits = |offset, names: &'static str| {
            let value = number(bytes, offset, 8);
            assert!(
                value >> names.split_whitespace().count() == 0,
                "unnamed bits: {value:#x}"
            );
            let names = names.split_whitespace().enumerate();
            names.map(move |(bit, name)| (name, value >> bit & 1))
        };
        bits(FLAGS, FLAG_NAMES).for_each(|(name, bit)| add(name.to_owned(), bit));
        for ((offset, set), names) in [(SAMPLE_TYPE, SAMPLE_TYPES), (READ_FORMAT, READ_FORMATS)] {
            bits(offset, names).for_each(|(name, bit)| add(format!("{set}.{name}"), bit));
        }
        (Attr(fields), rest)
    }

    /// From the lines `  name   value` of one print.
    fn from_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Attr {
        let mut fields = BTreeMap::new();
        for line in lines {
            // A name of two fields has brackets and spaces: `{ sample_period, sample_freq }`.
            let line = line.trim();
            let end = line.find('}').map(|at| at + 1);
            let end = end.or_else(|| line.find(' ')).expect("two columns");
            let (name, value) = line.split_at(end);
            // Newer ones add a word in brackets: `0 (PERF_TYPE_HARDWARE)`.
            let value = value.split_whitespace().next().expect("a value");
            match [SAMPLE_TYPE.1, READ_FORMAT.1].contains(&name) {
                true => fields.extend(
                    value
                        .split('|')
                        .map(|bit| (format!("{name}.{bit}"), "1".to_owned())),
                ),
                false => drop(fields.insert(name.to_owned(), value.to_owned())),
            }
        }
        // Newer ones print them even if they are 0.
        fields.retain(|_, value| value != "0" && value != "0x0");
        Attr(fields)
    }

    /// A field; `0` if it is not there, as of a number in decimal.
    pub fn get(&self, name: &str) -> &str {
        let zero = if IN_HEXADECIMAL.contains(&name) {
            "0x0"
        } else {
            "0"
        };
        self.0.get(name).map_or(zero, String::as_str)
    }

    /// The fields that are not 0.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// All that `perf -vv` printed.
pub fn blocks(text: &str) -> Vec<Attr> {
    let behind_titles = text.split("perf_event_attr:\n").skip(1);
    behind_titles
        .map(|block| Attr::from_lines(block.lines().take_while(|line| line.starts_with("  "))))
        .collect()
}

fn number(bytes: &[u8], offset: usize, length: usize) -> u64 {
    let mut word = [0; 8];
    // What is beyond its size is 0.
    let there = bytes.get(offset..offset + length).unwrap_or_default();
    word[..there.len()].copy_from_slice(there);
    u64::from_le_bytes(word)
}
