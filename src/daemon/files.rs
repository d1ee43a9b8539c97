//! The thread that keeps windows in files. A disk that does not answer stops this thread and nobody else.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::config;
use crate::aggregate::merge_into;
use crate::model::Profile;
use crate::sink::pprof::Labels;
use crate::store::{Done, Limits, Store, StoreError};
use crate::sys::{self, Waker};

/// Windows that may wait for the disk before they are put together.
const QUEUE: usize = 64;
/// Of how many kinds (targets, phases) windows that are put together may wait.
const MOST_KINDS: usize = 256;
/// Old files are looked for so often where nothing is written.
const TICK: Duration = Duration::from_secs(60);

enum Piece {
    Window(Arc<Profile>, Labels),
    End(String),
    Limits(Limits),
}

/// Figures of the store, since the start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Files written.
    pub written: AtomicU64,
    /// Files taken away, since they were too old or too many.
    pub removed: AtomicU64,
    /// Times that it began to go wrong.
    pub failures: AtomicU64,
    /// Bytes that files take.
    pub bytes: AtomicU64,
    /// Bytes that wait to be written.
    pub pending_bytes: AtomicU64,
    /// Windows that were put together, since the disk was slow.
    pub merged: AtomicU64,
    /// Windows that are in no file, since too much waited for the disk.
    pub dropped: AtomicU64,
}

/// Windows on their way to files.
pub struct Files {
    pieces: Sender<Piece>,
    thread: JoinHandle<()>,
    /// What has no room on the way.
    behind: VecDeque<Piece>,
    figures: Arc<Figures>,
    news: Arc<Mutex<Vec<String>>>,
}

impl Files {
    /// Opens the folder and starts the thread; `waker` is woken when there is something to log.
    ///
    /// # Errors
    /// The folder cannot be used, or another perfd uses it.
    pub fn start(root: &Path, limits: Limits, waker: Waker) -> Result<Files, StoreError> {
        let store = Store::open(root, limits)?;
        let (pieces, inbox) = bounded(QUEUE);
        let figures = Arc::new(Figures::default());
        let news = Arc::new(Mutex::new(Vec::new()));
        let writing = Writing {
            root: root.to_owned(),
            store,
            figures: figures.clone(),
            news: news.clone(),
            waker,
        };
        let folder = |source: io::Error| StoreError::Folder {
            root: root.to_owned(),
            source,
        };
        let thread = thread::Builder::new()
            .name("perfd-files".to_owned())
            .spawn(move || writing.work(&inbox))
            .map_err(folder)?;
        Ok(Files {
            pieces,
            thread,
            behind: VecDeque::new(),
            figures,
            news,
        })
    }

    /// Keeps a window.
    pub fn add(&mut self, window: Arc<Profile>, labels: Labels) {
        self.push(Piece::Window(window, labels));
    }

    /// A target has ended: what waits of it is written.
    pub fn end(&mut self, target: &str) {
        self.push(Piece::End(target.to_owned()));
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.push(Piece::Limits(limits));
    }

    /// What has changed, as lines for the log.
    pub fn news(&mut self) -> Vec<String> {
        self.hand_on();
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its figures.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Writes all that waits, and ends. What there is to log comes back.
    pub fn finish(mut self) -> Vec<String> {
        for piece in std::mem::take(&mut self.behind) {
            // Fails when the thread has ended; nothing is written then either way.
            let _ = self.pieces.send(piece);
        }
        drop(self.pieces);
        let broke_off = self.thread.join().is_err();
        let mut news =
            std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
        if broke_off {
            news.push("files: the thread that writes them broke off".to_owned());
        }
        news
    }

    fn push(&mut self, piece: Piece) {
        self.hand_on();
        if self.behind.is_empty() {
            match self.pieces.try_send(piece) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(piece)) => self.behind.push_back(piece),
            }
            return;
        }
        let Piece::Window(window, labels) = &piece else {
            self.behind.push_back(piece);
            return;
        };
        let is_same = |behind: &Piece| matches!(behind, Piece::Window(_, of) if of == labels);
        if let Some(at) = self.behind.iter().rposition(is_same)
            && let Piece::Window(waiting, _) = &mut self.behind[at]
        {
            merge_into(Arc::make_mut(waiting), window);
            self.figures.merged.fetch_add(1, Ordering::Relaxed);
        } else if self.behind.len() < MOST_KINDS {
            self.behind.push_back(piece);
        } else {
            // The disk has been dead for long, and phases go on.
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hand_on(&mut self) {
        while let Some(piece) = self.behind.pop_front() {
            match self.pieces.try_send(piece) {
                Ok(()) => (),
                Err(TrySendError::Full(piece)) => return self.behind.push_front(piece),
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }
}

struct Writing {
    /// Whose disk it is, for whoever reads the log.
    root: PathBuf,
    store: Store,
    figures: Arc<Figures>,
    news: Arc<Mutex<Vec<String>>>,
    waker: Waker,
}

impl Writing {
    fn work(mut self, pieces: &Receiver<Piece>) {
        self.show();
        loop {
            let now = || sys::unix_ns_at(sys::now());
            let done = match pieces.recv_timeout(TICK) {
                Ok(Piece::Window(window, labels)) => self.store.add(&window, &labels, now()),
                Ok(Piece::End(target)) => self.store.end(&target),
                Ok(Piece::Limits(limits)) => {
                    self.store.set_limits(limits);
                    self.store.tick(now())
                }
                Err(RecvTimeoutError::Timeout) => self.store.tick(now()),
                Err(RecvTimeoutError::Disconnected) => {
                    let done = self.store.flush();
                    return self.tell(done);
                }
            };
            self.tell(done);
        }
    }

    fn tell(&mut self, done: Done) {
        let Figures {
            written,
            removed,
            failures,
            ..
        } = &*self.figures;
        written.fetch_add(done.written, Ordering::Relaxed);
        removed.fetch_add(done.removed as u64, Ordering::Relaxed);
        failures.fetch_add(done.failed.len() as u64, Ordering::Relaxed);
        self.show();
        let failed = done
            .failed
            .into_iter()
            .map(|error| {
                let waits = match error {
                    StoreError::Write { .. } => "; windows wait in memory, up to twice [files] max_bytes, and are written when that is mended",
                    _ => "",
                };
                format!("{:#}{waits}", anyhow::Error::new(error))
            });
        let recovered = done.recovered.then(|| "written again".to_owned());
        let root = self.root.display();
        let news: Vec<String> = failed
            .chain(recovered)
            .map(|what| format!("files in {root}: {what}"))
            .collect();
        if !news.is_empty() {
            self.news
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(news);
            self.waker.wake();
        }
    }

    fn show(&self) {
        self.figures
            .bytes
            .store(self.store.kept_bytes(), Ordering::Relaxed);
        self.figures
            .pending_bytes
            .store(self.store.pending_bytes(), Ordering::Relaxed);
    }
}

/// The store's limits under a configuration.
pub fn limits(files: &config::Files) -> Limits {
    Limits {
        window: files.window,
        max_bytes: files.max_bytes,
        memory: files.max_bytes.saturating_mul(2),
        keep_for: files.keep_for,
        keep_bytes: files.keep_bytes,
    }
}
