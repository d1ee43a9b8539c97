//! Asks the kernel whether an event can be opened, by opening it and closing it at once.
//!
//! What the settings say is one thing, what the kernel does another (seccomp filters, security modules, patched
//! kernels, virtual machines without a PMU): only an open event is proof. Nothing is enabled, mapped or read.

use std::io;

use perf_event::{Builder, ReadFormat, SampleFlag};

use super::event_error::{OpenEventError, Place, happens_in_kernel_only};
use crate::arch::host;
use crate::model::{Cpu, EventSpec, FaultClass, Modes, Pid, ResolvedEvent};

/// On what an event is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The calling thread.
    Own,
    /// The main thread of a process.
    Process(Pid),
    /// All that runs on one CPU.
    WholeCpu(Cpu),
}

/// What the event is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Count.
    Count,
    /// Count, and count the records that a full ring lost: `PERF_FORMAT_LOST`, Linux 6.0.
    CountLost,
    /// Take samples with address and time.
    Sample,
    /// Take samples with user registers and a copy of the user stack's top.
    SampleStacks,
}

/// Whether the kernel opens such an event.
pub fn open(event: &ResolvedEvent, modes: Modes, scope: Scope, purpose: Use) -> io::Result<()> {
    let mut builder = Builder::new(*event);
    builder
        .exclude_user(!modes.user)
        .exclude_kernel(!modes.kernel)
        // The builder excludes it by itself, which PMUs outside the cores refuse like every other exclusion.
        .exclude_hv(!modes.kernel);
    match scope {
        Scope::Own => builder.observe_self(),
        Scope::Process(pid) => {
            let pid = i32::try_from(pid.0).map_err(|_| io::ErrorKind::InvalidInput)?;
            builder.observe_pid(pid)
        }
        Scope::WholeCpu(cpu) => builder.any_pid().one_cpu(cpu.0 as usize),
    };
    match purpose {
        Use::Count => (),
        Use::CountLost => {
            builder.read_format(ReadFormat::LOST);
        }
        Use::Sample | Use::SampleStacks => {
            builder
                .sample_period(PERIOD)
                .sample(SampleFlag::IP | SampleFlag::TIME);
        }
    }
    if purpose == Use::SampleStacks {
        builder
            .sample(SampleFlag::REGS_USER | SampleFlag::STACK_USER)
            .sample_regs_user(host::PC)
            .sample_stack_user(STACK_BYTES);
    }
    builder.build().map(drop)
}

/// The modes in which the event can be opened: those asked for, or user mode alone where the kernel's is not permitted.
pub fn permitted_modes(
    spec: &EventSpec,
    resolved: &ResolvedEvent,
    scope: Scope,
    purpose: Use,
) -> Result<Modes, OpenEventError> {
    let place = match scope {
        Scope::WholeCpu(cpu) => Place::Cpu(cpu),
        Scope::Own | Scope::Process(_) => Place::Probe,
    };
    let open = |modes| {
        open(resolved, modes, scope, purpose)
            .map_err(|error| OpenEventError::new(spec, place, &error))
    };
    match open(spec.modes) {
        Ok(()) => Ok(spec.modes),
        Err(error)
            if error.class() == FaultClass::Permission
                && spec.modes == Modes::ALL
                && !happens_in_kernel_only(&spec.source) =>
        {
            let narrower = open(Modes::USER).map(|()| Modes::USER);
            narrower.map_err(|narrower| match narrower.class() {
                // The first error says what is missing for what was asked.
                FaultClass::Permission => error,
                // The kernel asks for permission before it looks whether there is such an event.
                _ => narrower,
            })
        }
        Err(error) => Err(error),
    }
}

/// Never reached, as the event is never enabled.
const PERIOD: u64 = 1 << 40;

/// The copy that is asked for; the kernel takes multiples of 8 up to 65528.
const STACK_BYTES: u32 = 65528;

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE_SOFTWARE: u32 = 1;

    #[test]
    fn an_event_type_that_no_kernel_has_is_refused() {
        let nonsense = ResolvedEvent {
            type_: 0x7fff_ffff,
            ..ResolvedEvent::default()
        };
        assert!(open(&nonsense, Modes::USER, Scope::Own, Use::Count).is_err());
    }

    #[test]
    fn what_can_be_sampled_with_stacks_can_be_counted() {
        let cpu_clock = ResolvedEvent {
            type_: TYPE_SOFTWARE,
            ..ResolvedEvent::default()
        };
        let ask = |purpose| open(&cpu_clock, Modes::USER, Scope::Own, purpose);
        if ask(Use::SampleStacks).is_ok() {
            ask(Use::Sample).expect("less than stacks");
            ask(Use::Count).expect("less than samples");
        }
    }
}
