//! Progress on a terminal: one line that is written over while a run lasts and wiped away at its end.
//!
//! Where standard error is no terminal, and with `-q`, there is none: [`Progress::on_stderr`] gives `None`. No escape
//! sequences are used; spaces wipe.

use std::io::{self, IsTerminal, Stderr, Write};
use std::time::Duration;

use super::report::{grouped, per_second, plain_duration};

/// What there is to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Since the run began.
    pub elapsed: Duration,
    /// Delivered so far.
    pub samples: u64,
    /// Lost so far.
    pub lost: u64,
}

/// Time between two lines: as fast as figures can be read, and long enough for a rate.
const REDRAW: Duration = Duration::from_millis(500);

/// The line, without end of line: `perfd: 12.3 s  4,979 samples  997 /s  lost 2`. The rate is that since `before`.
pub fn line(status: &Status, before: &Status) -> String {
    let time = status.elapsed.saturating_sub(before.elapsed);
    let mut line = format!(
        "perfd: {}  {} samples",
        plain_duration(status.elapsed),
        grouped(status.samples)
    );
    if !time.is_zero() {
        let samples = status.samples.saturating_sub(before.samples);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = samples as f64 / time.as_secs_f64();
        line.push_str(&format!("  {}", per_second(rate)));
    }
    if status.lost > 0 {
        line.push_str(&format!("  lost {}", grouped(status.lost)));
    }
    line
}

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// If somebody sits there.
    Normal,
    /// `-q`.
    Quiet,
}

/// The line on the terminal. A terminal that cannot be written is no reason to end a run: errors are passed over.
#[derive(Debug)]
pub struct Progress<W: Write> {
    out: W,
    before: Status,
    /// Characters that stand there now.
    drawn: usize,
}

impl Progress<Stderr> {
    /// Progress on standard error, if that is a terminal and not to be quiet.
    pub fn on_stderr(talk: Talk) -> Option<Progress<Stderr>> {
        let stderr = io::stderr();
        (talk == Talk::Normal && stderr.is_terminal()).then(|| Progress::new(stderr))
    }
}

impl<W: Write> Progress<W> {
    /// Progress on any terminal.
    pub fn new(out: W) -> Progress<W> {
        Progress {
            out,
            before: Status::default(),
            drawn: 0,
        }
    }

    /// Writes the line over the last one, a few times a second however often it is called.
    pub fn show(&mut self, status: &Status) {
        if status.elapsed.saturating_sub(self.before.elapsed) < REDRAW {
            return;
        }
        let line = line(status, &self.before);
        self.before = *status;
        let length = line.chars().count();
        let wiped = self.drawn.saturating_sub(length);
        let _ = write!(self.out, "\r{line}{:wiped$}", "");
        let _ = self.out.flush();
        self.drawn = length;
    }

    /// Wipes the line, so that something else can be said.
    pub fn clear(&mut self) {
        if self.drawn > 0 {
            let _ = write!(self.out, "\r{:width$}\r", "", width = self.drawn);
            let _ = self.out.flush();
            self.drawn = 0;
        }
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(seconds: u64, samples: u64, lost: u64) -> Status {
        Status {
            elapsed: Duration::from_secs(seconds),
            samples,
            lost,
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_moment() {
        assert_eq!(
            line(&status(12, 5_000, 0), &status(10, 3_000, 0)),
            "perfd: 12.0 s  5,000 samples  1.00 k/s"
        );
        assert_eq!(
            line(&status(1, 10, 2), &Status::default()),
            "perfd: 1.00 s  10 samples  10.0 /s  lost 2"
        );
    }

    #[test]
    fn a_line_stays_long_enough_to_be_read() {
        let mut screen = Vec::new();
        let mut progress = Progress::new(&mut screen);
        let status = |ms, samples| Status {
            elapsed: Duration::from_millis(ms),
            samples,
            lost: 0,
        };
        for ms in [1, 499, 500, 999, 1000] {
            progress.show(&status(ms, ms));
        }
        drop(progress);
        let shown = String::from_utf8(screen).unwrap();
        assert_eq!(shown.matches("samples").count(), 2, "{shown:?}");
    }

    #[test]
    fn a_longer_line_is_wiped_by_a_shorter_one_and_the_last_one_at_the_end() {
        let mut screen = Vec::new();
        let mut progress = Progress::new(&mut screen);
        progress.show(&status(1, 10, 2));
        progress.show(&status(2, 20, 0));
        drop(progress);
        let shown = String::from_utf8(screen).unwrap();
        let lines: Vec<&str> = shown.split('\r').collect();
        assert_eq!(lines[1], "perfd: 1.00 s  10 samples  10.0 /s  lost 2");
        assert_eq!(lines[2].len(), lines[1].len());
        assert_eq!(lines[2].trim_end(), "perfd: 2.00 s  20 samples  10.0 /s");
        assert_eq!(lines[3].trim_end(), "");
        assert_eq!(lines[4], "");
    }
}
