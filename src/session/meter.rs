//! What perfd itself takes while it samples.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::model::{Cost, MonoNs, TableCost};
use crate::procfs::memory;
use crate::sampler::Sampling;
use crate::sys;

/// Measures from the run's beginning to the end of the sampling; of the thread that it is read from, which is the one that takes in samples.
pub(super) struct Meter {
    proc_root: PathBuf,
    began: MonoNs,
    cpu_ns: u64,
    sampling_cpu_ns: u64,
    /// What the whole sampling took, when it is over: names and outputs of its last window are not in it.
    whole: Option<Cost>,
}

impl Meter {
    /// Begins now.
    pub(super) fn start(proc_root: PathBuf) -> Meter {
        Meter {
            proc_root,
            began: sys::now(),
            cpu_ns: sys::cpu_time_of_process(),
            sampling_cpu_ns: sys::cpu_time_of_thread(),
            whole: None,
        }
    }

    /// What was taken until now, or until the end of the sampling, but for the tables, which others know.
    pub(super) fn read(&self, sampling: &Sampling) -> Cost {
        let measure = || self.measure(sampling);
        self.whole.clone().unwrap_or_else(measure)
    }

    /// The sampling is over.
    pub(super) fn stop(&mut self, sampling: &Sampling) {
        self.whole = Some(self.measure(sampling));
    }

    /// Nanoseconds that follow from the rate of the samples: of the thread that takes them in, and of the BPF programs. Unwind tables
    /// and names cost the same at any rate.
    pub(super) fn of_sampling_ns(&self, sampling: &Sampling) -> u64 {
        let bpf = sampling.kernel_walk().and_then(|walk| walk.time());
        let cpu_ns = sys::cpu_time_of_thread() - self.sampling_cpu_ns;
        cpu_ns + bpf.map_or(0, |time| time.total_ns())
    }

    fn measure(&self, sampling: &Sampling) -> Cost {
        let elapsed = sys::now().since(self.began).as_nanos();
        let map_size = |map: BorrowedFd<'_>| memory::of_bpf_map(&self.proc_root, map);
        Cost {
            elapsed_ns: u64::try_from(elapsed).unwrap_or(u64::MAX),
            cpu_ns: sys::cpu_time_of_process() - self.cpu_ns,
            sampling_cpu_ns: sys::cpu_time_of_thread() - self.sampling_cpu_ns,
            peak_memory_bytes: memory::peak_of_self(&self.proc_root),
            tables: TableCost::default(),
            bpf: sampling.kernel_walk().map(|walk| walk.cost(map_size)),
        }
    }
}
