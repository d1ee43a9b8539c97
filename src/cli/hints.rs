//! What kind of trouble an error is, and the lines under its message: present values and remedies.
//!
//! The one place that knows remedies. Errors of the lower floors say what is missing; a [`Fault`] in their chain says
//! the class and may bring hints of its own, which are taken before any found here.

use std::error::Error;
use std::io;

use crate::model::{Fault, FaultClass, ParseEventError, nearest_name};
use crate::procfs::SysRoots;
use crate::procfs::event_source::ResolveEventError;
use crate::procfs::sysctl::Sysctls;
use crate::sys::limits;
use crate::sys::privilege::Privilege;

/// Gives perfd what it needs to profile every process with names, without being root.
pub(super) const SETCAP: &str = "sudo setcap cap_perfmon,cap_bpf,cap_sys_ptrace,cap_dac_read_search,cap_checkpoint_restore,cap_syslog,cap_ipc_lock+ep \"$(command -v perfd)\"";

/// Mounts tracefs.
pub(super) const MOUNT_TRACEFS: &str = "sudo mount -t tracefs nodev /sys/kernel/tracing";

/// At most so many known names are listed under an error.
const MAX_NAMES: usize = 30;

/// The class of an error, and the lines under its message.
pub(super) fn of(error: &anyhow::Error) -> (FaultClass, Vec<String>) {
    let found = error.chain().find_map(of_cause);
    // Not in `chain`: a `Fault` may be a context, which only `downcast_ref` finds.
    let (class, mut hints) = match (error.downcast_ref::<Fault>(), found) {
        (Some(fault), _) if !fault.hints.is_empty() => (fault.class, fault.hints.clone()),
        (Some(fault), found) => (
            fault.class,
            found.map(|(_, hints)| hints).unwrap_or_default(),
        ),
        (None, Some(found)) => found,
        (None, None) => (FaultClass::System, Vec::new()),
    };
    if hints.is_empty() {
        hints = of_class(class, error.downcast_ref::<Fault>().is_some());
    }
    (class, hints)
}

/// What can be said where neither a fault nor a cause brings hints of its own.
fn of_class(class: FaultClass, is_fault: bool) -> Vec<String> {
    match class {
        // Only a fault says that the permission was one for perf events.
        FaultClass::Permission if is_fault => of_refusal(
            &Sysctls::read(&SysRoots::default()),
            Privilege::current().ok(),
        ),
        FaultClass::Unavailable => vec!["see: perfd doctor, perfd list".to_owned()],
        FaultClass::Internal => vec!["this is a fault of perfd; please report it".to_owned()],
        _ => Vec::new(),
    }
}

/// Hints for a value that the command line refused.
pub(super) fn of_usage(error: &clap::Error) -> Vec<String> {
    let event_error = error
        .source()
        .and_then(|source| source.downcast_ref::<ParseEventError>());
    event_error.map(of_event_text).unwrap_or_default()
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<(FaultClass, Vec<String>)> {
    if let Some(error) = cause.downcast_ref::<ParseEventError>() {
        return Some((FaultClass::Usage, of_event_text(error)));
    }
    if let Some(error) = cause.downcast_ref::<ResolveEventError>() {
        return Some(of_unresolved(error));
    }
    let error = cause.downcast_ref::<io::Error>()?;
    Some(match error.raw_os_error() {
        Some(libc::EMFILE) => (FaultClass::System, limits::more_open_files()),
        Some(libc::EACCES | libc::EPERM) => (FaultClass::Permission, Vec::new()),
        _ => (FaultClass::System, Vec::new()),
    })
}

fn of_event_text(error: &ParseEventError) -> Vec<String> {
    match error {
        ParseEventError::Unknown {
            nearest: Some(nearest),
            ..
        } => vec![
            format!("did you mean {nearest}?"),
            "try: perfd list".to_owned(),
        ],
        ParseEventError::Group { .. } => vec![
            "all events of a run are counted together where the PMU has room for them".to_owned(),
            "try: leave out the braces and what is behind them".to_owned(),
        ],
        ParseEventError::Rate { .. } => vec!["leave out period= and freq=".to_owned()],
        _ => vec!["try: perfd list".to_owned()],
    }
}

fn of_unresolved(error: &ResolveEventError) -> (FaultClass, Vec<String>) {
    let hints = match error {
        ResolveEventError::NoSuchPmu { pmu, known } => {
            let mut hints = vec![format!("its PMUs: {}", names(known))];
            if let Some(named) = nearest_name(pmu) {
                hints.push(format!("did you mean {named}?"));
            }
            hints
        }
        ResolveEventError::NoSuchTerm { term, known, .. } => {
            let mut hints = vec![format!("its terms and events: {}", names(known))];
            if let Some(named) = nearest_name(term) {
                hints.push(format!("the kernel's own event: -e {named}"));
            }
            hints
        }
        ResolveEventError::NoSuchTracepoint { subsystem, .. } => {
            vec![format!("try: perfd list {subsystem}:")]
        }
        ResolveEventError::TracefsNotMounted { tried, .. } => {
            let tried: Vec<_> = tried
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            vec![
                format!("looked in {}", names(&tried)),
                format!("try: {MOUNT_TRACEFS}"),
            ]
        }
        ResolveEventError::TracefsDenied { .. } => {
            let hints = vec![
                "tracefs belongs to root; reading it needs CAP_DAC_READ_SEARCH".to_owned(),
                format!("try: {SETCAP}"),
            ];
            return (FaultClass::Permission, hints);
        }
        ResolveEventError::ValueTooWide { .. }
        | ResolveEventError::ValueMissing { .. }
        | ResolveEventError::Description { .. }
        | ResolveEventError::Read { .. } => Vec::new(),
    };
    (FaultClass::Unavailable, hints)
}

fn names(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    let more = names.len() - shown.len();
    match (shown.as_slice(), more) {
        ([], _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{}, and {more} more", shown.join(", ")),
    }
}

/// Why the kernel refuses an event, by the settings it decides from.
fn of_refusal(sysctls: &Sysctls, privilege: Option<Privilege>) -> Vec<String> {
    let mut hints = Vec::new();
    let may_perfmon = privilege.is_some_and(|privilege| privilege.may_perfmon());
    match sysctls.perf_event_paranoid {
        Some(level) if !may_perfmon => {
            hints.push(format!(
                "kernel.perf_event_paranoid is {level}; own processes need 2 or less, the kernel's part 1, the whole host 0; \
                 CAP_PERFMON lifts it"
            ));
            hints.push(format!("try: {SETCAP}"));
            hints.push("or:  sudo sysctl kernel.perf_event_paranoid=1".to_owned());
        }
        _ => hints.push(
            "neither kernel.perf_event_paranoid nor a missing capability explains it: a seccomp filter or security module may"
                .to_owned(),
        ),
    }
    hints.push("see: perfd doctor".to_owned());
    hints
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_fault_is_found_as_the_error_and_as_a_context_at_any_depth() {
        let fault = || Fault::new(FaultClass::NoSuchTarget, "attach pid 7").hint("it has ended");
        let expected = (FaultClass::NoSuchTarget, vec!["it has ended".to_owned()]);
        assert_eq!(of(&fault().into()), expected);
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let deep: anyhow::Result<()> = Err(denied).context(fault()).context("start the run");
        let deep = deep.expect_err("made above");
        assert_eq!(of(&deep), expected);
        assert_eq!(
            format!("{deep:#}"),
            "start the run: attach pid 7: Permission denied (os error 13)"
        );
    }

    #[test]
    fn errors_of_lower_floors_bring_their_class_and_remedy() {
        let unmounted = ResolveEventError::TracefsNotMounted {
            tracepoint: "sched:sched_switch".to_owned(),
            tried: vec!["/sys/kernel/tracing".into()],
        };
        let (class, hints) = of(&anyhow::Error::from(unmounted).context("open events"));
        assert_eq!(class, FaultClass::Unavailable);
        assert!(hints.iter().any(|hint| hint.contains("mount -t tracefs")));
        let no_files = anyhow::Error::from(io::Error::from_raw_os_error(libc::EMFILE));
        assert!(of(&no_files).1[0].contains("ulimit -Hn"));
        let other = anyhow::anyhow!("out of luck");
        assert_eq!(of(&other), (FaultClass::System, Vec::new()));
    }

    #[test]
    fn a_refused_event_is_explained_by_the_present_settings() {
        let sysctls = Sysctls {
            perf_event_paranoid: Some(3),
            ..Sysctls::default()
        };
        let nobody = Privilege {
            euid: 1000,
            effective: 0,
        };
        let hints = of_refusal(&sysctls, Some(nobody));
        assert!(hints[0].contains("kernel.perf_event_paranoid is 3"));
        assert!(hints[1].starts_with("try: sudo setcap cap_perfmon"));
        let root = Privilege {
            euid: 0,
            effective: u64::MAX,
        };
        assert!(of_refusal(&sysctls, Some(root))[0].contains("seccomp"));
    }
}
