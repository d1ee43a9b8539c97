//! framehop for either processor, one step at a time.

use framehop::aarch64::{CacheAarch64, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, Unwinder};
use perfd::arch::Machine;
use perfd::model::AddressKind;
use perfd::unwind::Cursor;

type Bytes = Vec<u8>;

/// framehop with one module.
pub enum Oracle {
    X86_64(UnwinderX86_64<Bytes>, CacheX86_64),
    Aarch64(UnwinderAarch64<Bytes>, CacheAarch64),
}

/// pc, sp and fp of a caller.
pub type Caller = (u64, u64, u64);

impl Oracle {
    pub fn new(machine: Machine, module: Module<Bytes>) -> Oracle {
        match machine {
            Machine::Aarch64 => {
                let mut unwinder = UnwinderAarch64::new();
                unwinder.add_module(module);
                Oracle::Aarch64(unwinder, CacheAarch64::new())
            }
            _ => {
                let mut unwinder = UnwinderX86_64::new();
                unwinder.add_module(module);
                Oracle::X86_64(unwinder, CacheX86_64::new())
            }
        }
    }

    /// The caller of a frame; `None` if framehop finds none.
    pub fn step(
        &mut self,
        frame: &Cursor,
        link: u64,
        mut read: impl FnMut(u64) -> Result<u64, ()>,
    ) -> Option<Caller> {
        let address = match frame.kind {
            AddressKind::Interrupted => FrameAddress::from_instruction_pointer(frame.pc),
            AddressKind::Return => FrameAddress::from_return_address(frame.pc)?,
        };
        match self {
            Oracle::X86_64(unwinder, cache) => {
                let mut registers = UnwindRegsX86_64::new(frame.pc, frame.sp, frame.fp);
                let pc = unwinder.unwind_frame(address, &mut registers, cache, &mut read);
                Some((pc.ok()??, registers.sp(), registers.bp()))
            }
            Oracle::Aarch64(unwinder, cache) => {
                let mut registers = UnwindRegsAarch64::new(link, frame.sp, frame.fp);
                let pc = unwinder.unwind_frame(address, &mut registers, cache, &mut read);
                Some((pc.ok()??, registers.sp(), registers.fp()))
            }
        }
    }
}
