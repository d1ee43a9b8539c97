//! What a configuration asks for that this host does not have. It is right all the same: files are written for other hosts, and what is not there may come.

use nix::unistd::Group;

use crate::daemon::config::{Config, Sampling};
use crate::daemon::engines::engine_sampling;
use crate::model::{Fault, FaultClass};
use crate::procfs::SysRoots;
use crate::session::engine::try_sampling;

/// A line each.
pub(super) fn lacks(config: &Config, roots: &SysRoots) -> Vec<String> {
    let mut lacks = Vec::new();
    lacks.extend(config.admin_group.as_deref().and_then(group));
    let mut tried: Vec<&Sampling> = Vec::new();
    for target in &config.targets {
        if !tried.contains(&&target.sampling) {
            tried.push(&target.sampling);
            let of_target = |what| format!("target {:?}: {what}", target.name);
            lacks.extend(sampling(&target.sampling, roots).into_iter().map(of_target));
        }
    }
    // Of what is asked for, the most is sampled as the defaults of the file say.
    if !tried.contains(&&config.sampling) {
        lacks.extend(sampling(&config.sampling, roots));
    }
    lacks
}

/// The group that there is by default is for those who install the service.
fn group(name: &str) -> Option<String> {
    let is_default = Config::default().admin_group.as_deref() == Some(name);
    match Group::from_name(name) {
        Ok(None) if !is_default => Some(format!(
            "admin_group {name:?}: this host has no such group; so that it has no members"
        )),
        _ => None,
    }
}

fn sampling(sampling: &Sampling, roots: &SysRoots) -> Vec<String> {
    match try_sampling(&engine_sampling(sampling), roots) {
        Ok(notes) => notes,
        // Of who asks, and not of the host.
        Err(error) if is_forbidden(&error) => Vec::new(),
        Err(error) => vec![format!("{error:#}")],
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    let fault = error.downcast_ref::<Fault>();
    fault.is_some_and(|fault| fault.class == FaultClass::Permission)
}
