//! The outputs of all targets, which clients have passed: who has how many, which of them still write.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::clients::PhasedWindow;
use super::outputs::{Output, OutputSpec, OutputState, Writable};
use super::target::{Owner, Target};
use crate::model::{Fault, FaultClass, TargetId};
use crate::sys::{Poller, Ticker, Waker, Wakeup};

/// Outputs at a time, each of which has a thread; those of targets that have ended and wait for their readers are among them.
const MOST: usize = 128;
/// Those of one user.
const MOST_OF_USER: usize = 32;
/// How long the daemon's end waits for readers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Open outputs.
#[derive(Debug)]
pub(super) struct Places {
    open: BTreeMap<TargetId, Vec<(Owner, Output)>>,
    waker: Waker,
}

impl Places {
    pub(super) fn new(waker: Waker) -> Places {
        Places {
            open: BTreeMap::new(),
            waker,
        }
    }

    /// Begins to write a target's windows to a place.
    ///
    /// # Errors
    /// There are as many as may be, or no thread can be started.
    pub(super) fn open(
        &mut self,
        target: &Target,
        to: Writable,
        spec: OutputSpec,
    ) -> Result<(), Fault> {
        let owner = target.owner();
        let all = || self.open.values().flatten();
        let of_user = all().filter(|(of, _)| *of == owner).count();
        if all().count() >= MOST || of_user >= MOST_OF_USER {
            let what = format!(
                "{of_user} outputs of yours are open, and {} in all; {MOST_OF_USER} of one user may be, and {MOST} in all",
                all().count()
            );
            return Err(Fault::new(FaultClass::Limit, what)
                .hint("outputs that nobody reads stay open: read them, or close them"));
        }
        let output = Output::start(to, spec, self.waker.clone())
            .map_err(|error| Fault::new(FaultClass::System, format!("start a thread: {error}")))?;
        self.open
            .entry(target.id())
            .or_default()
            .push((owner, output));
        Ok(())
    }

    pub(super) fn window(&self, target: TargetId, window: &PhasedWindow) {
        for (_, output) in self.open.get(&target).into_iter().flatten() {
            output.window(window);
        }
    }

    pub(super) fn end(&self, target: TargetId) {
        for (_, output) in self.open.get(&target).into_iter().flatten() {
            output.end();
        }
    }

    /// Forgets outputs that have ended; what there is to log of them.
    pub(super) fn news(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for (target, outputs) in &mut self.open {
            outputs.retain(|(_, output)| match output.state() {
                OutputState::Open => true,
                OutputState::Done => {
                    let (_, dropped) = output.merged_and_dropped();
                    if dropped > 0 {
                        news.push(format!(
                            "target {}: {dropped} windows are not in an output, whose reader was behind",
                            target.0
                        ));
                    }
                    false
                }
                OutputState::Closed => {
                    news.push(format!(
                        "target {}: an output was closed by its reader",
                        target.0
                    ));
                    false
                }
                OutputState::Failed(why) => {
                    news.push(format!("target {}: an output failed: {why}", target.0));
                    false
                }
            });
        }
        self.open.retain(|_, outputs| !outputs.is_empty());
        news
    }

    /// Waits until all has been written, but not for ever: a reader may have gone to sleep.
    ///
    /// # Errors
    /// Those of waiting.
    pub(super) fn finish(mut self) -> io::Result<()> {
        const DONE: Wakeup = Wakeup(0);
        const LATE: Wakeup = Wakeup(1);
        let outputs = self.open.values().flatten();
        outputs.for_each(|(_, output)| output.end());
        let (poller, late) = (Poller::new()?, Ticker::every(PATIENCE)?);
        poller.add(&self.waker, DONE)?;
        poller.add(&late, LATE)?;
        let mut ready = Vec::new();
        loop {
            self.waker.acknowledge();
            self.news();
            if self.open.is_empty() || ready.contains(&LATE) {
                return Ok(());
            }
            poller.wait(&mut ready)?;
        }
    }
}
