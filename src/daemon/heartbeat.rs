//! Whether the daemon is alive: its main loop comes by, and every engine gets on.
//!
//! An engine draws up its account once in each window, and the account says how long it has been sampling. One whose account stands still for long is
//! stuck; then the service manager is told nothing, and starts perfd anew when its patience is over.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::engines::EngineId;
use crate::model::MonoNs;

/// An engine may stand still for so many windows, and at least for so long: where clients or disks are slow, windows grow.
const WINDOWS: u32 = 6;
const LEAST: Duration = Duration::from_secs(60);

/// What is known of the engines' progress.
#[derive(Debug)]
pub struct Heartbeat {
    /// Half of the manager's patience; `None` where nobody waits.
    period: Option<Duration>,
    last: MonoNs,
    engines: FxHashMap<EngineId, Progress>,
}

#[derive(Debug)]
struct Progress {
    account: u64,
    since: MonoNs,
    listed: MonoNs,
}

impl Heartbeat {
    /// A sign of life is due every `period`, the first at once.
    pub fn new(period: Option<Duration>, now: MonoNs) -> Heartbeat {
        Heartbeat {
            period,
            last: now.minus(period.unwrap_or_default()),
            engines: FxHashMap::default(),
        }
    }

    /// Whether a sign of life is due and true. Of each engine: the length of its windows, and what changes when it gets on.
    pub fn is_due(
        &mut self,
        now: MonoNs,
        engines: impl Iterator<Item = (EngineId, Duration, u64)>,
    ) -> bool {
        let Some(period) = self.period else {
            return false;
        };
        let mut is_stuck = false;
        for (id, window, account) in engines {
            let progress = self.engines.entry(id).or_insert(Progress {
                account,
                since: now,
                listed: now,
            });
            progress.listed = now;
            if progress.account != account {
                (progress.account, progress.since) = (account, now);
            }
            is_stuck |= now.since(progress.since) > (window * WINDOWS).max(LEAST);
        }
        self.engines.retain(|_, progress| progress.listed == now);
        if is_stuck || now.since(self.last) < period {
            return false;
        }
        self.last = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_stands_still_takes_the_signs_of_life_with_it() {
        let at = |seconds: u64| MonoNs(seconds * 1_000_000_000);
        let window = Duration::from_secs(10);
        let mut heartbeat = Heartbeat::new(Some(Duration::from_secs(15)), at(100));
        let mut beat = |seconds: u64, account: Option<u64>| {
            let engines = account.map(|account| (EngineId(1), window, account));
            heartbeat.is_due(at(seconds), engines.into_iter())
        };
        assert!(beat(100, None));
        assert!(!beat(101, Some(1)));
        assert!(beat(115, Some(1)));
        assert!(beat(150, Some(1)));
        assert!(!beat(170, Some(1)));
        assert!(!beat(200, Some(1)));
        assert!(beat(201, Some(2)));
        assert!(!beat(300, Some(2)));
        assert!(beat(301, None));
    }

    #[test]
    fn who_does_not_wait_is_told_nothing() {
        let mut heartbeat = Heartbeat::new(None, MonoNs(0));
        assert!(!heartbeat.is_due(MonoNs(u64::MAX), std::iter::empty()));
    }
}
