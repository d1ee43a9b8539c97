//! Whom to ask, and what that may cost.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use ureq::Proxy;

/// Whom to ask, and where to keep the answers.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers, in the order they are asked.
    pub servers: Vec<Server>,
    /// A folder for the files; it is made if it is not there.
    pub cache: PathBuf,
    /// The way to the servers, if it is not a direct one.
    pub proxy: Option<Proxy>,
    /// A file with the certificates that are trusted, in the place of the system's.
    pub certificates: Option<PathBuf>,
    /// What it may cost.
    pub limits: Limits,
}

/// What asking may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for one request: name lookup, connection, answer and all of the file.
    pub request: Duration,
    /// Time for all requests of a run together.
    pub in_all: Duration,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes of all files that are kept. Those go first that were used longest ago.
    pub cache_size: u64,
    /// How long it is remembered that no server has a file: it may be published later than the program.
    pub absence: Duration,
}

impl Default for Limits {
    /// What lets 100 MB through at 2 MB/s, and holds up the names of a run by two minutes at most.
    fn default() -> Limits {
        Limits {
            request: Duration::from_secs(60),
            in_all: Duration::from_secs(120),
            file_size: 1 << 30,
            cache_size: 4 << 30,
            absence: Duration::from_secs(60 * 60),
        }
    }
}

/// The address of a server, to which paths are appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(String);

/// Why an address is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an http:// or https:// address")]
pub struct ParseServerError(String);

impl Server {
    /// Parses addresses as `DEBUGINFOD_URLS` has them, between white space or commas. What tags such a list (`ima:enforcing`) is no
    /// address and passed over.
    pub fn parse_list(text: &str) -> Result<Vec<Server>, ParseServerError> {
        text.split(|char: char| char.is_whitespace() || char == ',')
            .filter(|word| !word.is_empty() && !word.starts_with("ima:"))
            .map(Server::parse)
            .collect()
    }

    fn parse(text: &str) -> Result<Server, ParseServerError> {
        let error = || ParseServerError(text.to_owned());
        let uri: ureq::http::Uri = text.parse().map_err(|_| error())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_address = is_web && uri.host().is_some_and(|host| !host.is_empty());
        match is_address && uri.query().is_none() {
            true => Ok(Server(text.trim_end_matches('/').to_owned())),
            false => Err(error()),
        }
    }

    /// The address of something that the server has.
    pub(super) fn address_of(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_servers_is_one_address_after_the_other() {
        let list = " http://127.0.0.1:8002/\thttps://debuginfod.example.org/a/,ima:enforcing http://[::1]:1";
        let servers = Server::parse_list(list).expect("addresses");
        let addresses: Vec<String> = servers
            .iter()
            .map(|server| server.address_of("x"))
            .collect();
        assert_eq!(
            addresses,
            [
                "http://127.0.0.1:8002/x",
                "https://debuginfod.example.org/a/x",
                "http://[::1]:1/x"
            ]
        );
        assert_eq!(Server::parse_list(" "), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for text in [
            "file:///usr/lib/debug",
            "localhost",
            "http://",
            "ftp://x",
            "http://x/?a=b",
            "http//x",
        ] {
            let error = Server::parse_list(text).expect_err(text);
            assert_eq!(error, ParseServerError(text.to_owned()));
        }
    }
}
