//! Why a request was not done, in the form in which a client is told.

use serde::{Deserialize, Serialize};

use crate::model::{Fault, FaultClass};

/// An error as it stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Of what kind.
    pub class: RefusalClass,
    /// What went wrong, in one line.
    pub message: String,
    /// Present values and remedies, one line each.
    #[serde(default)]
    pub hints: Vec<String>,
}

/// The kinds of trouble; each is a class of faults, and for `perfd ctl` an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalClass {
    /// The request makes no sense, or is none.
    Usage,
    /// No such process, cgroup, target.
    NoSuchTarget,
    /// This host has no such event or facility.
    Unavailable,
    /// Not for this user.
    Permission,
    /// There are as many of them as may be: clients, targets, requests in a second.
    Limit,
    /// A descriptor that was passed cannot be written to.
    Output,
    /// The client was too slow: with a request, or with what it was sent.
    TooSlow,
    /// The daemon ends.
    Stopping,
    /// A system call failed that does not usually fail.
    System,
    /// A fault of the daemon.
    Internal,
    /// A kind that a later daemon knows.
    #[serde(other)]
    Other,
}

impl Refusal {
    /// One without hints.
    pub fn new(class: RefusalClass, message: impl Into<String>) -> Refusal {
        Refusal {
            class,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// The same with one more line under it.
    pub fn hint(mut self, line: impl Into<String>) -> Refusal {
        self.hints.push(line.into());
        self
    }

    /// The fault that a client's command ends with.
    pub fn into_fault(self) -> Fault {
        Fault {
            class: match self.class {
                RefusalClass::Usage => FaultClass::Usage,
                RefusalClass::NoSuchTarget => FaultClass::NoSuchTarget,
                RefusalClass::Unavailable | RefusalClass::Stopping => FaultClass::Unavailable,
                RefusalClass::Permission => FaultClass::Permission,
                RefusalClass::Limit => FaultClass::Limit,
                RefusalClass::Output | RefusalClass::TooSlow => FaultClass::OutputFailed,
                RefusalClass::System | RefusalClass::Other => FaultClass::System,
                RefusalClass::Internal => FaultClass::Internal,
            },
            what: self.message,
            hints: self.hints,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal {
            class: match fault.class {
                FaultClass::Usage | FaultClass::Configuration => RefusalClass::Usage,
                FaultClass::NoSuchTarget => RefusalClass::NoSuchTarget,
                FaultClass::Unavailable => RefusalClass::Unavailable,
                FaultClass::Permission => RefusalClass::Permission,
                FaultClass::Limit => RefusalClass::Limit,
                FaultClass::CannotCreate | FaultClass::OutputFailed => RefusalClass::Output,
                FaultClass::Internal => RefusalClass::Internal,
                FaultClass::System | FaultClass::NotExecutable | FaultClass::CommandNotFound => {
                    RefusalClass::System
                }
            },
            message: fault.what,
            hints: fault.hints,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_a_later_daemon_is_read_as_other() {
        let text = r#"{"class":"quantum","message":"x","hints":[]}"#;
        let refusal: Refusal = serde_json::from_str(text).unwrap();
        assert_eq!(refusal.class, RefusalClass::Other);
    }

    #[test]
    fn a_fault_keeps_its_class_on_the_way_to_a_client_and_back() {
        for class in [
            FaultClass::Usage,
            FaultClass::NoSuchTarget,
            FaultClass::Unavailable,
            FaultClass::Permission,
            FaultClass::Limit,
            FaultClass::OutputFailed,
            FaultClass::System,
            FaultClass::Internal,
        ] {
            let fault = Fault::new(class, "x").hint("y");
            assert_eq!(Refusal::from(fault.clone()).into_fault(), fault);
        }
    }
}
