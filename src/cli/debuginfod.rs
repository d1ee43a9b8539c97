//! `--debuginfod`: which servers are asked, and where their files are kept.

use std::path::PathBuf;

use super::cache_folder::cache_folder;
use crate::debug_files::debuginfod::{Config, Limits, Proxy, Server};
use crate::model::{Fault, FaultClass};

/// What the flag's value means, and what the environment says where that is empty; `None` without the flag.
///
/// # Errors
/// There is no server, or no place for a cache.
pub(super) fn config(asked: Option<&str>) -> Result<Option<Config>, Fault> {
    let variable = |name| std::env::var(name).ok();
    let Some(servers) = servers(asked, variable("DEBUGINFOD_URLS"))? else {
        return Ok(None);
    };
    let Some(cache) = cache_folder() else {
        let what = "--debuginfod: there is no folder to keep files in".to_owned();
        return Err(Fault::new(FaultClass::Usage, what).hint("try: set HOME or XDG_CACHE_HOME"));
    };
    Ok(Some(Config {
        servers,
        cache: cache.join("debuginfod"),
        proxy: Proxy::try_from_env(),
        certificates: variable("SSL_CERT_FILE").map(PathBuf::from),
        limits: Limits::default(),
    }))
}

fn servers(asked: Option<&str>, known: Option<String>) -> Result<Option<Vec<Server>>, Fault> {
    let (list, source) = match asked {
        None => return Ok(None),
        Some("") => (known.unwrap_or_default(), "DEBUGINFOD_URLS"),
        Some(list) => (list.to_owned(), "--debuginfod"),
    };
    let usage = |what: String| Fault::new(FaultClass::Usage, what);
    let servers = Server::parse_list(&list).map_err(|error| usage(format!("{source}: {error}")))?;
    match servers.is_empty() {
        true => {
            let what = "--debuginfod: DEBUGINFOD_URLS names no server".to_owned();
            Err(usage(what).hint("try: --debuginfod=https://debuginfod.debian.net"))
        }
        false => Ok(Some(servers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: Option<&str>, known: Option<&str>, expected: Result<&[&str], &str>) {
        let got = servers(asked, known.map(str::to_owned));
        let got = got.map(|servers| servers.unwrap_or_default());
        match (got, expected) {
            (Ok(got), Ok(expected)) => {
                let got: Vec<String> = got.iter().map(Server::to_string).collect();
                assert_eq!(got, expected);
            }
            (Err(got), Err(expected)) => assert_eq!(got.to_string(), expected),
            (got, expected) => panic!("{got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn servers_are_asked_only_if_the_user_wants_that() {
        check(None, Some("http://a"), Ok(&[]));
        check(
            Some(""),
            Some("http://a http://b"),
            Ok(&["http://a", "http://b"]),
        );
        check(Some("http://c"), Some("http://a"), Ok(&["http://c"]));
    }

    #[test]
    fn a_flag_that_names_no_server_is_an_error() {
        let none = "--debuginfod: DEBUGINFOD_URLS names no server";
        check(Some(""), None, Err(none));
        check(Some(""), Some("ima:enforcing"), Err(none));
        let unknown = "--debuginfod: file:///a is not an http:// or https:// address";
        check(Some("file:///a"), None, Err(unknown));
    }
}
