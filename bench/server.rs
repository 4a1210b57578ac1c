//! A range server on 127.0.0.1 for `make bench`: files of one folder, a delay before each answer, and a count.
//!
//! Usage: `server FOLDER DELAY_MS SECONDS`. Prints its port. `GET /counts` answers "requests bytes" of the time since the
//! `GET /counts` before; `GET /ranges` answers how many requests were at work at once in that time, then a line "first last
//! path" for each, where `last` is the byte after. It ends after SECONDS, and when its standard input is closed: so it cannot
//! outlive who started it.
//!
//! One thread per connection and the kernel's own copy from file to socket: it takes little of the processors that the
//! programs under measurement share with it, and needs nothing but the standard library.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

struct Server {
    folder: PathBuf,
    delay: Duration,
    requests: AtomicU64,
    bytes: AtomicU64,
    at_work: AtomicU64,
    most_at_work: AtomicU64,
    /// What `GET /ranges` answers.
    ranges: Mutex<String>,
}

/// What matters of a request.
struct Request {
    head: bool,
    path: String,
    range: Option<String>,
}

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: server FOLDER DELAY_MS SECONDS");
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or_else(usage)?);
    let mut number = || arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage);
    let (delay, lifetime) = (Duration::from_millis(number()?), Duration::from_secs(number()?));
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    thread::spawn(move || {
        thread::sleep(lifetime);
        std::process::exit(0);
    });
    thread::spawn(|| {
        #[expect(clippy::let_underscore_must_use, reason = "a pipe that breaks has ended too")]
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let server = Arc::new(Server {
        folder,
        delay,
        requests: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        at_work: AtomicU64::new(0),
        most_at_work: AtomicU64::new(0),
        ranges: Mutex::new(String::new()),
    });
    for stream in listener.incoming().flatten() {
        let server = server.clone();
        // A client that goes away ends its thread only.
        thread::spawn(move || drop(server.serve(stream)));
    }
    Ok(())
}

/// The next request of a connection; `None` at its end.
fn request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let head = words.next() == Some("HEAD");
    let path = words.next().unwrap_or("/").trim_start_matches('/').to_owned();
    let mut range = None;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(Some(Request { head, path, range }));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_owned());
        }
    }
}

/// The first byte and the one after the last of "bytes=a-b", "bytes=a-" or "bytes=-n"; `None` if nothing of it is there.
fn resolve(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) => (first, size),
        (Err(_), Ok(length)) => (size.saturating_sub(length), size),
        (Err(_), Err(_)) => return None,
    };
    (start < end).then_some((start, end))
}

impl Server {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some(request) = request(&mut reader)? {
            if let Some(told) = self.told(&request.path) {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len())?;
                continue;
            }
            self.requests.fetch_add(1, Relaxed);
            self.most_at_work.fetch_max(self.at_work.fetch_add(1, Relaxed) + 1, Relaxed);
            thread::sleep(self.delay);
            let answered = match self.open(&request.path) {
                Some((file, size)) => self.answer(&mut stream, &request, file, size),
                None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            };
            self.at_work.fetch_sub(1, Relaxed);
            answered?;
        }
        Ok(())
    }

    /// What the server tells of itself.
    fn told(&self, path: &str) -> Option<String> {
        let ranges = || self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        match path {
            "counts" => {
                ranges().clear();
                self.most_at_work.store(0, Relaxed);
                Some(format!("{} {}", self.requests.swap(0, Relaxed), self.bytes.swap(0, Relaxed)))
            }
            "ranges" => Some(format!("{}\n{}", self.most_at_work.load(Relaxed), *ranges())),
            _ => None,
        }
    }

    /// A file below the folder and its size.
    fn open(&self, path: &str) -> Option<(File, u64)> {
        let path = Path::new(path);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        let file = File::open(self.folder.join(path)).ok()?;
        let metadata = file.metadata().ok().filter(|m| m.is_file())?;
        Some((file, metadata.len()))
    }

    fn answer(&self, stream: &mut TcpStream, request: &Request, mut file: File, size: u64) -> io::Result<()> {
        let Some((start, end)) = request.range.as_deref().map_or(Some((0, size)), |range| resolve(range, size)) else {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n"
            );
        };
        let status = match request.range {
            Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}", end - 1),
            None => "200 OK".to_owned(),
        };
        // One write, so that the head is one packet.
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: image/tiff\r\nAccept-Ranges: bytes\r\nETag: \"{size:x}\"\r\n\
             Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
            end - start
        );
        stream.write_all(head.as_bytes())?;
        if request.head {
            return Ok(());
        }
        self.bytes.fetch_add(end - start, Relaxed);
        let line = format!("{start} {end} {}\n", request.path);
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
        file.seek(SeekFrom::Start(start))?;
        io::copy(&mut file.take(end - start), stream).map(drop)
    }
}
