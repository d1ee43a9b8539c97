//! The requests of one run.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::StatusCode;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, http::Response};

use super::cache::{Cache, CacheError, Download};
use super::config::{Config, Server};
use crate::debug_files::candidate::{self, Mismatch};
use crate::model::BuildId;
use crate::object::Elf;

/// Where systems keep the certificates that they trust: Debian, Fedora, openSUSE, Alpine.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const MAX_CERTIFICATES: u64 = 16 << 20;
/// Bytes of an answer that are in memory at once.
const WINDOW: usize = 64 << 10;
/// Asks a server not to begin with a file that is larger.
const MAX_SIZE_HEADER: &str = "X-DEBUGINFOD-MAXSIZE";
const USER_AGENT: &str = concat!("perfd/", env!("CARGO_PKG_VERSION"));

/// Asks servers, and remembers what they said.
pub struct Client {
    config: Config,
    /// All addresses, which an absence is noted of.
    servers: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Made when it is first needed.
    tools: Option<Result<Tools, CacheError>>,
    /// Time that requests have taken.
    spent: Duration,
    /// By position in the configuration.
    given_up: Vec<usize>,
    troubles: Vec<String>,
}

struct Tools {
    cache: Cache,
    agent: Agent,
}

/// Why a server gave no file.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// It has none.
    #[error("has no such file")]
    Absent,
    /// It sent something else.
    #[error("sent a file that {0}")]
    Wrong(#[from] Mismatch),
    /// The file is larger than it may be.
    #[error("has a file of more than {0} bytes, which is not taken")]
    TooLarge(u64),
    /// It does not work.
    #[error("{0}; it is not asked again")]
    Failed(String),
    /// The file cannot be kept.
    #[error("{0}")]
    Cache(#[from] CacheError),
}

impl Client {
    /// Asks nothing yet.
    pub(in crate::debug_files) fn new(config: Config) -> Client {
        let servers: Vec<String> = config.servers.iter().map(Server::to_string).collect();
        Client {
            servers: servers.join("\n"),
            config,
            state: Mutex::default(),
        }
    }

    /// The debug file with this build id, and its path in the cache.
    pub(in crate::debug_files) fn debug_file(&self, build_id: &BuildId) -> Option<(Elf, PathBuf)> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State {
            tools,
            spent,
            given_up,
            troubles,
        } = &mut *guard;
        let is_new = tools.is_none();
        let tools = match tools.get_or_insert_with(|| self.tools()) {
            Ok(tools) => tools,
            Err(error) => {
                if is_new {
                    troubles.push(error.to_string());
                }
                return None;
            }
        };
        if let Some((file, path)) = tools.cache.file(build_id) {
            match candidate::by_build_id(file, build_id) {
                Ok(elf) => return Some((elf, path)),
                Err(_) => tools.cache.remove(build_id),
            }
        }
        let limits = &self.config.limits;
        if tools
            .cache
            .is_absent(build_id, &self.servers, limits.absence)
        {
            return None;
        }
        let mut is_absent = true;
        for (idx, server) in self.config.servers.iter().enumerate() {
            let left = limits.in_all.saturating_sub(*spent);
            if given_up.contains(&idx) || left.is_zero() {
                is_absent = false;
                continue;
            }
            let began = Instant::now();
            let answer = self.ask(tools, server, build_id, left.min(limits.request));
            *spent += began.elapsed();
            if *spent >= limits.in_all {
                troubles.push(format!(
                    "{} s are used up, no more is asked",
                    limits.in_all.as_secs_f32()
                ));
            }
            match answer {
                Ok(found) => return Some(found),
                Err(Refusal::Absent) => (),
                Err(refusal) => {
                    is_absent = false;
                    if matches!(refusal, Refusal::Failed(_)) {
                        given_up.push(idx);
                    }
                    troubles.push(format!("{server} {refusal}"));
                }
            }
        }
        if is_absent && let Err(error) = tools.cache.note_absence(build_id, &self.servers) {
            troubles.push(error.to_string());
        }
        None
    }

    /// What went wrong, if anything did.
    pub(in crate::debug_files) fn note(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.troubles.first()?;
        Some(match state.troubles.len() - 1 {
            0 => format!("debuginfod: {first}"),
            n_more => format!("debuginfod: {first} (and {n_more} more like it)"),
        })
    }

    fn tools(&self) -> Result<Tools, CacheError> {
        let cache = Cache::open(&self.config.cache)?;
        let tls = TlsConfig::builder().root_certs(self.certificates()).build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(3)
            .proxy(self.config.proxy.clone())
            .user_agent(USER_AGENT)
            .tls_config(tls)
            .build()
            .new_agent();
        Ok(Tools { cache, agent })
    }

    /// The system's, and where it has none those that perfd was built with.
    fn certificates(&self) -> RootCerts {
        let own = self.config.certificates.as_deref();
        let system = CERTIFICATES.iter().map(Path::new);
        let mut paths = own.into_iter().chain(system.filter(|_| own.is_none()));
        match paths.find_map(certificates_in) {
            Some(found) => RootCerts::Specific(Arc::new(found)),
            None if own.is_some() => RootCerts::Specific(Arc::default()),
            None => RootCerts::WebPki,
        }
    }

    fn ask(
        &self,
        tools: &Tools,
        server: &Server,
        build_id: &BuildId,
        time: Duration,
    ) -> Result<(Elf, PathBuf), Refusal> {
        let max_size = self.config.limits.file_size;
        let failed = |error: ureq::Error| Refusal::Failed(words(&error, time));
        let response = tools
            .agent
            .get(server.address_of(&format!("buildid/{build_id}/debuginfo")))
            .config()
            .timeout_global(Some(time))
            .build()
            .header(MAX_SIZE_HEADER, max_size.to_string())
            .call()
            .map_err(failed)?;
        match response.status() {
            StatusCode::OK => (),
            StatusCode::NOT_FOUND => return Err(Refusal::Absent),
            // The server knows the size that we have told it.
            StatusCode::NOT_ACCEPTABLE => return Err(Refusal::TooLarge(max_size)),
            status => return Err(Refusal::Failed(format!("answers with {status}"))),
        }
        let mut download = tools.cache.download()?;
        receive(response, &mut download, max_size, time)?;
        let file = download.file().try_clone().map_err(Mismatch::Unreadable)?;
        let elf = candidate::by_build_id(file, build_id)?;
        let path = download.keep(build_id)?;
        tools.cache.keep_within(self.config.limits.cache_size)?;
        Ok((elf, path))
    }
}

fn receive(
    response: Response<Body>,
    download: &mut Download<'_>,
    max_size: u64,
    time: Duration,
) -> Result<(), Refusal> {
    let mut body = response.into_body();
    if body.content_length().is_some_and(|size| size > max_size) {
        return Err(Refusal::TooLarge(max_size));
    }
    let mut reader = body.as_reader();
    let mut window = vec![0; WINDOW];
    let mut size = 0;
    loop {
        let n_bytes = match reader.read(&mut window) {
            Ok(0) => return Ok(()),
            Ok(n_bytes) => n_bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let error = ureq::Error::from(error);
                return Err(Refusal::Failed(words(&error, time)));
            }
        };
        size += n_bytes as u64;
        if size > max_size {
            return Err(Refusal::TooLarge(max_size));
        }
        download.write(&window[..n_bytes])?;
    }
}

/// What a request died of, in words that follow the server's name.
fn words(error: &ureq::Error, time: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => {
            format!("has not answered in full within {} s", time.as_secs_f32())
        }
        other => format!("cannot be asked: {other}"),
    }
}

fn certificates_in(path: &Path) -> Option<Vec<Certificate<'static>>> {
    let mut pem = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(MAX_CERTIFICATES).read_to_end(&mut pem).ok()?;
    let found: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    (!found.is_empty()).then_some(found)
}
