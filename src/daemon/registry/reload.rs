//! The configured targets: as they are at the start, and after the configuration was read again.

use super::super::config::{Config, ConfiguredTarget};
use super::super::engines::Way;
use super::super::kept::Kept;
use super::super::target::{Owner, Target};
use super::Registry;
use crate::control::EndReason;
use crate::model::TargetId;
use crate::session::engine::Authority;

/// What a reload changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Configured targets that stay as they are.
    pub kept: usize,
    /// Those that end, because they are not configured any more or in another way.
    pub ended: usize,
    /// Those that are new, or begin anew in another way.
    pub begun: usize,
}

impl Registry {
    /// Takes another configuration. Configured targets that are the same in it go on without a gap; limits hold for what comes.
    pub fn reload(&mut self, config: Config) -> Reloaded {
        let before = std::mem::replace(&mut self.config, config);
        let mut reloaded = Reloaded::default();
        let configured = self
            .targets
            .values()
            .filter(|target| target.owner == Owner::Configuration && target.ending.is_none());
        let ids: Vec<TargetId> = configured.map(Target::id).collect();
        for id in ids {
            match self.same(id, &before) {
                Some(files) => {
                    if let Some(target) = self.targets.get_mut(&id) {
                        target.files = files;
                    }
                    reloaded.kept += 1;
                }
                None => {
                    let _ = self.detach(id, EndReason::Unconfigured);
                    reloaded.ended += 1;
                }
            }
        }
        reloaded.begun = self.add_configured();
        reloaded
    }

    /// Whether a target is configured as it was; then whether it has files now.
    fn same(&self, id: TargetId, before: &Config) -> Option<bool> {
        let target = self.targets.get(&id)?;
        let configured = self
            .config
            .targets
            .iter()
            .find(|of| of.name == target.name)?;
        let way = Way::new(configured.sampling.clone(), &self.config);
        let is_same = configured.selector == target.selector
            && way == Way::new(target.sampling.clone(), before);
        is_same.then_some(configured.files)
    }

    /// Adds the configured targets that are not there; how many.
    pub(super) fn add_configured(&mut self) -> usize {
        let is_there = |configured: &&ConfiguredTarget| {
            self.targets.values().any(|target| {
                target.owner == Owner::Configuration
                    && target.ending.is_none()
                    && target.name == configured.name
            })
        };
        let new: Vec<ConfiguredTarget> = self
            .config
            .targets
            .iter()
            .filter(|configured| !is_there(configured))
            .cloned()
            .collect();
        let n_new = new.len();
        for configured in new {
            self.add(configured);
        }
        n_new
    }

    fn add(&mut self, configured: ConfiguredTarget) {
        let id = self.new_id();
        let kept = Kept::new(self.config.limits.snapshot);
        let target = Target {
            files: configured.files,
            ..Target::waiting(
                id,
                configured.name,
                configured.selector,
                configured.sampling,
                Owner::Configuration,
                Authority::Everything,
                kept,
            )
        };
        self.targets.insert(id, target);
    }
}
