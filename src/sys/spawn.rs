//! Starts the command of `record` and `stat`: forked first, executed later, so that everything that watches it is
//! there before its first instruction.
//!
//! The child waits on a pipe between `fork` and `exec`. Its pid is known meanwhile, events with
//! `enable_on_exec` are opened on it, and nothing of perfd itself is counted. If perfd dies, the pipe closes and the child
//! leaves. A failed `exec` comes back as its errno through a second pipe, which a successful `exec` closes.
//!
//! `std::process::Command` cannot do this: its `spawn` returns only after `exec`. The child stays in perfd's process
//! group, so that Ctrl-C reaches both. It inherits perfd's resource limits: fork before raising them.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pipe2};

use super::pidfd::PidFd;
use super::start_error::StartError;
use crate::model::Pid;

/// Where the command's standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// Where perfd's goes.
    Inherit,
    /// To standard error: perfd's own output has standard output for itself (`-o -`).
    ToStderr,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It returned this code.
    Exited(u8),
    /// This signal killed it.
    Signalled(u8),
}

impl Status {
    /// The code with which a shell would report it: the command's own, or 128 + the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Exited(code) => code,
            Status::Signalled(number) => 128_u8.saturating_add(number),
        }
    }
}

/// A command that is forked and waits before its `exec`. Dropping it ends the child.
#[derive(Debug)]
pub struct Prepared {
    child: Child,
    program: OsString,
    /// The file that will most likely be executed.
    file: Option<PathBuf>,
    /// One byte through it lets the child go; its end lets the child leave.
    go: OwnedFd,
    /// An errno comes through it if `exec` fails, its end if `exec` succeeds.
    failed: OwnedFd,
}

impl Prepared {
    /// Forks a child that will execute `command` (the program, searched in `PATH`, and its arguments).
    ///
    /// May be called while other threads run: between `fork` and `exec` the child makes system calls alone.
    pub fn fork(command: &[OsString], stdout: Stdout) -> io::Result<Prepared> {
        let mut image = Image::new(command, stdout)?;
        let (go_read, go_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (failed_read, failed_write) = pipe2(OFlag::O_CLOEXEC)?;
        // With SIGCHLD ignored, which perfd may have inherited, the kernel would throw the child's status away.
        // SAFETY: SIG_DFL installs no handler, so no code of ours can run in one.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        // SAFETY: the child branch is `Image::become_it`, which allocates nothing, takes no lock and makes only
        // async-signal-safe calls (signal-safety(7)) until it execs or leaves.
        match unsafe { fork() }? {
            ForkResult::Child => image.become_it(
                go_read.as_raw_fd(),
                go_write.as_raw_fd(),
                failed_write.as_raw_fd(),
            ),
            ForkResult::Parent { child } => {
                let pid = Pid(u32::try_from(child.as_raw())
                    .expect("positive: fork returned it to the parent"));
                // The number cannot be reused before we wait for it: a pidfd opened now is the child's.
                let pidfd = PidFd::open(pid).inspect_err(|_| {
                    let _ = kill(child, Signal::SIGKILL);
                    let _ = waitpid(child, None);
                })?;
                Ok(Prepared {
                    child: Child {
                        pid,
                        pidfd,
                        ended: None,
                    },
                    program: command.first().cloned().unwrap_or_default(),
                    file: image.file(),
                    go: go_write,
                    failed: failed_read,
                })
            }
        }
    }

    /// The child's process id; it stays the same through `exec`.
    pub fn pid(&self) -> Pid {
        self.child.pid
    }

    /// The file that the command is, as far as can be told before its `exec`.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Lets the child execute its command, and returns once it does so.
    pub fn start(mut self) -> Result<Child, StartError> {
        // SIGPIPE is ignored (`signals`); a child that somebody has killed makes this an error, and its status tells the rest.
        let told = loop {
            match nix::unistd::write(&self.go, &[1]) {
                Err(nix::Error::EINTR) => continue,
                outcome => break outcome,
            }
        };
        if let Err(errno) = told
            && errno != nix::Error::EPIPE
        {
            return Err(StartError::Pipe(errno.into()));
        }
        let failed = self.failed.try_clone().map_err(StartError::Pipe)?;
        let mut errno = Vec::new();
        std::fs::File::from(failed)
            .take(4)
            .read_to_end(&mut errno)
            .map_err(StartError::Pipe)?;
        if let Ok(errno) = <[u8; 4]>::try_from(errno.as_slice()) {
            return Err(StartError::Exec {
                program: std::mem::take(&mut self.program),
                cause: io::Error::from_raw_os_error(i32::from_ne_bytes(errno)),
            });
        }
        // `Drop` must not end it now.
        let pidfd = self.child.pidfd.try_clone().map_err(StartError::Pipe)?;
        let started = Child {
            pid: self.child.pid,
            pidfd,
            ended: None,
        };
        self.child.ended = Some(Status::Exited(0));
        Ok(started)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if self.child.ended.is_some() {
            return;
        }
        // Ours and not yet waited for, so the number is still the child's. An error means that it has ended by itself.
        let _ = kill(self.child.nix_pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A command that runs. Dropping it leaves it running.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: PidFd,
    ended: Option<Status>,
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Its status, if it has ended.
    pub fn try_wait(&mut self) -> io::Result<Option<Status>> {
        self.wait_with(WaitPidFlag::WNOHANG)
    }

    /// Its status, once it has ended.
    pub fn wait(&mut self) -> io::Result<Status> {
        loop {
            if let Some(status) = self.wait_with(WaitPidFlag::empty())? {
                return Ok(status);
            }
        }
    }

    /// Sends it a signal, unless it has been waited for.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.ended {
            Some(_) => Ok(()),
            None => Ok(kill(self.nix_pid(), signal)?),
        }
    }

    fn wait_with(&mut self, flags: WaitPidFlag) -> io::Result<Option<Status>> {
        if self.ended.is_none() {
            self.ended = match waitpid(self.nix_pid(), Some(flags)) {
                // The kernel keeps the low 8 bits of an exit code.
                Ok(WaitStatus::Exited(_, code)) => {
                    Some(Status::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)))
                }
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(Status::Signalled(
                    u8::try_from(signal as i32).unwrap_or(u8::MAX),
                )),
                Ok(_) | Err(nix::Error::EINTR) => None,
                Err(errno) => return Err(errno.into()),
            };
        }
        Ok(self.ended)
    }

    fn nix_pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(
            i32::try_from(self.pid.0).expect("in range: it came from fork as an i32"),
        )
    }
}

/// All that `exec` needs, allocated before `fork`. The pointers point into the strings beside them.
struct Image {
    /// Where the program may lie, in the order in which `PATH` is searched.
    candidates: Vec<CString>,
    /// Null-terminated.
    argv: Vec<*const libc::c_char>,
    /// `/bin/sh candidate args…`, null-terminated, for a script without `#!`; the second entry is set in the child.
    shell_argv: Vec<*const libc::c_char>,
    /// Null-terminated.
    envp: Vec<*const libc::c_char>,
    stdout: Stdout,
    _strings: Vec<CString>,
}

const SHELL: &std::ffi::CStr = c"/bin/sh";

impl Image {
    fn new(command: &[OsString], stdout: Stdout) -> io::Result<Image> {
        let program = command
            .first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let arguments: Vec<CString> = command
            .iter()
            .map(|word| CString::new(word.as_bytes()))
            .collect::<Result<_, _>>()?;
        let environment: Vec<CString> = std::env::vars_os()
            .map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                CString::new(name.into_vec())
            })
            .collect::<Result<_, _>>()?;
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            let ends = std::iter::once(std::ptr::null());
            strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
        };
        let argv = pointers(&arguments);
        let envp = pointers(&environment);
        let shell_argv = [SHELL.as_ptr(), std::ptr::null()]
            .into_iter()
            .chain(argv.iter().skip(1).copied())
            .collect();
        Ok(Image {
            candidates: candidates(program.as_bytes(), std::env::var_os("PATH"))?,
            argv,
            shell_argv,
            envp,
            stdout,
            _strings: arguments.into_iter().chain(environment).collect(),
        })
    }

    /// The first candidate that is a file.
    fn file(&self) -> Option<PathBuf> {
        let paths = self.candidates.iter().map(|path| {
            let path = OsStr::from_bytes(path.to_bytes());
            PathBuf::from(path)
        });
        paths.into_iter().find(|path| path.is_file())
    }

    /// The child's whole life before `exec`. Nothing in here may allocate, lock or panic: another thread of perfd may have
    /// held the allocator's lock at the moment of the fork.
    fn become_it(&mut self, go: RawFd, go_write: RawFd, failed: RawFd) -> ! {
        // Else our own copy would keep the pipe open after perfd's death.
        // SAFETY: a system call on a number that this process owns a copy of; no Rust object uses it any more.
        unsafe { libc::close(go_write) };
        let mut byte = 0_u8;
        loop {
            // SAFETY: `byte` is one writable byte.
            let n_read = unsafe { libc::read(go, (&raw mut byte).cast(), 1) };
            match n_read {
                1 => break,
                -1 if errno() == libc::EINTR => continue,
                // perfd is gone or has changed its mind.
                // SAFETY: _exit runs no destructors and no exit handlers of perfd's.
                _ => unsafe { libc::_exit(0) },
            }
        }
        if self.stdout == Stdout::ToStderr {
            // SAFETY: a system call on two numbers.
            unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) };
        }
        restore_signals();
        let errno = self.exec().to_ne_bytes();
        // Four bytes to a pipe are written whole (PIPE_BUF).
        // SAFETY: the buffer has the length that is given.
        unsafe { libc::write(failed, errno.as_ptr().cast(), errno.len()) };
        // SAFETY: as above.
        unsafe { libc::_exit(127) }
    }

    /// Tries the candidates as `execvp(3)` does; returns only an errno.
    fn exec(&mut self) -> i32 {
        let mut refused = libc::ENOENT;
        for candidate in &self.candidates {
            // SAFETY: `argv` and `envp` end in a null pointer and point to C strings that `self` owns.
            unsafe { libc::execve(candidate.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => refused = libc::EACCES,
                libc::ENOEXEC => {
                    if let Some(script) = self.shell_argv.get_mut(1) {
                        *script = candidate.as_ptr();
                    }
                    // SAFETY: as above.
                    unsafe {
                        libc::execve(SHELL.as_ptr(), self.shell_argv.as_ptr(), self.envp.as_ptr())
                    };
                    return libc::ENOEXEC;
                }
                other => return other,
            }
        }
        refused
    }
}

/// The files that `program` may mean: itself if it has a slash, else one in each directory of `PATH`.
fn candidates(program: &[u8], path: Option<OsString>) -> io::Result<Vec<CString>> {
    if program.is_empty() {
        return Ok(Vec::new());
    }
    if program.contains(&b'/') {
        return Ok(vec![CString::new(program)?]);
    }
    // What execvp(3) takes when there is no PATH.
    let path = path.unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    path.as_bytes()
        .split(|&byte| byte == b':')
        .map(|folder| {
            let folder: &[u8] = if folder.is_empty() { b"." } else { folder };
            Ok(CString::new([folder, b"/", program].concat())?)
        })
        .collect()
}

/// Undoes for the child what perfd and Rust's runtime did to signals: the mask of `signals`, and the ignored SIGPIPE. What
/// perfd's own parent set to be ignored (`nohup`) stays so.
fn restore_signals() {
    // SAFETY: SIG_DFL installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `none` is writable memory of the right size.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialized `none`; a null old set is allowed. The child has one thread.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// The calling thread's errno; allocates nothing.
fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FaultClass;

    fn words(command: &[&str]) -> Vec<OsString> {
        command.iter().map(OsString::from).collect()
    }

    fn run(command: &[&str]) -> Result<Status, StartError> {
        let prepared = Prepared::fork(&words(command), Stdout::ToStderr).unwrap();
        Ok(prepared.start()?.wait().unwrap())
    }

    #[test]
    fn a_command_returns_its_own_code() {
        let status = run(&["sh", "-c", "exit 42"]).unwrap();
        assert_eq!(status, Status::Exited(42));
        assert_eq!(status.exit_code(), 42);
    }

    #[test]
    fn a_command_killed_by_a_signal_counts_as_128_and_its_number() {
        let status = run(&["sh", "-c", "kill -TERM $$"]).unwrap();
        assert_eq!(status, Status::Signalled(15));
        assert_eq!(status.exit_code(), 143);
    }

    #[test]
    fn a_command_that_is_not_found_is_told_from_one_that_is_not_executable() {
        let class = |program| run(&[program]).unwrap_err().class();
        for missing in [
            "/nonexistent/program",
            "no-such-program-in-path",
            "",
            "/etc/passwd/x",
        ] {
            assert_eq!(class(missing), FaultClass::CommandNotFound, "{missing}");
        }
        assert_eq!(class("/etc/passwd"), FaultClass::NotExecutable);
        let missing = run(&["/nonexistent/program"]).unwrap_err();
        assert_eq!(missing.to_string(), "start \"/nonexistent/program\"");
    }

    #[test]
    fn a_script_without_an_interpreter_line_is_run_by_the_shell() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        // Written by another process: a child that a test beside this one has just forked would hold our descriptor
        // open for writing, and exec refuses such a file.
        let write = format!("echo 'exit $1' > {0}; chmod 755 {0}", script.display());
        assert_eq!(run(&["sh", "-c", &write]).unwrap(), Status::Exited(0));
        assert_eq!(
            run(&[script.to_str().unwrap(), "7"]).unwrap(),
            Status::Exited(7)
        );
    }

    #[test]
    fn a_prepared_command_does_not_run_before_it_is_started_and_never_if_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("ran");
        let command = words(&["touch", trace.to_str().unwrap()]);
        let dropped = Prepared::fork(&command, Stdout::Inherit).unwrap();
        let held = PidFd::open(dropped.pid()).unwrap();
        assert!(held.is_alive().unwrap());
        drop(dropped);
        assert!(!held.is_alive().unwrap());
        assert!(!trace.exists());
        let started = Prepared::fork(&command, Stdout::Inherit).unwrap().start();
        assert_eq!(started.unwrap().wait().unwrap(), Status::Exited(0));
        assert!(trace.exists());
    }

    #[test]
    fn the_command_has_an_empty_signal_mask_and_sigpipe_as_usual() {
        let _blocked = crate::sys::signals::Signals::block().unwrap();
        for line in ["^SigBlk:[[:space:]]*0+$", "^SigIgn:.*[02468ace]...$"] {
            let status = run(&["grep", "-Eq", line, "/proc/self/status"]).unwrap();
            assert_eq!(status, Status::Exited(0), "{line}");
        }
    }

    #[test]
    fn a_status_stays_after_it_has_been_read() {
        let prepared = Prepared::fork(&words(&["true"]), Stdout::Inherit).unwrap();
        let mut child = prepared.start().unwrap();
        assert_eq!(child.wait().unwrap(), Status::Exited(0));
        assert_eq!(child.try_wait().unwrap(), Some(Status::Exited(0)));
    }

    #[test]
    fn path_is_searched_in_order_and_an_empty_part_is_the_current_folder() {
        let found = candidates(b"ls", Some(OsString::from("/a::/b"))).unwrap();
        assert_eq!(found, [c"/a/ls", c"./ls", c"/b/ls"].map(CString::from));
        assert_eq!(candidates(b"./ls", None).unwrap(), [CString::from(c"./ls")]);
    }
}
