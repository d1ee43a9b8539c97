//! What a daemon is started with and a reload does not change: its places, and what it may do.

use std::path::PathBuf;

use super::config::Names;
use super::{activation, config, notify};
use crate::parser::Parsing;
use crate::procfs::{SysRoots, kallsyms};
use crate::symbolize::{self, CacheFolder, Inline};

/// Where metrics are asked for, without a service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsPlace {
    /// A TCP port of this host: `127.0.0.1:9464`.
    Loopback(std::net::SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the configuration is read, at the start and whenever it is to be read again.
    pub config: config::Place,
    /// Where clients connect, if no socket was passed.
    pub socket: PathBuf,
    /// Where windows and names are kept.
    pub state: PathBuf,
    /// Where metrics are asked for, beside sockets that were passed.
    pub metrics: Option<MetricsPlace>,
    /// Sockets that were passed.
    pub activation: activation::Variables,
    /// The service manager.
    pub notify: notify::Variables,
    /// Whether standard error is the journal, which takes a priority in front of a line.
    pub has_journal: bool,
    /// Where foreign files are read.
    pub parsing: Parsing,
    /// Where `/proc` and its like are.
    pub roots: SysRoots,
    /// Where the kernel's symbols are read.
    pub kallsyms: kallsyms::Source,
}

impl Settings {
    /// How frames are named.
    pub(super) fn naming(&self, names: Names) -> symbolize::Config {
        let default = symbolize::Config::default();
        let memory = usize::try_from(names.memory).unwrap_or(usize::MAX);
        let cache = || CacheFolder::open(&self.state.join("names")).ok();
        symbolize::Config {
            inline: match names.inline {
                true => Inline::Show,
                false => Inline::Hide,
            },
            memory_budget: memory,
            ready_texts: default.ready_texts.min(memory / 16),
            cache: names.cache.then(cache).flatten(),
            proc_root: self.roots.proc.clone(),
            kallsyms: self.kallsyms.clone(),
            ..default
        }
    }
}
