//! What the BPF programs have counted, taken out of their maps.

use std::io;
use std::os::fd::BorrowedFd;

use rustc_hash::FxHashMap;

use super::batch;
use super::python::PythonSide;
use super::wire::{
    CHUNK_FRAMES, Chunk, ChunkKey, Count, CountKey, ENDED, FRAME_MODULE_SHIFT, FRAME_OFFSET_MASK,
    FRAME_RETURN, MAX_CHUNKS,
};
use crate::model::{
    AddressKind, Cpu, DomainId, Ended, EventIdx, FileOffset, Frame, ModuleId, Modules, MonoNs, Pid,
    PythonRead, Tid, Weight,
};

/// Samples of one thread and event with the same stack.
#[derive(Debug)]
pub struct WalkedSamples<'a> {
    /// Which of the run's events.
    pub event: EventIdx,
    /// Process.
    pub pid: Pid,
    /// Thread.
    pub tid: Tid,
    /// The deepest domain that the thread was in when the samples were taken; `None` if it was in none.
    pub domain: Option<DomainId>,
    /// The thread's name when the samples were taken.
    pub comm: &'a [u8],
    /// Leaf first: the kernel's frames, then the user's, those of Python among them.
    pub frames: &'a [Frame],
    /// What became of those.
    pub python: PythonRead,
    /// Module of the last native user frame; `None` if there is none.
    pub module: Option<ModuleId>,
    /// How the walk of the user's stack ended.
    pub ended: Ended,
    /// Number and Σ period.
    pub weight: Weight,
    /// When and where, if each sample is counted by itself; two of a thread at the same time are still one.
    pub taken: Option<(MonoNs, Cpu)>,
}

/// One set of the maps that programs count in.
pub(super) struct Set<'a> {
    pub(super) counts: BorrowedFd<'a>,
    pub(super) stacks: BorrowedFd<'a>,
}

/// Takes everything out of a set that no program writes to. Returns the samples whose stack was not in it: none, unless the
/// programs are at fault.
pub(super) fn drain(
    set: &Set<'_>,
    mut python: Option<&mut PythonSide>,
    mut visit: impl FnMut(WalkedSamples<'_>),
) -> io::Result<Vec<(EventIdx, u64)>> {
    let no_key = CountKey {
        stack: [0; 2],
        pid: 0,
        tid: 0,
        comm: [0; 16],
        time: 0,
        cpu: 0,
        n_kernel: 0,
        n_user: 0,
        event: 0,
        ended: 0,
        n_python: 0,
        python: 0,
        unused: 0,
        domain: 0,
        unused_too: 0,
    };
    let no_count = Count {
        weight: 0,
        samples: 0,
        squares: 0,
    };
    let mut counts = Vec::new();
    batch::take_all(set.counts, (no_key, no_count), |key, count| {
        counts.push((*key, *count));
    })?;
    if counts.is_empty() {
        return Ok(Vec::new());
    }
    let mut stacks: FxHashMap<ChunkKey, Chunk> = FxHashMap::default();
    let no_chunk = Chunk {
        frames: [0; CHUNK_FRAMES],
    };
    let no_chunk_key = ChunkKey {
        stack: [0; 2],
        chunk: 0,
    };
    batch::take_all(set.stacks, (no_chunk_key, no_chunk), |key, chunk| {
        stacks.insert(*key, *chunk);
    })?;
    let mut frames = Vec::new();
    let mut words = Vec::new();
    let mut without_stack = Vec::new();
    for (key, count) in &counts {
        let event = EventIdx(usize::from(key.event));
        let ended = ENDED.get(usize::from(key.ended));
        let read = PythonRead::ALL.get(usize::from(key.python));
        let is_whole =
            read_frames(key, &stacks, &mut frames) && read_python(key, &stacks, &mut words);
        let (Some(ended), Some(read), true) = (ended, read, is_whole) else {
            without_stack.push((event, count.samples));
            continue;
        };
        let n_comm = key.comm.iter().position(|byte| *byte == 0);
        let n_kernel = usize::from(key.n_kernel);
        let user = frames.get(n_kernel..).unwrap_or_default();
        let module = user.last().map(|frame| frame.module);
        let read = match &mut python {
            Some(python) => {
                let is_complete = !ended.is_truncated();
                python.splice(&mut frames, n_kernel, &words, *read, is_complete)
            }
            None => *read,
        };
        // The native part of such a stack may be whole, but its outermost Python frames are missing.
        let ended = match read {
            PythonRead::Cut => Ended::DepthLimit,
            _ => *ended,
        };
        visit(WalkedSamples {
            event,
            pid: Pid(key.pid),
            tid: Tid(key.tid),
            domain: (key.domain != 0).then_some(DomainId(key.domain)),
            comm: &key.comm[..n_comm.unwrap_or(key.comm.len())],
            frames: &frames,
            python: read,
            module,
            ended,
            weight: Weight {
                total: count.weight,
                samples: count.samples,
                squares: u128::from(count.squares) << 16,
            },
            taken: (key.time != 0).then(|| (MonoNs(key.time), Cpu(u32::from(key.cpu)))),
        });
    }
    Ok(without_stack)
}

/// Whether all frames were there.
fn read_frames(
    key: &CountKey,
    stacks: &FxHashMap<ChunkKey, Chunk>,
    frames: &mut Vec<Frame>,
) -> bool {
    frames.clear();
    let (n_kernel, n_user) = (usize::from(key.n_kernel), usize::from(key.n_user));
    let mut left = n_kernel + n_user;
    let mut chunk = 0;
    while left > 0 {
        let chunk_key = ChunkKey {
            stack: key.stack,
            chunk,
        };
        let Some(words) = stacks.get(&chunk_key) else {
            return false;
        };
        let n = left.min(CHUNK_FRAMES);
        for word in &words.frames[..n] {
            let frame = match frames.len() < n_kernel {
                true => kernel_frame(*word, frames.is_empty()),
                false => user_frame(*word),
            };
            frames.push(frame);
        }
        left -= n;
        chunk += 1;
    }
    true
}

/// The same of the words of its Python part.
fn read_python(key: &CountKey, stacks: &FxHashMap<ChunkKey, Chunk>, words: &mut Vec<u64>) -> bool {
    words.clear();
    let n_words = 2 * usize::from(key.n_python);
    let mut chunk = MAX_CHUNKS;
    while words.len() < n_words {
        let chunk_key = ChunkKey {
            stack: key.stack,
            chunk,
        };
        let Some(more) = stacks.get(&chunk_key) else {
            return false;
        };
        let n = (n_words - words.len()).min(CHUNK_FRAMES);
        words.extend(&more.frames[..n]);
        chunk += 1;
    }
    true
}

fn kernel_frame(address: u64, is_leaf: bool) -> Frame {
    Frame {
        module: Modules::KERNEL,
        kind: match is_leaf {
            true => AddressKind::Interrupted,
            false => AddressKind::Return,
        },
        offset: FileOffset(address),
    }
}

fn user_frame(word: u64) -> Frame {
    let module = (word & !FRAME_RETURN) >> FRAME_MODULE_SHIFT;
    Frame {
        module: ModuleId(u32::try_from(module).expect("16 bits")),
        kind: match word & FRAME_RETURN {
            0 => AddressKind::Interrupted,
            _ => AddressKind::Return,
        },
        offset: FileOffset(word & FRAME_OFFSET_MASK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_from_their_chunks_and_a_missing_one_is_noticed() {
        let mut key = CountKey {
            stack: [1, 2],
            pid: 1,
            tid: 1,
            comm: [0; 16],
            time: 0,
            cpu: 0,
            n_kernel: 1,
            n_user: 64,
            event: 0,
            ended: 0,
            n_python: 0,
            python: 0,
            unused: 0,
            domain: 0,
            unused_too: 0,
        };
        let mut chunks = [[0u64; CHUNK_FRAMES]; 2];
        chunks[0][0] = 0xffff_ffff_8100_0000;
        chunks[0][1] = 3 << FRAME_MODULE_SHIFT | 0x40;
        chunks[1][0] = FRAME_RETURN | 5 << FRAME_MODULE_SHIFT | 0x7fff_0000_1234;
        let stacks: FxHashMap<ChunkKey, Chunk> = chunks
            .into_iter()
            .zip(0..)
            .map(|(frames, chunk)| {
                let stack = [1, 2];
                (ChunkKey { stack, chunk }, Chunk { frames })
            })
            .collect();
        let mut frames = Vec::new();
        assert!(read_frames(&key, &stacks, &mut frames));
        assert_eq!(frames.len(), 65);
        assert_eq!(frames[0], kernel_frame(0xffff_ffff_8100_0000, true));
        let (leaf, root) = (frames[1], frames[64]);
        assert_eq!(
            (leaf.module, leaf.kind),
            (ModuleId(3), AddressKind::Interrupted)
        );
        assert_eq!(
            (root.module, root.offset),
            (ModuleId(5), FileOffset(0x7fff_0000_1234))
        );
        assert_eq!(root.kind, AddressKind::Return);
        key.n_user = 128;
        assert!(!read_frames(&key, &stacks, &mut frames));
    }
}
