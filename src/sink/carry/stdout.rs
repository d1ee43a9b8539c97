//! Standard output, whatever it is: a file, a pipe, a terminal.
//!
//! Written through a descriptor of its own, not line by line as `std::io::Stdout` would.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Carry;

/// Standard output.
#[derive(Debug)]
pub struct StdoutCarrier {
    file: File,
}

impl StdoutCarrier {
    /// Takes a descriptor of standard output.
    pub fn open() -> io::Result<StdoutCarrier> {
        Ok(StdoutCarrier::on(
            io::stdout().as_fd().try_clone_to_owned()?,
        ))
    }

    /// A carrier on any descriptor that stands for standard output.
    pub fn on(descriptor: OwnedFd) -> StdoutCarrier {
        StdoutCarrier {
            file: File::from(descriptor),
        }
    }
}

impl Write for StdoutCarrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                // Another program that shares the pipe or terminal has made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut ready, PollTimeout::NONE)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Carry for StdoutCarrier {}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::thread;

    use nix::fcntl::OFlag;

    use super::*;

    #[test]
    fn a_pipe_that_does_not_block_is_waited_for() {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_NONBLOCK).unwrap();
        let mut carrier = StdoutCarrier::on(writer);
        let reader = thread::spawn(move || {
            let mut reader = File::from(reader);
            let mut n_bytes = 0;
            let mut buffer = vec![0; 1 << 20];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return n_bytes,
                    Ok(n) => n_bytes += n,
                    Err(_) => thread::yield_now(),
                }
            }
        });
        carrier.write_all(&vec![b'x'; 1 << 20]).unwrap();
        drop(carrier);
        assert_eq!(reader.join().unwrap(), 1 << 20);
    }
}
