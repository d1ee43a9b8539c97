//! The signals that end a run, as a file descriptor beside the rings and the target's pidfd (`signalfd(2)`).
//!
//! Signals are blocked, not caught: no code of perfd runs in a signal handler. The mask is inherited by
//! threads, so [`Signals::block`] comes before the first thread is started; a command that perfd starts gets an
//! empty mask back (`spawn`). SIGPIPE is ignored already by Rust's runtime: a closed pipe is an `EPIPE` of
//! the write that meets it. The end of a child is not a signal here but a readable pidfd.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Whether somebody has asked for the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It ends by itself.
    NotYet,
    /// Yes.
    Once,
}

/// Why somebody wants the run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndRequest {
    /// Ctrl-C.
    Interrupt,
    /// `kill PID`.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

/// One request to end the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndSignal {
    /// Which.
    pub request: EndRequest,
    /// Whether the terminal sent it, to the whole foreground group: a command that perfd runs has then got it too. What
    /// `kill PID` sends reaches perfd alone.
    pub from_terminal: bool,
}

impl EndRequest {
    /// The signal itself, to be passed on to a command.
    pub fn signal(self) -> Signal {
        match self {
            EndRequest::Interrupt => Signal::SIGINT,
            EndRequest::Terminate => Signal::SIGTERM,
            EndRequest::Hangup => Signal::SIGHUP,
        }
    }
}

/// The signals that end a run, blocked for this thread and all that it starts later.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks SIGINT, SIGTERM and SIGHUP in the calling thread and opens the descriptor that reports them.
    ///
    /// A SIGHUP that was ignored when perfd was started (`nohup`) stays ignored: a blocked signal would be reported
    /// all the same. An ignored SIGINT does not: shells start every background job of a script that way, and
    /// `kill -INT` is how scripts end a profiler.
    pub fn block() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        if !is_ignored(libc::SIGHUP)? {
            set.add(Signal::SIGHUP);
        }
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals(fd))
    }

    /// The next signal, if one is waiting.
    pub fn next(&self) -> io::Result<Option<EndSignal>> {
        let Some(info) = self.0.read_signal()? else {
            return Ok(None);
        };
        let request = match i32::try_from(info.ssi_signo) {
            Ok(libc::SIGTERM) => EndRequest::Terminate,
            Ok(libc::SIGHUP) => EndRequest::Hangup,
            _ => EndRequest::Interrupt,
        };
        // The kernel's own signals, those of the terminal driver among them, carry SI_KERNEL (sigaction(2)).
        let from_terminal = info.ssi_code == libc::SI_KERNEL;
        Ok(Some(EndSignal {
            request,
            from_terminal,
        }))
    }
}

impl Signals {
    /// Gives the signals their usual effect again, for the work that comes after the sampling: the second request to end,
    /// counted over the whole run, ends perfd at once. The first changes nothing, since the run is ending already.
    pub fn release(&self, asked: Asked) -> io::Result<()> {
        let mut set = SigSet::empty();
        // What has come until now is one request: a shell that goes away, or `timeout`, signals twice. A second hangup
        // means nothing new at all, and stays blocked.
        while self.next()?.is_some() {}
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            if asked == Asked::NotYet && !is_ignored(signal as libc::c_int)? {
                let flags = SaFlags::SA_RESETHAND | SaFlags::SA_RESTART;
                let once = SigAction::new(SigHandler::Handler(pass_over), flags, SigSet::empty());
                // SAFETY: the handler does nothing, so that it may run at any point of any thread.
                unsafe { sigaction(signal, &once) }?;
            }
            set.add(signal);
        }
        Ok(set.thread_unblock()?)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

extern "C" fn pass_over(_signal: libc::c_int) {}

fn is_ignored(signal: libc::c_int) -> io::Result<bool> {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null `act` changes nothing, and `current` is writable memory of the right size (sigaction(2)).
    let outcome = unsafe { libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes are a valid sigaction, and the call above has filled it in.
    let current = unsafe { current.assume_init() };
    Ok(current.sa_sigaction == libc::SIG_IGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_a_thread_that_blocks_it_is_read_and_kills_nobody() {
        let signals = Signals::block().unwrap();
        assert_eq!(signals.next().unwrap(), None);
        for request in [EndRequest::Terminate, EndRequest::Interrupt] {
            nix::sys::signal::raise(request.signal()).unwrap();
            let expected = EndSignal {
                request,
                from_terminal: false,
            };
            assert_eq!(signals.next().unwrap(), Some(expected));
        }
        assert_eq!(signals.next().unwrap(), None);
    }
}
