//! What sysfs says of the PMUs of the CPUs: their names, their models, and how an event is asked of one of several.
//!
//! ```text
//! <sys>/bus/event_source/devices/<pmu>/caps/pmu_name   the model: skylake, alderlake_hybrid (Intel; others do not say)
//! <sys>/bus/event_source/devices/<pmu>/type            its number
//! ```

use std::fs;

use super::SysRoots;
use super::event_source::{cpu_pmus, devices};
use crate::model::{HardwareEvent, ResolvedEvent};

/// A PMU whose events are those of a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuPmu {
    /// Its folder in sysfs: `cpu`, `cpu_core`, `armv8_pmuv3_0`.
    pub name: String,
    /// The name of its model, where it says one: `alderlake`.
    pub model: Option<String>,
    /// Its number, by which an event is asked of this one of several; 0 if it is the only one.
    type_: u32,
}

impl CpuPmu {
    /// All of this host: none in many virtual machines, one on most hosts, one for each kind of CPU on the others.
    pub fn all(roots: &SysRoots) -> Vec<CpuPmu> {
        let names = cpu_pmus(roots);
        // Where there is one, it need not know about numbers (PERF_PMU_CAP_EXTENDED_HW_TYPE).
        let are_several = names.len() > 1;
        let of_name = |name: String| {
            let device = devices(roots).join(&name);
            let read = |file: &str| fs::read_to_string(device.join(file)).ok();
            let number = || read("type")?.trim().parse().ok();
            CpuPmu {
                model: read("caps/pmu_name").map(|text| text.trim().to_owned()),
                type_: are_several.then(number).flatten().unwrap_or(0),
                name,
            }
        };
        names.into_iter().map(of_name).collect()
    }

    /// A generalized event of this PMU and no other: `config = event | type << 32` (`PERF_PMU_TYPE_SHIFT` of
    /// <linux/perf_event.h>).
    pub fn event(&self, event: HardwareEvent) -> ResolvedEvent {
        ResolvedEvent {
            config: event as u64 | u64::from(self.type_) << 32,
            host_only: true,
            ..ResolvedEvent::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pmus(files: &[(&str, &str)]) -> Vec<CpuPmu> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = dir.path().join("bus/event_source/devices").join(path);
            fs::create_dir_all(path.parent().expect("has a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        CpuPmu::all(&SysRoots {
            sys: dir.path().to_owned(),
            ..SysRoots::default()
        })
    }

    #[test]
    fn the_only_pmu_is_asked_without_its_number() {
        let pmus = pmus(&[("armv8_pmuv3/type", "8\n"), ("armv8_pmuv3/cpus", "0-3\n")]);
        assert_eq!(pmus.len(), 1);
        assert_eq!(pmus[0].event(HardwareEvent::RefCycles).config, 9);
    }

    #[test]
    fn each_kind_of_cpu_has_a_pmu_with_its_own_number() {
        let pmus = pmus(&[
            ("cpu_core/type", "4\n"),
            ("cpu_core/cpus", "0-7\n"),
            ("cpu_core/caps/pmu_name", "alderlake_hybrid\n"),
            ("cpu_atom/type", "10\n"),
            ("cpu_atom/cpus", "8-15\n"),
            ("uncore_imc/type", "12\n"),
        ]);
        let names: Vec<_> = pmus.iter().map(|pmu| pmu.name.as_str()).collect();
        assert_eq!(names, ["cpu_atom", "cpu_core"]);
        assert_eq!(pmus[0].model, None);
        assert_eq!(pmus[1].model.as_deref(), Some("alderlake_hybrid"));
        let event = pmus[0].event(HardwareEvent::Instructions);
        assert_eq!((event.type_, event.config), (0, 10 << 32 | 1));
    }
}
