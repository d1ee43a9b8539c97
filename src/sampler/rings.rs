//! The rings of all CPUs, and their records in time order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::model::{Cpu, MonoNs};
use crate::sys::{self, EventFd, Ring, record};

/// Rings that are not asked for by size share so many bytes,
const ALL_RINGS: usize = 16 << 20;
/// but none is larger than this (room for 128 of the largest samples)
const LARGEST_RING: usize = 8 << 20;
/// or smaller than this (8 of them), unless the locked-memory limit says so.
const SMALLEST_RING: usize = 512 << 10;

/// Why there are no rings.
#[derive(Debug, thiserror::Error)]
pub enum RingsError {
    /// The event that owns the ring could not be opened.
    #[error("open the ring of cpu {cpu}")]
    Open {
        /// The CPU.
        cpu: Cpu,
        /// Why.
        source: io::Error,
    },
    /// The ring could not be mapped, not even with one page.
    #[error("map the ring of cpu {cpu} ({pages} pages)")]
    Map {
        /// The CPU.
        cpu: Cpu,
        /// Pages asked for.
        pages: usize,
        /// Why.
        source: io::Error,
    },
}

struct CpuRing {
    cpu: Cpu,
    owner: EventFd,
    ring: Ring,
    /// When the next unread record was made.
    next: Option<MonoNs>,
}

/// One ring per CPU.
pub(super) struct Rings {
    rings: Vec<CpuRing>,
    newest: MonoNs,
    /// Records older than one that was visited before them.
    pub(super) out_of_order: u64,
}

/// The pages of each ring when nobody asks for a number.
pub(super) fn default_pages(n_cpus: usize) -> usize {
    let bytes = (ALL_RINGS / n_cpus.max(1)).clamp(SMALLEST_RING, LARGEST_RING);
    let pages = bytes / sys::page_size();
    1 << pages.max(1).ilog2()
}

impl Rings {
    /// Opens a ring of `pages` pages on every CPU. Where the locked-memory limit forbids that, all rings are halved
    /// until they fit; [`Rings::pages`] tells what they became.
    pub(super) fn open(cpus: &[Cpu], pages: usize) -> Result<Rings, RingsError> {
        let mut fitting = pages;
        loop {
            let rings: Result<Vec<CpuRing>, RingsError> =
                cpus.iter().map(|cpu| open_one(*cpu, fitting)).collect();
            match rings {
                Ok(rings) => {
                    return Ok(Rings {
                        rings,
                        newest: MonoNs(0),
                        out_of_order: 0,
                    });
                }
                Err(RingsError::Map { source, .. })
                    if source.raw_os_error() == Some(libc::EPERM) && fitting > 1 =>
                {
                    fitting /= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Data pages of each ring.
    pub(super) fn pages(&self) -> usize {
        self.rings
            .first()
            .map_or(0, |ring| ring.ring.size() / sys::page_size())
    }

    /// The event whose ring the events of a CPU send their records to.
    pub(super) fn owner(&self, cpu: Cpu) -> Option<&EventFd> {
        Some(&self.rings.iter().find(|ring| ring.cpu == cpu)?.owner)
    }

    /// The CPUs that have a ring.
    pub(super) fn cpus(&self) -> impl Iterator<Item = Cpu> {
        self.rings.iter().map(|ring| ring.cpu)
    }

    /// Descriptors that wake a poller when a ring is a quarter full.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| ring.owner.as_fd())
    }

    /// Visits all records made up to `horizon`, in the order of their times, in place; their room is given back on
    /// the way, so that a long drain does not starve the kernel.
    pub(super) fn drain(&mut self, horizon: MonoNs, mut visit: impl FnMut(Cpu, MonoNs, &[u64])) {
        for ring in &mut self.rings {
            ring.ring.look();
            ring.find_next();
        }
        while let Some(ring) = self
            .rings
            .iter_mut()
            .filter(|ring| ring.next.is_some())
            .min_by_key(|ring| ring.next)
        {
            let Some(time) = ring.next.filter(|time| *time <= horizon) else {
                break;
            };
            if time < self.newest {
                self.out_of_order += 1;
            }
            self.newest = self.newest.max(time);
            if let Some(words) = ring.ring.peek() {
                let n_words = words.len();
                visit(ring.cpu, time, words);
                ring.ring.advance(n_words);
            }
            if ring.ring.unreleased() >= ring.ring.size() as u64 / 8 {
                ring.ring.release();
            }
            ring.find_next();
        }
        self.rings.iter_mut().for_each(|ring| ring.ring.release());
    }
}

impl CpuRing {
    /// A record without a readable time is visited at once.
    fn find_next(&mut self) {
        self.next = self
            .ring
            .peek()
            .map(|words| record::time_of(words).unwrap_or(MonoNs(0)));
    }
}

fn open_one(cpu: Cpu, pages: usize) -> Result<CpuRing, RingsError> {
    // Early enough that a recorder which has to wait for a CPU still finds room.
    let watermark = pages * sys::page_size() / 4;
    let owner =
        sys::open_ring_owner(cpu, watermark).map_err(|source| RingsError::Open { cpu, source })?;
    let ring = Ring::map(&owner, pages).map_err(|source| RingsError::Map { cpu, pages, source })?;
    Ok(CpuRing {
        cpu,
        owner,
        ring,
        next: None,
    })
}
