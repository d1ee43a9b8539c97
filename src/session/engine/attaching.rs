//! A target is taken in while the engine samples.
//!
//! ```text
//! alive? ─▶ a member, so that its forks and execs are followed ─▶ is it its user's? ─▶ counters, mappings, descendants ─▶ alive still?
//! ```
//!
//! What was done to the process in between was done to the one that is meant: its number cannot have come back as another's.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::Context;

use super::held_target::{HeldTarget, Whom};
use super::looping::Looping;
use super::{Authority, Member};
use crate::model::{Fault, FaultClass, Pid, TargetId};
use crate::procfs::cgroups::{self, Cgroups};
use crate::procfs::tasks;
use crate::sampler::counters::{AttachError, Children, Counters, Plan};
use crate::session::count_process::count_process;
use crate::session::opening;
use crate::session::pump::settled_now;
use crate::session::refused::{gone, gone_or, refused, unreadable};
use crate::sys;
use crate::sys::pidfd::PidFd;

/// How often the descendants of a process are listed that makes new ones all the time.
const MOST_PASSES: usize = 10;

impl Looping {
    /// Takes a target in; what was taken in of one that cannot be is let go again.
    pub(super) fn take_in(
        &mut self,
        id: TargetId,
        member: Member,
        authority: Authority,
    ) -> anyhow::Result<Vec<String>> {
        let mut notes = self.notes.clone();
        let limit = self.spec.limits.targets;
        let is_known = self.targets.contains_key(&id);
        if !is_known && self.targets.len() >= limit {
            let what = format!("attach: there are {limit} targets already, as many as may be");
            return Err(Fault::new(FaultClass::Unavailable, what).into());
        }
        // What was sampled before counts for those that were there before.
        let settled = settled_now();
        self.pump.stages.take(settled)?;
        self.pump.stages.take_walked()?;
        if let Some(kernel_walk) = self.pump.stages.sampling.kernel_walk_mut() {
            // What the process has forked until now is a target only if that was asked for.
            kernel_walk
                .forks_are_known_since(settled)
                .context("tell the kernel's walk what is a target")?;
        }
        if is_known {
            let why = self.take_in_another(id, member)?;
            notes.extend(why);
            return Ok(notes);
        }
        self.membership().add_target(id, authority);
        let opened = match member {
            Member::Process {
                pid,
                pidfd,
                with_tree,
            } => self.take_in_process(id, pid, pidfd, with_tree),
            Member::Cgroup { path, dir } => self.take_in_cgroup(id, path, dir),
            Member::Host => self.take_in_host(id),
        };
        let (whom, mut counters) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.membership().remove_target(id);
                return Err(error);
            }
        };
        counters.enable().context("enable the counters")?;
        notes.extend(counters.given_up().cloned());
        let target = HeldTarget {
            run: self.describe(&whom, notes.clone()).into(),
            whom,
            counters,
            counts_before: Vec::new(),
            side_band_before: self.lost_side_band(),
            sequence: 0,
            start: sys::now(),
            closings: VecDeque::new(),
            cuts: VecDeque::new(),
        };
        self.targets.insert(id, target);
        Ok(notes)
    }

    /// One more process, into a target of processes. One that is in it already, as a child of another, stays what it is. Gives the reason if the
    /// target is not counted.
    fn take_in_another(&mut self, id: TargetId, member: Member) -> anyhow::Result<Option<String>> {
        let Member::Process {
            pid,
            pidfd,
            with_tree,
        } = member
        else {
            let what = "attach: a target of more than one thing has processes alone";
            return Err(Fault::new(FaultClass::Internal, what).into());
        };
        let plan = self.plan.clone();
        let Some(target) = self.targets.get_mut(&id).filter(|of| !of.is_ending()) else {
            return Err(gone(pid).into());
        };
        let empty = Counters::new(plan, Children::Counted);
        let mut counters = std::mem::replace(&mut target.counters, empty);
        let taken = match self.membership().has(id, pid) {
            true => Ok(()),
            false => self.take_in_one(id, pid, &mut counters),
        };
        if taken.is_ok() && with_tree {
            self.take_in_descendants(id, pid, &mut counters);
        }
        let enabled = counters.enable().context("enable the counters");
        let uncounted = counters.given_up().cloned();
        if let Some(target) = self.targets.get_mut(&id) {
            target.counters = counters;
            target.note(uncounted.as_ref());
        }
        taken?;
        enabled?;
        match pidfd.is_alive() {
            Ok(true) => Ok(uncounted),
            _ => {
                let since = self.membership().since(pid);
                self.has_ended(pid, since)?;
                Err(gone(pid).into())
            }
        }
    }

    fn take_in_process(
        &mut self,
        id: TargetId,
        pid: Pid,
        pidfd: PidFd,
        with_tree: bool,
    ) -> anyhow::Result<(Whom, Counters)> {
        if !pidfd.is_alive().unwrap_or(false) {
            return Err(gone(pid).into());
        }
        let mut counters = Counters::new(self.plan.clone(), Children::Counted);
        self.take_in_one(id, pid, &mut counters)?;
        if with_tree {
            self.take_in_descendants(id, pid, &mut counters);
        }
        if !pidfd.is_alive().unwrap_or(false) {
            return Err(gone(pid).into());
        }
        let whom = Whom::Process {
            pid,
            pidfd: Some(pidfd),
            since: self.membership().since(pid),
        };
        Ok((whom, counters))
    }

    fn take_in_one(
        &mut self,
        id: TargetId,
        pid: Pid,
        counters: &mut Counters,
    ) -> anyhow::Result<()> {
        let membership = self.membership();
        if !membership.add_process(id, pid) {
            let limit = self.spec.limits.processes;
            let what =
                format!("attach pid {pid}: there are {limit} processes already, as many as may be");
            return Err(Fault::new(FaultClass::Unavailable, what).into());
        }
        if !membership.has(id, pid) {
            let what = format!("attach pid {pid}: permission denied");
            return Err(Fault::new(FaultClass::Permission, what).into());
        }
        let proc_root = &self.spec.roots.proc;
        let comm = tasks::comm(proc_root, pid, pid.main_thread()).unwrap_or_default();
        let comm = String::from_utf8_lossy(&comm).into_owned();
        let others = self.targets.values();
        let n_others = others.map(|target| target.counters.n_open()).sum();
        let threads = || tasks::threads(proc_root, pid);
        match count_process(counters, n_others, pid, &comm, threads) {
            Ok(()) => (),
            Err(AttachError::Open(error)) => {
                return Err(refused(&self.spec.roots, &error).into());
            }
            Err(AttachError::Gone(_)) => return Err(gone(pid).into()),
            Err(AttachError::List { cause, .. }) => return Err(gone_or(pid, cause)),
        }
        let pipeline = &mut self.pump.stages.pipeline;
        if pipeline.processes.space(pid).is_none() {
            let modules = pipeline.processes.add_running(pid, sys::now());
            let modules = modules.map_err(|error| unreadable(pid, error))?;
            modules.into_iter().for_each(|module| pipeline.want(module));
            pipeline.found_mapped(pid);
        }
        Ok(())
    }

    /// Those that run already. What comes up meanwhile is told by records, or listed the next time.
    fn take_in_descendants(&mut self, id: TargetId, pid: Pid, counters: &mut Counters) {
        let proc_root = self.spec.roots.proc.clone();
        for _ in 0..MOST_PASSES {
            let listed = tasks::descendants(&proc_root, pid).unwrap_or_default();
            let mut is_new = false;
            for child in listed {
                if self.membership().has(id, child) {
                    continue;
                }
                // Its number may be another's by now: not that of a process whose parent is in the target, and that lives on.
                let Ok(held) = PidFd::open(child) else {
                    continue;
                };
                let parent = tasks::stat(&proc_root, child).map(|stat| stat.parent);
                let is_child = parent.is_ok_and(|parent| self.membership().has(id, parent));
                if is_child && self.take_in_one(id, child, counters).is_ok() {
                    is_new = true;
                    if !held.is_alive().unwrap_or(false) {
                        self.membership().left(child);
                    }
                }
            }
            if !is_new {
                return;
            }
        }
    }

    fn take_in_cgroup(
        &mut self,
        id: TargetId,
        path: PathBuf,
        dir: OwnedFd,
    ) -> anyhow::Result<(Whom, Counters)> {
        let what = format!("attach cgroup {}", path.display());
        let gone = || Fault::new(FaultClass::NoSuchTarget, format!("{what}: no such cgroup"));
        let cgroups = Cgroups::find(&self.spec.roots).context(what.clone())?;
        let (cgroup, at_path) = cgroups.open(&path).map_err(|_| gone())?;
        // What is meant is what was opened when it was asked for.
        let dir = File::from(dir);
        let is_same = dir.metadata().is_ok_and(|meant| {
            let found = at_path.metadata();
            found.is_ok_and(|found| (meant.dev(), meant.ino()) == (found.dev(), found.ino()))
        });
        if !is_same {
            return Err(gone().into());
        }
        let mut counters = Counters::new(self.host_plan()?, Children::Counted);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let counted = match cgroups::uncounted(&self.spec.roots) {
            Some(reason) => Err(reason),
            None => counters
                .add_cgroup(cgroup.id, &dir, &name, &self.cpus)
                .map_err(|error| format!("{error:#}")),
        };
        if let Err(reason) = counted {
            counters.give_up(format!("nothing is counted in the cgroup: {reason}"));
        }
        let unused = self.membership().unused_domain();
        let domain = match self.pump.stages.sampling.kernel_walk_mut() {
            Some(kernel_walk) => kernel_walk.add_domain(cgroup).context(what)?,
            None => unused,
        };
        self.membership().add_cgroup(id, domain, cgroup.id, &path);
        Ok((Whom::Cgroup { path, dir, cgroup }, counters))
    }

    fn host_plan(&mut self) -> anyhow::Result<Plan> {
        if let Some(plan) = &self.host_plan {
            return Ok(plan.clone());
        }
        let plan = opening::host_plan(&self.run, &self.pump.stages.sampling, &self.cpus)?;
        Ok(self.host_plan.insert(plan).clone())
    }

    fn take_in_host(&mut self, id: TargetId) -> anyhow::Result<(Whom, Counters)> {
        let mut counters = Counters::new(self.host_plan()?, Children::Counted);
        counters
            .add_host(&self.cpus)
            .map_err(|error| refused(&self.spec.roots, &error))?;
        self.membership().add_host(id);
        self.follow_everybody()?;
        Ok((Whom::Host, counters))
    }
}
