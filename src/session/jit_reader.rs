//! The thread that reads what runtimes write down of their code, beside the way of the samples.
//!
//! It decides nothing: what it finds is in [`Codes`], where names are asked for, and in its answers, by which samples are told apart.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::table_workers::Queue;
use crate::model::{Module, MonoNs, Pid};
use crate::symbolize::jit::Codes;
use crate::sys::{self, Waker};

/// What it is asked.
pub(super) enum Ask {
    /// Look after this process, which has code there.
    Watch(Pid, Option<(u64, u64)>),
    /// This process has mapped what is named as a jitdump is.
    Dump(Pid, Arc<Module>),
    /// This process is another program's from then on.
    BeganAnew(Pid, MonoNs),
    /// Read what is new of these, and answer in which of them code was replaced, and until when.
    Read(Vec<Pid>),
}

/// In which processes code was replaced, and when that was over.
pub(super) type Replaced = Vec<(Pid, MonoNs)>;

/// The ends of its channels.
pub(super) struct JitReader {
    pub(super) asks: Queue<Ask>,
    pub(super) answers: Receiver<Replaced>,
}

impl JitReader {
    /// The other ends are the test's.
    #[cfg(test)]
    pub(super) fn of_test() -> (JitReader, Receiver<Ask>, Sender<Replaced>) {
        let (asks, inbox) = Queue::new();
        let (sender, answers) = bounded(1);
        (JitReader { asks, answers }, inbox, sender)
    }

    /// Starts the thread; `waker` is woken for every answer.
    pub(super) fn start(jit: Arc<dyn Codes>, waker: &Waker) -> io::Result<JitReader> {
        let (asks, inbox) = Queue::new();
        // One question waits for its answer before the next is asked.
        let (sender, answers) = bounded(1);
        let waker = waker.clone();
        thread::Builder::new()
            .name("perfd-jit".to_owned())
            .spawn(move || {
                sys::lower_priority();
                work(&*jit, &inbox, &sender, &waker);
            })?;
        Ok(JitReader { asks, answers })
    }
}

fn work(jit: &dyn Codes, inbox: &Receiver<Ask>, answers: &Sender<Replaced>, waker: &Waker) {
    for ask in inbox {
        match ask {
            Ask::Watch(pid, code) => jit.watch(pid, code),
            Ask::Dump(pid, module) => jit.add_dump(pid, &module),
            Ask::BeganAnew(pid, at) => jit.began_anew(pid, at),
            Ask::Read(pids) => {
                if answers.send(jit.read(&pids)).is_err() {
                    return;
                }
                waker.wake();
            }
        }
    }
}
