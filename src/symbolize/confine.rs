//! Runs a library over foreign bytes so that its panic ends nothing but the call.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// The library panicked; what it was working on is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

thread_local! {
    static IS_CONFINED: Cell<bool> = const { Cell::new(false) };
}

/// Calls `work`; a panic in it is an error and says nothing on standard error.
///
/// The caller must not use again what `work` was changing when it panicked, unless that is sound in any state.
pub(super) fn confined<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    silence_confined_panics();
    let was_confined = IS_CONFINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    IS_CONFINED.set(was_confined);
    outcome.map_err(|_| Panicked)
}

/// Puts a hook before the present one, which then hears of all panics but the confined ones.
fn silence_confined_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CONFINED.get() {
                report(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_outcome() {
        let numbers: Vec<u32> = Vec::new();
        assert_eq!(confined(|| numbers[3]), Err(Panicked));
        assert_eq!(confined(|| 3), Ok(3));
    }
}
