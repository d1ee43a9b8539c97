//! Names of kernel frames.
//!
//! The kernel's symbols change while perfd runs: modules and BPF programs come and go, and another may be where one was.
//! So they are read again for an address that nothing covers, and for one whose code can be replaced; but reading takes
//! some tens of milliseconds, and gets a twentieth of the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Avma, FileOffset, FrameName, NameKind, Unnamed};
use crate::procfs::kallsyms::{Kallsyms, Lasting, Source};

/// What a kernel frame without a name is called: its address is nobody's business.
const KERNEL: &str = "[kernel]";
/// Between two readings there is so many times the time that one takes.
const REST: u32 = 19;

/// The running kernel's symbols, read when the first kernel frame is named.
#[derive(Default)]
pub(super) struct Kernel {
    read: Option<Reading>,
}

struct Reading {
    /// `None` where the kernel hides them.
    symbols: Option<Kallsyms>,
    /// When they may be read again.
    again: Instant,
}

impl Reading {
    fn of(source: &Source, now: impl Fn() -> Instant) -> Reading {
        let begun = now();
        let symbols = Kallsyms::read(source).ok();
        let ended = now();
        Reading {
            symbols,
            again: ended + rest(ended.saturating_duration_since(begun)),
        }
    }
}

fn rest(taken: Duration) -> Duration {
    taken.saturating_mul(REST)
}

impl Kernel {
    /// The name at `offset`, which for the kernel is the address itself.
    pub(super) fn name(&mut self, source: &Source, offset: FileOffset) -> FrameName {
        self.name_at(source, offset, Instant::now)
    }

    fn name_at(
        &mut self,
        source: &Source,
        offset: FileOffset,
        now: impl Fn() -> Instant,
    ) -> FrameName {
        let address = Avma(offset.0);
        let reading = self.read.get_or_insert_with(|| Reading::of(source, &now));
        if may_be_outdated(reading, address) && now() >= reading.again {
            *reading = Reading::of(source, &now);
        }
        let (text, unnamed) = match &reading.symbols {
            None => (KERNEL, Some(Unnamed::KernelHidden)),
            Some(symbols) => match symbols.lookup(address) {
                None => (KERNEL, Some(Unnamed::NotCovered)),
                Some(name) => (name, None),
            },
        };
        FrameName {
            text: Arc::from(text),
            kind: NameKind::Kernel,
            unnamed,
        }
    }
}

/// Whether the kernel may say something else of the address by now. What it hides it goes on hiding.
fn may_be_outdated(reading: &Reading, address: Avma) -> bool {
    reading
        .symbols
        .as_ref()
        .is_some_and(|symbols| symbols.lasting(address) != Some(Lasting::ForEver))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;

    const CORE: &str =
        "ffffffff81000000 T _stext\nffffffff81000100 t do_work\nffffffff81000200 D data\n";

    /// A `/proc` whose symbols can be changed, and a clock.
    struct Scene {
        proc_root: tempfile::TempDir,
        kernel: Kernel,
        now: Cell<Instant>,
    }

    impl Scene {
        fn new() -> Scene {
            let scene = Scene {
                proc_root: tempfile::tempdir().expect("a folder"),
                kernel: Kernel::default(),
                now: Cell::new(Instant::now()),
            };
            scene.write("");
            scene
        }

        fn write(&self, more: &str) {
            let path = self.proc_root.path().join("kallsyms");
            fs::write(path, format!("{CORE}{more}")).expect("written");
        }

        /// The name at an address. Each look at the clock takes a millisecond.
        fn name(&mut self, address: u64) -> String {
            let now = || {
                self.now.set(self.now.get() + Duration::from_millis(1));
                self.now.get()
            };
            let source = Source::Under(self.proc_root.path().to_owned());
            let name = self.kernel.name_at(&source, FileOffset(address), now);
            assert!(!name.text.contains("ffff"), "{name:?}");
            name.text.to_string()
        }

        fn wait(&self) {
            self.now.set(self.now.get() + Duration::from_secs(1));
        }
    }

    #[test]
    fn what_is_loaded_during_the_run_is_found_after_a_rest() {
        let mut scene = Scene::new();
        assert_eq!(scene.name(0xffff_ffff_c000_0010), "[kernel]");
        scene.write("ffffffffc0000000 t bpf_prog_1234_f\t[bpf]\n");
        assert_eq!(scene.name(0xffff_ffff_c000_0010), "[kernel]");
        scene.wait();
        assert_eq!(scene.name(0xffff_ffff_c000_0010), "bpf_prog_1234_f");
    }

    #[test]
    fn what_took_the_place_of_something_else_is_found_after_a_rest() {
        let mut scene = Scene::new();
        scene.write("ffffffffc0000000 t bpf_prog_1234_f\t[bpf]\n");
        assert_eq!(scene.name(0xffff_ffff_c000_0010), "bpf_prog_1234_f");
        scene.write("ffffffffc0000000 t bpf_prog_5678_g\t[bpf]\n");
        scene.wait();
        assert_eq!(scene.name(0xffff_ffff_c000_0010), "bpf_prog_5678_g");
    }

    #[test]
    fn the_kernels_own_functions_are_not_read_again() {
        let mut scene = Scene::new();
        assert_eq!(scene.name(0xffff_ffff_8100_0110), "do_work");
        fs::remove_file(scene.proc_root.path().join("kallsyms")).expect("removed");
        scene.wait();
        assert_eq!(scene.name(0xffff_ffff_8100_0111), "do_work");
    }

    #[test]
    fn an_address_that_is_hidden_by_now_is_not_told() {
        let mut scene = Scene::new();
        let zeros = "0000000000000000 T _stext\n";
        fs::write(scene.proc_root.path().join("kallsyms"), zeros).expect("written");
        assert_eq!(scene.name(0xffff_ffff_8100_0110), "[kernel]");
    }
}
