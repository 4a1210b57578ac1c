//! How far the running scans are.
//!
//! Items are streamed, so the number of steps is known when the plan ends, or when `lazycogs_progress` has had them counted
//! ahead; until then it is not guessed. Every step has the same number of tiles, and tiles end in the order of the plan.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use crate::mutex::lock;
use crate::plan::Cube;
use crate::store::counters::Traffic;

/// Stands for a number of tiles that is not known.
const UNKNOWN: u64 = u64::MAX;

/// One running scan.
pub struct Progress {
    function: &'static str,
    /// Others do not see it.
    database: u64,
    /// A forked child does not run the scans of its parent.
    process: u32,
    started: SystemTime,
    clock: Instant,
    tiles_per_step: u64,
    done: AtomicU64,
    total: AtomicU64,
    traffic: Arc<Traffic>,
    /// What the query had read before the scan began.
    before: (u64, u64),
    over: AtomicBool,
}

/// What a scan has done, and what is left as far as that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub function: &'static str,
    /// Microseconds since 1970 UTC.
    pub started: i64,
    pub steps_done: u64,
    pub steps: Option<u64>,
    pub tiles_done: u64,
    pub tiles: Option<u64>,
    pub requests: u64,
    pub bytes: u64,
    pub seconds: f64,
    /// At the pace so far.
    pub seconds_left: Option<f64>,
}

static RUNNING: LazyLock<Mutex<Vec<Arc<Progress>>>> = LazyLock::new(Mutex::default);

fn scans() -> MutexGuard<'static, Vec<Arc<Progress>>> {
    lock(&RUNNING)
}

/// The running scans of a database, the oldest first.
pub fn running(database: u64) -> Vec<State> {
    let process = std::process::id();
    let seen = |scan: &&Arc<Progress>| scan.process == process && scan.database == database;
    scans().iter().filter(seen).map(|scan| scan.state()).collect()
}

impl Progress {
    /// Of a scan of `cube` for the SQL function `function`, which begins now.
    pub fn new(function: &'static str, cube: &Cube) -> Progress {
        let traffic = cube.session.traffic().clone();
        Progress::of(function, cube.request.caller.database, traffic, cube.target.len().max(1))
    }

    /// Of what is no cube, for a database: every step has so many tiles, whatever they are.
    pub fn of(function: &'static str, database: u64, traffic: Arc<Traffic>, tiles_per_step: u64) -> Progress {
        Progress {
            function,
            database,
            process: std::process::id(),
            started: SystemTime::now(),
            clock: Instant::now(),
            tiles_per_step,
            done: AtomicU64::new(0),
            total: AtomicU64::new(UNKNOWN),
            before: traffic.totals(),
            traffic,
            over: AtomicBool::new(false),
        }
    }

    /// Adds a scan to those that run.
    pub fn list(self: &Arc<Self>) {
        scans().push(self.clone());
    }

    /// Takes it off the list; whether it was not over before.
    pub fn end(self: &Arc<Self>) -> bool {
        let first = !self.over.swap(true, Relaxed);
        if first {
            scans().retain(|scan| !Arc::ptr_eq(scan, self));
        }
        first
    }

    pub fn tile_done(&self) {
        self.tiles_done(1);
    }

    pub fn tiles_done(&self, tiles: u64) {
        self.done.fetch_add(tiles, Relaxed);
    }

    /// Tells how many tiles there are in all.
    pub fn set_total(&self, tiles: u64) {
        self.total.store(tiles, Relaxed);
    }

    /// Tells how many steps there are in all.
    pub fn set_steps(&self, steps: u64) {
        self.set_total(steps * self.tiles_per_step);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub fn state(&self) -> State {
        let done = self.done.load(Relaxed);
        let total = Some(self.total.load(Relaxed)).filter(|total| *total != UNKNOWN);
        let (requests, bytes) = self.traffic.totals();
        let seconds = self.clock.elapsed().as_secs_f64();
        let left = |total: u64| seconds / done as f64 * total.saturating_sub(done) as f64;
        State {
            function: self.function,
            started: self.started.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64),
            steps_done: done / self.tiles_per_step,
            steps: total.map(|total| total / self.tiles_per_step),
            tiles_done: done,
            tiles: total,
            requests: requests - self.before.0,
            bytes: bytes - self.before.1,
            seconds,
            seconds_left: total.filter(|_| done > 0).map(left),
        }
    }
}
