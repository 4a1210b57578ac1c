//! The limit of `make bench`: the source tiles that the extension reads, fetched, decoded and copied once, and nothing else.
//!
//! Usage: `limit PLAN FOLDER [URL]`. PLAN tells in its first line how many bytes the result array has and how many requests
//! may be in flight, then in each line what the extension asked of a file: first byte, the one after the last, and the path
//! below FOLDER. With a URL the tiles come from the range server there, else from the files. See README.md.
//!
//! Before the clock: which tiles those are (from the headers of the files, which lie in FOLDER in either case), open files, the
//! threads that decode and their decoders. Prints the line that `measure.py` prints.

#![expect(clippy::expect_used, reason = "what cannot be measured ends the program")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use lazycogs::cog::{Level, decode_tile, open};
use lazycogs::pixels::{DataType, Pixels};
use lazycogs::store::{ByteSource, merge_ranges};
use rayon::ThreadPool;

#[derive(Debug)]
struct Local(File);

#[async_trait::async_trait]
impl ByteSource for Local {
    async fn read(&self, range: Range<u64>) -> lazycogs::error::Result<Bytes> {
        let len = self.0.metadata().expect("the file can be asked").len();
        let range = range.start.min(len)..range.end.min(len);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.0.read_exact_at(&mut bytes, range.start).expect("the file can be read");
        Ok(bytes.into())
    }
}

/// One file, and those of its tiles that are needed.
struct Source {
    path: String,
    file: File,
    /// All levels and their masks.
    levels: Vec<Level>,
    tiles: Vec<Tile>,
}

/// A tile: its level, its number there, where it lies.
#[derive(Clone)]
struct Tile {
    level: usize,
    index: usize,
    range: Range<u64>,
}

/// Tiles that are fetched at once.
struct Fetch<'a> {
    source: &'a Source,
    range: Range<u64>,
    tiles: Vec<&'a Tile>,
}

/// A fetch, and the part of the result that its tiles are copied to.
type Job<'a, 'b> = (&'a Fetch<'a>, &'b mut [u8]);

impl Source {
    /// The tiles of a file that lie within the ranges that were asked for. A read of tiles begins where a tile does, which no
    /// read of a header does.
    fn open(folder: &Path, path: &str, asked: &[Range<u64>]) -> Source {
        let file = File::open(folder.join(path)).expect("the file of the plan is there");
        let local = Local(file.try_clone().expect("a file can be opened twice"));
        let cog = block_on(open(&local)).expect("the file is a COG");
        let with_masks =
            cog.levels.into_iter().flat_map(|mut level| [level.mask.take().map(|mask| *mask), Some(level)]);
        let levels: Vec<Level> = with_masks.flatten().collect();
        let mut all = BTreeMap::new();
        for (number, level) in levels.iter().enumerate() {
            let planes = level.samples / level.samples_per_tile();
            for index in 0..level.tile_index(planes - 1, level.tiles_down(), 0) {
                if let Some(range) = level.tile_range(index) {
                    all.insert(range.start, Tile { level: number, index, range });
                }
            }
        }
        let mut needed = BTreeMap::new();
        for range in asked.iter().filter(|range| all.contains_key(&range.start)) {
            let within = all.range(range.clone()).filter(|(_, tile)| tile.range.end <= range.end);
            needed.extend(within.map(|(start, tile)| (*start, tile.clone())));
        }
        Source { path: path.to_owned(), file, levels, tiles: needed.into_values().collect() }
    }

    /// Its tiles in as few requests as the extension would make of them.
    fn merged(&self) -> impl Iterator<Item = Fetch<'_>> {
        let ranges: Vec<_> = self.tiles.iter().map(|tile| tile.range.clone()).collect();
        merge_ranges(&ranges).into_iter().map(|(range, members)| Fetch {
            source: self,
            range,
            tiles: members.into_iter().map(|member| &self.tiles[member]).collect(),
        })
    }

    /// Its tiles one by one.
    fn single(&self) -> impl Iterator<Item = Fetch<'_>> {
        self.tiles.iter().map(|tile| Fetch { source: self, range: tile.range.clone(), tiles: vec![tile] })
    }
}

impl Fetch<'_> {
    /// Decodes tile number `n` of it, and copies as much as there is room for, or fills what is left of the place.
    fn decode(&self, n: usize, fetched: &[u8], place: &mut [u8]) {
        thread_local! {
            static DECODED: RefCell<Pixels> = RefCell::new(Pixels::zeros(DataType::UInt8, 0));
        }
        let tile = self.tiles[n];
        let start = (tile.range.start - self.range.start) as usize;
        let bytes = &fetched[start..start + (tile.range.end - tile.range.start) as usize];
        DECODED.with_borrow_mut(|decoded| {
            decode_tile(&self.source.levels[tile.level], tile.index, bytes, decoded).expect("the tile is sound");
            let len = decoded.as_bytes().len().min(place.len());
            let (filled, rest) = place.split_at_mut(len);
            filled.copy_from_slice(&decoded.as_bytes()[..len]);
            rest.fill(0);
        });
    }

    /// Reads the range from its file and decodes it, with one buffer for each thread.
    fn read_and_decode(&self, place: &mut [u8]) {
        thread_local! {
            static FETCHED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        FETCHED.with_borrow_mut(|fetched| {
            fetched.resize((self.range.end - self.range.start) as usize, 0);
            self.source.file.read_exact_at(fetched, self.range.start).expect("the file can be read");
            self.decode(0, fetched, place);
        });
    }
}

/// A connection to the range server, which is kept.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn new(server: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        Ok(Connection(BufReader::new(stream)))
    }

    fn get(&mut self, path: &str, range: &Range<u64>) -> io::Result<Bytes> {
        let (first, last) = (range.start, range.end - 1);
        let head = format!("GET /{path} HTTP/1.1\r\nHost: limit\r\nRange: bytes={first}-{last}\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if line.split_whitespace().nth(1) != Some("206") {
            return Err(io::Error::other(line));
        }
        while !line.trim().is_empty() {
            line.clear();
            self.0.read_line(&mut line)?;
        }
        let mut body = Vec::with_capacity((range.end - range.start) as usize);
        (&mut self.0).take(range.end - range.start).read_to_end(&mut body)?;
        Ok(body.into())
    }
}

/// Reads and decodes on the threads of the pool.
fn from_files<'a, 'b: 'a>(pool: &ThreadPool, jobs: Vec<Job<'a, 'b>>) {
    use rayon::prelude::*;
    pool.install(|| jobs.into_par_iter().for_each(|(fetch, place)| fetch.read_and_decode(place)));
}

/// Fetches over so many connections, each with a thread that waits for it; decodes on the threads of the pool.
fn from_server<'a, 'b>(pool: &ThreadPool, jobs: Vec<Job<'a, 'b>>, server: &str, connections: usize) {
    let jobs = Mutex::new(jobs.into_iter());
    pool.in_place_scope(|decoding| {
        thread::scope(|fetching| {
            for _ in 0..connections {
                fetching.spawn(|| {
                    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let mut connection = None;
                    while let Some((fetch, mut place)) = next() {
                        let open =
                            connection.get_or_insert_with(|| Connection::new(server).expect("the server is there"));
                        let fetched = open.get(&fetch.source.path, &fetch.range).expect("the server answers");
                        let share = place.len() / fetch.tiles.len();
                        for n in 0..fetch.tiles.len() {
                            let (own, rest) = place.split_at_mut(share);
                            place = rest;
                            let fetched = fetched.clone();
                            decoding.spawn(move |_| fetch.decode(n, &fetched, own));
                        }
                    }
                });
            }
        });
    });
}

/// All that is measured. The result is divided evenly among the tiles, so that each byte of it is written once.
fn run(pool: &ThreadPool, fetches: &[Fetch], array: usize, server: Option<&str>, connections: usize) -> Vec<u8> {
    let mut result = vec![0; array];
    let tiles: usize = fetches.iter().map(|fetch| fetch.tiles.len()).sum();
    let (mut rest, mut jobs) = (result.as_mut_slice(), Vec::with_capacity(fetches.len()));
    for fetch in fetches {
        let (place, after) = rest.split_at_mut(array / tiles * fetch.tiles.len());
        jobs.push((fetch, place));
        rest = after;
    }
    match server {
        Some(server) => from_server(pool, jobs, server, connections),
        None => from_files(pool, jobs),
    }
    result
}

/// The time that all threads of the process have worked, those that have ended included.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and `time` is a place for what it shows.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A field of /proc/self/status in MB, as `measure.py` reads it.
fn memory(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.split_whitespace().next()?.parse::<f64>().ok()? / 1000.0 * 1.024)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plan, folder, url @ ..] = arguments.as_slice() else {
        eprintln!("usage: limit PLAN FOLDER [URL]");
        std::process::exit(2);
    };
    let server = url.first().map(|url| url.trim_start_matches("http://"));
    let plan = std::fs::read_to_string(plan).expect("the plan can be read");
    let mut lines = plan.lines();
    let number = |word: &str| word.parse::<u64>().expect("a number");
    let (array, connections) = lines.next().and_then(|line| line.split_once(' ')).expect("the first line");
    let (array, connections) = (number(array) as usize, number(connections) as usize);
    let mut asked: BTreeMap<&str, Vec<Range<u64>>> = BTreeMap::new();
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (first, last, path) = (words.next(), words.next(), words.next());
        let range = number(first.expect("a start"))..number(last.expect("an end"));
        asked.entry(path.expect("a path")).or_default().push(range);
    }
    let sources: Vec<Source> =
        asked.iter().map(|(path, ranges)| Source::open(Path::new(folder), path, ranges)).collect();
    let fetches: Vec<Fetch> = match server {
        Some(_) => sources.iter().flat_map(Source::merged).collect(),
        None => sources.iter().flat_map(Source::single).collect(),
    };
    let tiles: usize = fetches.iter().map(|fetch| fetch.tiles.len()).sum();
    let first = sources.iter().flat_map(Source::single).next().expect("a tile that was asked for");
    let pool = rayon::ThreadPoolBuilder::new().build().expect("threads can be started");
    pool.broadcast(|_| first.read_and_decode(&mut []));

    let exact = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let (baseline, used, started) = (memory("VmRSS"), cpu(), Instant::now());
    let result = run(&pool, &fetches, array, server, connections);
    let (wall, used) = (started.elapsed().as_secs_f64(), (cpu() - used).as_secs_f64());
    let above = memory("VmHWM").zip(baseline).map(|(peak, baseline)| peak - baseline).filter(|_| exact);
    let above = above.map_or("null".to_owned(), |above| format!("{above:.1}"));
    drop(result);
    println!("RESULT {{\"wall\": {wall:.4}, \"cpu\": {used:.3}, \"memory\": {above}, \"tiles\": {tiles}}}");
}
