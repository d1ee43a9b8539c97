//! Waiting for any of several descriptors, a timer, or another thread.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// What woke the waiter: the number that a descriptor was added under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wakeup(pub u64);

/// What a descriptor wakes for, beside its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Its end alone.
    Nothing,
    /// When it can be read.
    Input,
    /// When it can be written to.
    Room,
    /// Either.
    InputAndRoom,
}

/// Whether a descriptor can be read at once; also at its end.
pub fn has_input(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n_ready| n_ready > 0)
}

/// A set of descriptors to wait for.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Poller> {
        Ok(Poller {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        })
    }

    /// Wakes with `wakeup` whenever `fd` can be read.
    pub fn add(&self, fd: impl AsFd, wakeup: Wakeup) -> io::Result<()> {
        Ok(self
            .epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, wakeup.0))?)
    }

    /// Changes what a descriptor that was added wakes for.
    pub fn change(&self, fd: impl AsFd, interest: Interest, wakeup: Wakeup) -> io::Result<()> {
        let flags = match interest {
            // A closed connection wakes all the same.
            Interest::Nothing => EpollFlags::empty(),
            Interest::Input => EpollFlags::EPOLLIN,
            Interest::Room => EpollFlags::EPOLLOUT,
            Interest::InputAndRoom => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
        };
        let mut event = EpollEvent::new(flags, wakeup.0);
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Wakes with `wakeup` once per change from empty to readable: for perf rings, which are not read by a call.
    pub fn add_edge(&self, fd: impl AsFd, wakeup: Wakeup) -> io::Result<()> {
        Ok(self.epoll.add(
            fd,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, wakeup.0),
        )?)
    }

    /// Forgets `fd`.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until something is ready. A signal handler's interruption gives nothing, which is not an error.
    pub fn wait(&self, ready: &mut Vec<Wakeup>) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        let n = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        ready.clear();
        ready.extend(events[..n].iter().map(|event| Wakeup(event.data())));
        Ok(())
    }
}

/// A timer that fires again and again.
#[derive(Debug)]
pub struct Ticker {
    timer: TimerFd,
}

impl Ticker {
    /// Fires every `period`.
    pub fn every(period: Duration) -> io::Result<Ticker> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        let ticker = Ticker { timer };
        ticker.set(period)?;
        Ok(ticker)
    }

    /// Changes the period.
    pub fn set(&self, period: Duration) -> io::Result<()> {
        let expiration = Expiration::Interval(TimeSpec::from_duration(period));
        Ok(self.timer.set(expiration, TimerSetTimeFlags::empty())?)
    }

    /// Fires in a `delay`, and from then on every `period`.
    pub fn set_next(&self, delay: Duration, period: Duration) -> io::Result<()> {
        let [delay, period] = [delay, period].map(TimeSpec::from_duration);
        let expiration = Expiration::IntervalDelayed(delay, period);
        Ok(self.timer.set(expiration, TimerSetTimeFlags::empty())?)
    }

    /// Takes note of a firing, so that it does not wake again.
    pub fn acknowledge(&self) {
        // EAGAIN when it has not fired: nothing to take note of.
        let _ = self.timer.wait();
    }
}

impl AsFd for Ticker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// Lets other threads wake a [`Poller`].
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<EventFd>,
}

impl Waker {
    /// A waker; to be added to a poller.
    pub fn new() -> io::Result<Waker> {
        let event =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Waker {
            event: Arc::new(event),
        })
    }

    /// Wakes the poller.
    pub fn wake(&self) {
        // EAGAIN only when the counter is full, and then the poller is awake already.
        let _ = self.event.write(1);
    }

    /// Takes note of all wakes so far.
    pub fn acknowledge(&self) {
        let _ = self.event.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.event.as_fd()
    }
}
