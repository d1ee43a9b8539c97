//! A TCP port that Prometheus scrapes, behind which lies a unix socket; it tells the test of each scrape.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long a scrape may be waited for: only a test that has failed waits for so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The port. It is served for as long as the test runs.
pub struct Relay {
    address: SocketAddr,
    scrapes: Receiver<()>,
}

impl Relay {
    /// One in front of the socket at `path`.
    pub fn to(path: PathBuf) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        // Scrapes beyond those that the test waits for are not told.
        let (told, scrapes) = sync_channel(16);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|stream| serve(stream, &path, &told));
            }
        });
        Relay { address, scrapes }
    }

    /// Where it is, as Prometheus's configuration wants it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when a scrape is sure to be stored that has begun later than this: a scraper stores one before it begins the next.
    pub fn wait_for_a_stored_scrape(&self) {
        while self.scrapes.try_recv().is_ok() {}
        // The first may have begun before, the second is stored when the third has been told.
        for n in 1..=3 {
            let scraped = self.scrapes.recv_timeout(PATIENCE);
            scraped.unwrap_or_else(|_| panic!("scrape {n} has not come"));
        }
    }
}

fn serve(mut scraper: TcpStream, path: &PathBuf, told: &SyncSender<()>) -> io::Result<()> {
    let mut daemon = UnixStream::connect(path)?;
    daemon.write_all(&request(&mut scraper)?)?;
    let mut answer = Vec::new();
    daemon.read_to_end(&mut answer)?;
    let _ = told.try_send(());
    scraper.write_all(&answer)
}

/// A request without a body: to the empty line.
fn request(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(bytes)
}
