//! `perfd-jit-PID.txt`: what only the runtime itself can know, if it says so. See `docs/JIT.md`.
//!
//! ```text
//! perfd-jit-v1
//! guard ok=120 fail=3
//! cache hit=4000 miss=17
//! ```
//!
//! Counts are since the start of the process; of several lines of a kind the last one holds.

use std::io;
use std::os::unix::fs::FileExt;

use super::roots::Root;
use crate::model::{JitRates, JitTally};
use crate::procfs::jit_file::{Refused, Temporary};

/// Bytes of a file.
const MAX_SIZE: u64 = 1 << 20;
const FIRST_LINE: &str = "perfd-jit-v1";

/// What is known of the file.
#[derive(Debug, Default)]
pub(super) struct ReportFile {
    pub(super) rates: JitRates,
    /// Why it is not believed, if so.
    pub(super) refused: Option<Refused>,
}

impl ReportFile {
    /// Reads it anew.
    pub(super) fn read(&mut self, root: &mut dyn Root) {
        let name = format!("perfd-jit-{}.txt", root.own_pid());
        let found = match root.open_temporary(&name, MAX_SIZE) {
            Ok(Some(found)) if found.is_stale => Err(Refused::Stale),
            Ok(found) => Ok(found),
            Err(refused) => Err(refused),
        };
        self.refused = found.as_ref().err().copied();
        let Ok(Some(Temporary { file, .. })) = found else {
            if self.refused.is_some() {
                self.rates = JitRates::default();
            }
            return;
        };
        let size = file.metadata().map_or(0, |found| found.len()).min(MAX_SIZE);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        let mut n_read = 0;
        while n_read < bytes.len() {
            match file.read_at(&mut bytes[n_read..], n_read as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Ok(0) | Err(_) => break,
                Ok(n_bytes) => n_read += n_bytes,
            }
        }
        if let Some(rates) = parse(&bytes[..n_read]) {
            self.rates = rates;
        }
    }
}

/// `None` if it does not begin as it must: it is being written anew.
fn parse(bytes: &[u8]) -> Option<JitRates> {
    // A line without an end is not all written.
    let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
    let mut lines = bytes[..end]
        .split(|byte| *byte == b'\n')
        .map(|line| std::str::from_utf8(line).unwrap_or_default());
    if lines.next()?.trim_end() != FIRST_LINE {
        return None;
    }
    let mut rates = JitRates::default();
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        let (place, names) = match words.next() {
            Some("guard") => (&mut rates.guards, ["ok", "fail"]),
            Some("cache") => (&mut rates.cache, ["hit", "miss"]),
            _ => continue,
        };
        let words: Vec<&str> = words.collect();
        let number = |name: &str| {
            let word = words
                .iter()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word?.parse::<u64>().ok()
        };
        if let (Some(good), Some(bad)) = (number(names[0]), number(names[1])) {
            *place = Some(JitTally { good, bad });
        }
    }
    Some(rates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, guards: Option<(u64, u64)>, cache: Option<(u64, u64)>) {
        let rates = parse(text.as_bytes()).unwrap_or_default();
        let tally = |tally: JitTally| (tally.good, tally.bad);
        let got = (rates.guards.map(tally), rates.cache.map(tally));
        assert_eq!(got, (guards, cache), "{text:?}");
    }

    #[test]
    fn the_last_line_of_a_kind_holds() {
        check(
            "perfd-jit-v1\nguard ok=1 fail=0\ncache hit=5 miss=6\nguard ok=9 fail=2\n",
            Some((9, 2)),
            Some((5, 6)),
        );
        check(
            "perfd-jit-v1\ncache miss=6 hit=5 more=1\nnew x=1\n",
            None,
            Some((5, 6)),
        );
    }

    #[test]
    fn what_is_not_understood_is_not_reported() {
        for text in [
            "",
            "perfd-jit-v1",
            "perfd-jit-v2\nguard ok=1 fail=0\n",
            "guard ok=1 fail=0\n",
            "perfd-jit-v1\nguard ok=1 fail=",
            "perfd-jit-v1\nguard ok=1\nguard ok=-1 fail=0\nguard ok=1 fail=99999999999999999999\n",
            "perfd-jit-v1\n\u{0}guard\nok=1 fail=2\n",
        ] {
            check(text, None, None);
        }
    }
}
