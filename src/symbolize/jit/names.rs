//! Names of frames in memory without a file, each for the time in which its stacks were sampled.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Codes;
use crate::model::{
    Frame, FrameName, Module, ModuleId, ModuleKind, MonoNs, NameKind, Pid, Span, Unnamed,
};

/// What frames without a name are called: their addresses differ from run to run, and tell where things are.
const ANONYMOUS: &str = "[anon]";

/// Names frames of one run, whose module ids it goes by.
#[derive(Default)]
pub struct JitNames {
    jit: Option<Arc<dyn Codes>>,
    /// When the samples of each module were taken.
    spans: FxHashMap<ModuleId, Span>,
}

impl JitNames {
    /// Names what `jit` knows.
    pub fn new(jit: Arc<dyn Codes>) -> JitNames {
        JitNames {
            jit: Some(jit),
            spans: FxHashMap::default(),
        }
    }

    /// Samples in these modules were taken in these spans, until now.
    pub fn sampled(&mut self, spans: impl IntoIterator<Item = (ModuleId, Span)>) {
        self.spans.extend(spans);
    }

    /// When the last sample in a module was taken; `None` if nobody has told.
    pub fn last_sampled(&self, module: ModuleId) -> Option<MonoNs> {
        Some(self.spans.get(&module)?.last)
    }

    /// The name of a frame, as far as it is known now: it may be another one later.
    pub fn name(&self, module: &Module, frame: Frame) -> FrameName {
        let mut names = self.names(&[(module, frame)]);
        names
            .pop()
            .unwrap_or_else(|| named(Err(Unnamed::Anonymous)))
    }

    /// The same for many frames, as many as there are frames.
    pub fn names(&self, frames: &[(&Module, Frame)]) -> Vec<FrameName> {
        let asked: Vec<(Pid, u64, Span)> = frames
            .iter()
            .filter_map(|(module, frame)| self.question(module, *frame))
            .collect();
        let found = match &self.jit {
            Some(jit) => jit.names(&asked),
            None => Vec::new(),
        };
        let mut found = found.into_iter();
        let answer = |(module, frame): &(&Module, Frame)| {
            let found = self.question(module, *frame).and_then(|_| found.next());
            named(found.unwrap_or(Err(Unnamed::Anonymous)))
        };
        frames.iter().map(answer).collect()
    }

    /// What is asked of a frame that is in such code.
    fn question(&self, module: &Module, frame: Frame) -> Option<(Pid, u64, Span)> {
        let ModuleKind::Anonymous { pid, .. } = &module.kind else {
            return None;
        };
        // One whose samples nobody has told of may have been sampled at any time.
        let span = self.spans.get(&frame.module).copied();
        Some((*pid, frame.lookup().0, span.unwrap_or(Span::ALWAYS)))
    }
}

fn named(found: Result<Arc<str>, Unnamed>) -> FrameName {
    match found {
        Ok(text) => FrameName {
            text,
            kind: NameKind::Jit,
            unnamed: None,
        },
        Err(why) => FrameName {
            text: Arc::from(ANONYMOUS),
            kind: NameKind::User,
            unnamed: Some(why),
        },
    }
}
