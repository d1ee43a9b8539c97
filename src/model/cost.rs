//! What perfd itself takes of the host, as far as it is measured.

use serde::{Deserialize, Serialize};

/// What perfd took over some time of a run.
///
/// The kernel's own part of a sample (the interrupt, the copy of a stack) is the target's time and not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// The time that was measured over: while samples were taken.
    pub elapsed_ns: u64,
    /// CPU time of all of perfd's threads, but not of the command.
    pub cpu_ns: u64,
    /// The part of it that the thread took which takes in the samples: what follows from the rate.
    pub sampling_cpu_ns: u64,
    /// Most memory that perfd had at a time since it started.
    pub peak_memory_bytes: Option<u64>,
    /// Unwind tables.
    pub tables: TableCost,
    /// The programs that walk stacks in the kernel; `None` if there are none.
    pub bpf: Option<BpfCost>,
}

/// What became of unwind tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableCost {
    /// Made from a module.
    pub built: u64,
    /// Modules that were given the table of another file with the same.
    pub shared: u64,
    /// Copies that had to make room for others; a table has one that perfd walks with, and may have one in the kernel.
    pub evicted: u64,
    /// Times that there was no room for a copy: samples that need it go through the ring, or wait until it is built again.
    pub refused: u64,
    /// Times that a module with a number beyond those that the kernel's walk knows got a table: its samples go through the ring.
    pub beyond_kernel: u64,
    /// What all copies take, in perfd and in the kernel.
    pub bytes: u64,
}

fn add(to: &mut u64, n: u64) {
    *to = to.saturating_add(n);
}

impl TableCost {
    fn merge(&mut self, window: &TableCost) {
        add(&mut self.built, window.built);
        add(&mut self.shared, window.shared);
        add(&mut self.evicted, window.evicted);
        add(&mut self.refused, window.refused);
        add(&mut self.beyond_kernel, window.beyond_kernel);
        self.bytes = window.bytes;
    }

    fn since(&self, earlier: &TableCost) -> TableCost {
        TableCost {
            built: self.built - earlier.built,
            shared: self.shared - earlier.shared,
            evicted: self.evicted - earlier.evicted,
            refused: self.refused - earlier.refused,
            beyond_kernel: self.beyond_kernel - earlier.beyond_kernel,
            bytes: self.bytes,
        }
    }
}

/// What the BPF programs took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BpfCost {
    /// What the kernel measured of them; `None` where it may not be asked (`BPF_ENABLE_STATS` needs CAP_SYS_ADMIN).
    pub time: Option<BpfTime>,
    /// The maps, as the kernel says, without the unwind tables.
    pub map_bytes: Option<u64>,
    /// The unwind tables.
    pub table_bytes: u64,
}

/// Run time of BPF programs, on all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BpfTime {
    /// Of the programs on samples, those of bystanders included.
    pub sample_ns: u64,
    /// How often they ran.
    pub samples: u64,
    /// Of the programs on new mappings and execs, of everybody on the host.
    pub mapping_ns: u64,
    /// How often they ran.
    pub mappings: u64,
}

impl BpfTime {
    /// All programs together.
    pub fn total_ns(&self) -> u64 {
        self.sample_ns + self.mapping_ns
    }

    /// The sum.
    pub fn and(&self, other: &BpfTime) -> BpfTime {
        BpfTime {
            sample_ns: self.sample_ns.saturating_add(other.sample_ns),
            samples: self.samples.saturating_add(other.samples),
            mapping_ns: self.mapping_ns.saturating_add(other.mapping_ns),
            mappings: self.mappings.saturating_add(other.mappings),
        }
    }

    /// What was added since an earlier reading.
    pub fn since(&self, earlier: &BpfTime) -> BpfTime {
        BpfTime {
            sample_ns: self.sample_ns - earlier.sample_ns,
            samples: self.samples - earlier.samples,
            mapping_ns: self.mapping_ns - earlier.mapping_ns,
            mappings: self.mappings - earlier.mappings,
        }
    }
}

impl Cost {
    /// Adds what a later window took; memory is as it is then, and of its peaks the highest.
    pub fn merge(&mut self, window: &Cost) {
        add(&mut self.elapsed_ns, window.elapsed_ns);
        add(&mut self.cpu_ns, window.cpu_ns);
        add(&mut self.sampling_cpu_ns, window.sampling_cpu_ns);
        self.peak_memory_bytes = self.peak_memory_bytes.max(window.peak_memory_bytes);
        self.tables.merge(&window.tables);
        if let Some(bpf) = window.bpf {
            let earlier = self.bpf.and_then(|bpf| bpf.time);
            self.bpf = Some(BpfCost {
                time: match (earlier, bpf.time) {
                    (Some(earlier), Some(time)) => Some(earlier.and(&time)),
                    (earlier, time) => time.or(earlier),
                },
                ..bpf
            });
        }
    }

    /// What was added since an earlier reading; memory is as it is now.
    pub fn since(&self, earlier: &Cost) -> Cost {
        let earlier_bpf = earlier.bpf.and_then(|bpf| bpf.time).unwrap_or_default();
        Cost {
            elapsed_ns: self.elapsed_ns - earlier.elapsed_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            sampling_cpu_ns: self.sampling_cpu_ns - earlier.sampling_cpu_ns,
            peak_memory_bytes: self.peak_memory_bytes,
            tables: self.tables.since(&earlier.tables),
            bpf: self.bpf.map(|bpf| BpfCost {
                time: bpf.time.map(|time| time.since(&earlier_bpf)),
                ..bpf
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_own_times_and_the_memory_of_its_end() {
        let at = |n: u64| Cost {
            elapsed_ns: 1000 * n,
            cpu_ns: 10 * n,
            sampling_cpu_ns: 7 * n,
            peak_memory_bytes: Some(100 + n),
            tables: TableCost {
                built: n,
                bytes: 1000 * n,
                ..TableCost::default()
            },
            bpf: Some(BpfCost {
                time: Some(BpfTime {
                    sample_ns: 5 * n,
                    samples: n,
                    mapping_ns: 2 * n,
                    mappings: n,
                }),
                map_bytes: Some(4096),
                table_bytes: 10 * n,
            }),
        };
        let window = at(5).since(&at(2));
        assert_eq!((window.elapsed_ns, window.cpu_ns), (3000, 30));
        assert_eq!(window.peak_memory_bytes, Some(105));
        assert_eq!((window.tables.built, window.tables.bytes), (3, 5000));
        let bpf = window.bpf.unwrap();
        assert_eq!((bpf.map_bytes, bpf.table_bytes), (Some(4096), 50));
        assert_eq!(bpf.time.unwrap().samples, 3);
        assert_eq!(bpf.time.unwrap().total_ns(), 15 + 6);
        assert_eq!(window.sampling_cpu_ns, 21);
        // Windows one after the other are the whole again.
        let mut whole = at(2);
        whole.merge(&window);
        assert_eq!(whole, at(5));
        // The first window has nothing before it.
        assert_eq!(at(5).since(&Cost::default()), at(5));
    }
}
