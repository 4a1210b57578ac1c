//! How far the running scans are.
//!
//! Items are streamed, so the number of steps is known when the plan ends, or when `lazycogs_progress` has had them counted
//! ahead; until then it is not guessed. Every step has the same number of tiles, and tiles end in the order of the plan.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use super::bar;
use crate::error::Result;
use crate::plan::Cube;
use crate::runtime;
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
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running scans of a database, the oldest first.
pub fn running(database: u64) -> Vec<State> {
    let process = std::process::id();
    let seen = |scan: &&Arc<Progress>| scan.process == process && scan.database == database;
    scans().iter().filter(seen).map(|scan| scan.state()).collect()
}

impl Progress {
    pub fn tile_done(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Tells how many tiles there are in all.
    pub fn set_total(&self, tiles: u64) {
        self.total.store(tiles, Relaxed);
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

/// A scan in the list of those that run; dropped, it leaves it.
pub struct Running(Arc<Progress>);

impl Running {
    /// Lists a scan of `cube` for the SQL function `function`. Where the setting says so, the steps are counted, which reads
    /// the item index once more, and a bar is drawn.
    pub fn start(function: &'static str, cube: &Arc<Cube>) -> Result<Running> {
        let traffic = cube.session.traffic().clone();
        let progress = Arc::new(Progress {
            function,
            database: cube.request.caller.database,
            process: std::process::id(),
            started: SystemTime::now(),
            clock: Instant::now(),
            tiles_per_step: (cube.tiling.across() * cube.tiling.down()).max(1),
            done: AtomicU64::new(0),
            total: AtomicU64::new(UNKNOWN),
            before: traffic.totals(),
            traffic,
            over: AtomicBool::new(false),
        });
        if cube.request.progress {
            count_ahead(cube.clone(), progress.clone())?;
            bar::draw(progress.clone())?;
        }
        scans().push(progress.clone());
        Ok(Running(progress))
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.0.clone()
    }

    /// Takes the scan off the list. What has no more tiles to give ends before DuckDB writes its result.
    pub fn end(&self) {
        if !self.0.over.swap(true, Relaxed) {
            bar::erase(&self.0);
            scans().retain(|scan| !Arc::ptr_eq(scan, &self.0));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Counts the steps on a thread of its own, which is not waited for. What fails here fails in the scan, and is told there.
fn count_ahead(cube: Arc<Cube>, progress: Arc<Progress>) -> Result<()> {
    let count = move || {
        let summary = cube.summary(&|| !progress.is_over(), &mut |_| {})?;
        if !progress.is_over() {
            progress.set_total(summary.steps * progress.tiles_per_step);
        }
        Ok(())
    };
    runtime::on_thread("lazycogs-count", count).map(drop)
}
