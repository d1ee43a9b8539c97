//! A Prometheus as Debian packages it, on a port that the kernel chose, with its data in a folder that goes with it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;

/// A running Prometheus, as long as this value lives.
pub struct Prometheus {
    process: Child,
    /// Where its API is.
    address: String,
    _data: tempfile::TempDir,
}

/// Whether `program` is there.
pub fn installed(program: &str) -> bool {
    let tried = Command::new(program).arg("--version").output();
    tried.is_ok_and(|output| output.status.success())
}

impl Prometheus {
    /// Starts one that scrapes `target` all the time.
    pub fn scraping(target: SocketAddr) -> Prometheus {
        let data = tempfile::tempdir().expect("a folder");
        let config = data.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs: [{{job_name: perfd, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&config, text).expect("written");
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                data.path().join("data").display()
            ))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts");
        let log = BufReader::new(process.stderr.take().expect("piped"));
        let address = listening(log);
        Prometheus {
            process,
            address,
            _data: data,
        }
    }

    /// The value of an expression that has exactly one.
    pub fn value(&self, expression: &str) -> f64 {
        let url = format!("http://{}/api/v1/query", self.address);
        let answer = ureq::get(&url).query("query", expression).call();
        let mut answer = answer.unwrap_or_else(|error| panic!("{expression}: {error}"));
        let text = answer.body_mut().read_to_string().expect("text");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let results = answer["data"]["result"].as_array().expect("results");
        assert_eq!(results.len(), 1, "{expression}: {text}");
        let value = results[0]["value"][1].as_str().expect("a value as text");
        value.parse().expect("a number")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the log up to the line that says which port the kernel gave; what comes later is read by a thread, so that the pipe never fills.
fn listening(mut log: impl BufRead + Send + 'static) -> String {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        let n = log.read_line(&mut line).expect("the log");
        assert_ne!(n, 0, "prometheus has ended: {said}");
        said += &line;
        let fields: Value = serde_json::from_str(&line).unwrap_or_default();
        if fields["msg"] == "Listening on" {
            thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
            return fields["address"].as_str().expect("an address").to_owned();
        }
    }
}

/// What `promtool check metrics` says of a text: nothing, if it is right.
pub fn complaints(exposition: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin
        .write_all(exposition.as_bytes())
        .expect("read by promtool");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}
