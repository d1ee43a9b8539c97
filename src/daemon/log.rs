//! The log: one line on standard error for each change of state.
//!
//! For the journal each line has its priority in front (`sd-daemon(3)`); time, name and process are the journal's own. Words of others (names,
//! errors) come in as text and go out as one line. What clients cause is limited: who connects a thousand times fills no disk.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use crate::model::MonoNs;

/// Lines that clients may cause in [`SPAN`]; further ones are counted.
const MOST: u32 = 50;
const SPAN: Duration = Duration::from_secs(10);

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// Standard error.
#[derive(Debug)]
pub struct Log {
    has_journal: bool,
    since: MonoNs,
    said: u32,
    unsaid: u64,
}

impl Log {
    /// A log; in a journal lines have their priority in front.
    pub fn new(has_journal: bool) -> Log {
        Log {
            has_journal,
            since: MonoNs(0),
            said: 0,
            unsaid: 0,
        }
    }

    /// Something has changed as it should.
    pub fn info(&self, text: impl Display) {
        self.write(Priority::Info, &text.to_string());
    }

    /// Something is not as it was asked for.
    pub fn warning(&self, text: impl Display) {
        self.write(Priority::Warning, &text.to_string());
    }

    /// Something has failed.
    pub fn error(&self, text: impl Display) {
        self.write(Priority::Error, &text.to_string());
    }

    /// Something that a client has caused, at `now`; beyond the limit it is counted.
    pub fn of_client(&mut self, now: MonoNs, text: impl Display) {
        if now.since(self.since) >= SPAN {
            if self.unsaid > 0 {
                let text = format!("{} more lines about clients were left out", self.unsaid);
                self.write(Priority::Warning, &text);
            }
            (self.since, self.said, self.unsaid) = (now, 0, 0);
        }
        if self.said >= MOST {
            self.unsaid += 1;
            return;
        }
        self.said += 1;
        self.info(text);
    }

    fn write(&self, priority: Priority, text: &str) {
        // Who has closed standard error does not want to know.
        let _ = std::io::stderr().write_all(line(self.has_journal, priority, text).as_bytes());
    }
}

fn line(has_journal: bool, priority: Priority, text: &str) -> String {
    let text: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    match has_journal {
        true => format!("<{}>{text}\n", priority as u8),
        false => format!("perfd: {text}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_whatever_is_in_it() {
        assert_eq!(line(true, Priority::Info, "a\nb\x1b[1m"), "<6>a b [1m\n");
        assert_eq!(line(false, Priority::Error, "a"), "perfd: a\n");
    }

    #[test]
    fn what_clients_cause_is_limited_and_counted() {
        let mut log = Log::new(true);
        let at = |seconds: u64| MonoNs(0).plus(SPAN + Duration::from_secs(seconds));
        for _ in 0..MOST + 7 {
            log.of_client(at(1), "x");
        }
        assert_eq!((log.said, log.unsaid), (MOST, 7));
        log.of_client(at(20), "x");
        assert_eq!((log.said, log.unsaid), (1, 0));
    }
}
