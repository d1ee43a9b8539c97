//! The children that live, of all parsers that share this: for who adds up what perfd takes.

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Pid;

/// Living children.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Mutex<BTreeSet<Pid>>>);

/// The same is what is shared.
impl PartialEq for Children {
    fn eq(&self, other: &Children) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Children {}

impl Children {
    /// Looks at those that live. Until that is done none of them is taken note of as ended, by the kernel neither, so that what they have used is either theirs or in the
    /// sum of those that have ended.
    pub fn look<T>(&self, look: impl FnOnce(&BTreeSet<Pid>) -> T) -> T {
        look(&self.lock())
    }

    pub(super) fn came(&self, child: &Child) {
        self.lock().insert(Pid(child.id()));
    }

    /// Takes note of its end, if it has come; `false`: it lives on.
    pub(super) fn reap(&self, child: &mut Child) -> bool {
        let mut living = self.lock();
        // An error: somebody else has waited for it.
        let has_ended = matches!(child.try_wait(), Ok(Some(_)) | Err(_));
        if has_ended {
            living.remove(&Pid(child.id()));
        }
        has_ended
    }

    /// Forgets one that nobody waits for any more.
    pub(super) fn leave(&self, child: &Child) {
        self.lock().remove(&Pid(child.id()));
    }

    /// A panic leaves a set that is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_is_there_from_its_start_to_its_end() {
        let children = Children::default();
        let shared = children.clone();
        assert_eq!(children, shared);
        assert_ne!(children, Children::default());
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat starts");
        children.came(&cat);
        assert!(!children.reap(&mut cat));
        let pid = Pid(cat.id());
        assert!(shared.look(|living| living.contains(&pid)));
        cat.kill().expect("it lives");
        while !children.reap(&mut cat) {
            std::thread::yield_now();
        }
        assert!(shared.look(BTreeSet::is_empty));
    }
}
