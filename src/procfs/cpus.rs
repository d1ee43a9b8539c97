//! Which CPUs are online: `/sys/devices/system/cpu/online`.
//!
//! ```text
//! 0-3,8,10-11
//! ```

use std::fs;
use std::io;

use super::SysRoots;
use crate::model::Cpu;

/// More CPUs than any kernel is built for; a list that names more is not believed.
const MAX_CPUS: u32 = 1 << 16;

/// The CPUs that are online, in ascending order.
pub fn online(roots: &SysRoots) -> io::Result<Vec<Cpu>> {
    let text = fs::read_to_string(roots.sys.join("devices/system/cpu/online"))?;
    parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(text: &str) -> Option<Vec<Cpu>> {
    let mut cpus = Vec::new();
    for run in text.trim().split(',') {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        cpus.extend((first..=last).map(Cpu));
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_single_cpus_are_listed_one_by_one() {
        assert_eq!(parse("0-2,8\n"), Some([0, 1, 2, 8].map(Cpu).to_vec()));
        for text in ["", "a", "0-", "0-99999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
