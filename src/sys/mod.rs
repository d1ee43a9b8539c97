//! System calls, and the memory that the kernel shares with perfd: the only floor with `unsafe` code.
//!
//! Everything here is mechanism: what to open, when to read and what it means is decided above.

mod allocator;
mod clock;
pub mod confinement;
pub mod counter_room;
mod event;
pub mod event_error;
mod file_version;
pub mod inherited;
mod last_moment;
pub mod limits;
mod local_time;
mod nameless_file;
pub mod parcel;
pub mod pidfd;
mod poller;
mod priority;
mod private_folder;
pub mod privilege;
pub mod probe;
pub mod record;
mod ring;
pub mod signals;
pub mod spawn;
pub mod start_error;
pub mod unix_socket;
mod usage;

pub use allocator::give_back_memory;
pub use clock::{boot_offset, now, unix_ns_at};
pub use event::{
    Callchain, EventFd, EventScope, ReadOut, SampleContent, Start, USER_REGISTERS, Wakes, Whom,
    open_ring_owner, open_sampling, open_side_band,
};
pub use file_version::{VersionedFile, version_at, version_behind_link};
pub use last_moment::LastMoment;
pub use local_time::{local_date, unix_ns_now, unix_of_local};
pub use nameless_file::{create_nameless, has_no_nameless_files, name_file};
pub use poller::{Interest, Poller, Ticker, Waker, Wakeup, has_input};
pub use priority::lower_priority;
pub use private_folder::{PrivateFolderError, private_folder};
pub use ring::{Ring, page_size};
pub use usage::{cpu_time_of_ended_children, cpu_time_of_process, cpu_time_of_thread};
