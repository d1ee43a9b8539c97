//! Names of frames in memory without a file, each for the time in which its stacks were sampled.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Jit;
use crate::model::{
    Frame, FrameName, Module, ModuleId, ModuleKind, MonoNs, NameKind, Span, Unnamed,
};

/// What frames without a name are called: their addresses differ from run to run, and tell where things are.
const ANONYMOUS: &str = "[anon]";

/// Names frames of one run, whose module ids it goes by.
#[derive(Default)]
pub struct JitNames {
    jit: Option<Arc<Jit>>,
    /// When the samples of each module were taken.
    spans: FxHashMap<ModuleId, Span>,
}

impl JitNames {
    /// Names what `jit` knows.
    pub fn new(jit: Arc<Jit>) -> JitNames {
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
        match self.find(module, frame) {
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

    fn find(&self, module: &Module, frame: Frame) -> Result<Arc<str>, Unnamed> {
        let (ModuleKind::Anonymous { pid, .. }, Some(jit)) = (&module.kind, &self.jit) else {
            return Err(Unnamed::Anonymous);
        };
        // One whose samples nobody has told of may have been sampled at any time.
        let span = self.spans.get(&frame.module).copied();
        jit.name(*pid, frame.lookup().0, span.unwrap_or(Span::ALWAYS))
    }
}
