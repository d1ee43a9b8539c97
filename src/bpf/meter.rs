//! What the programs and their maps take, as the kernel says.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya::programs::ProgramError;
use aya::sys::Stats;

use crate::model::BpfTime;

/// What the names of the programs on samples begin with.
pub(super) const SAMPLE_PROGRAMS: &str = "sample_";

/// Lets the kernel measure the run time of all BPF programs on this host, as long as it lives (`BPF_ENABLE_STATS`, Linux 5.8). That costs
/// each run two readings of a clock, 20 to 30 ns.
pub(super) struct Meter {
    _statistics: OwnedFd,
}

impl Meter {
    /// `None` without CAP_SYS_ADMIN: CAP_BPF is not enough.
    pub(super) fn start() -> Option<Meter> {
        let statistics = aya::sys::enable_stats(Stats::RunTime).ok()?;
        Some(Meter {
            _statistics: statistics,
        })
    }

    /// What the loaded programs have taken since they were loaded.
    pub(super) fn read(&self, ebpf: &Ebpf) -> Result<BpfTime, ProgramError> {
        let mut time = BpfTime::default();
        for (name, program) in ebpf.programs() {
            let info = match program.info() {
                Ok(info) => info,
                Err(ProgramError::NotLoaded) => continue,
                Err(error) => return Err(error),
            };
            let ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
            let (of_kind, runs) = match name.starts_with(SAMPLE_PROGRAMS) {
                true => (&mut time.sample_ns, &mut time.samples),
                false => (&mut time.mapping_ns, &mut time.mappings),
            };
            *of_kind += ns;
            *runs += info.run_count();
        }
        Ok(time)
    }
}

/// A second descriptor of each map, to ask for its size by: those that are used are given away one by one.
pub(super) fn descriptors(ebpf: &Ebpf) -> std::io::Result<Vec<OwnedFd>> {
    let maps = ebpf.maps().filter_map(|(_, map)| data(map));
    maps.map(|map| map.fd().as_fd().try_clone_to_owned())
        .collect()
}

/// Of the kinds of maps that the object has.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data) => Some(data),
        _ => None,
    }
}

/// The sum of sizes, if all are known.
pub(super) fn bytes(
    maps: &[OwnedFd],
    mut size: impl FnMut(BorrowedFd<'_>) -> Option<u64>,
) -> Option<u64> {
    maps.iter().map(|map| size(map.as_fd())).sum()
}
