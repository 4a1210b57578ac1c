//! The driver of a scan: units are read, composed and handed over in the order of the plan, as many at once as the memory
//! budget allows. A scan that is dropped stops its reads.

use std::sync::Arc;

use futures::FutureExt;
use futures::stream::{Stream, StreamExt};
use tokio::sync::{Mutex, mpsc};

use super::compose::on_grid::decode_on_grid;
use super::compose::screen::screens;
use super::read::ahead;
use super::read::groups::{self, Group};
use super::read::reader::{Compute, Reader};
use super::read::unit::UnitReads;
use super::shared::faults;
use super::shared::state::Shared;
use super::shared::task::Owned;
use super::unit::{Maker, Tile};
use super::watch::failures::Recording;
use super::watch::progress::Progress;
use super::watch::running::Running;
use crate::buffers::{Allowance, allow};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::plan::{Cube, bytes_per_pixel};
use crate::runtime;
use crate::store::counters::{COUNTERS, add};
use crate::store::in_turn;

/// Groups that are planned, and whose headers are opened, ahead of those whose reads begin.
const GROUPS_AHEAD: usize = 32;
/// Units whose reads have begun that may wait for their turn.
const UNITS_AHEAD: usize = 32;
/// One finished tile waits for DuckDB while another is emitted.
const TILES_WAITING: u64 = 2;
/// Tiles that are handed over together take about as many bytes.
const LITTLE: usize = 64 << 10;
const MOST_TOGETHER: usize = 64;
/// Units at work for each compute thread: while some wait for the items that fill their holes, others keep it busy.
const MOST_PER_THREAD: u64 = 4;

/// A running scan.
pub struct Scan {
    incoming: Mutex<Incoming>,
    running: Running,
    _recording: Recording,
    /// As many bytes of buffers as its output tiles may take stay at hand for the next ones.
    _buffers: Allowance,
}

/// Tiles as they come, and how they ended.
struct Incoming {
    tiles: mpsc::Receiver<Vec<Tile>>,
    /// What is left of those that came last.
    here: std::vec::IntoIter<Tile>,
    driver: Owned<Result<()>>,
    end: Option<Result<()>>,
}

impl Scan {
    /// Starts to read `bands` (positions in `cube.bands`) of every unit of the cube, for the SQL function `function`.
    pub fn start(function: &'static str, cube: Arc<Cube>, bands: Vec<usize>) -> Result<Scan> {
        let (in_flight, buffers) = (in_flight(&cube, &bands), allow(cube.request.memory_budget / 8));
        cube.headers.begin_scan();
        let running = Running::start(function, &cube)?;
        let recording = Recording::of(&cube);
        let shared = Arc::new(Shared::new(cube, bands));
        let reader = Arc::new(Reader::new(shared.clone(), Compute { on_grid: decode_on_grid, screens }));
        let watch = (running.progress(), recording.failures().clone());
        let maker = Arc::new(Maker { shared, reader: reader.clone(), failures: recording.failures().clone() });
        let (send, tiles) = mpsc::channel(1);
        let (io, plan) = (runtime::io()?, runtime::plan()?);
        let (groups, planned) = mpsc::channel(GROUPS_AHEAD);
        let planner = Owned::spawn_on(&plan, groups::plan(reader, io.clone(), groups, watch));
        let driver = Owned::spawn_on(&io, drive(maker, (planner, planned), in_flight, send, running.progress()));
        let incoming = Mutex::new(Incoming { tiles, here: Vec::new().into_iter(), driver, end: None });
        Ok(Scan { incoming, running, _recording: recording, _buffers: buffers })
    }

    /// The next tile, in the order of the plan; `None` after the last. A call that is given up takes no tile.
    pub async fn receive(&self) -> Option<Result<Tile>> {
        let mut incoming = self.incoming.lock().await;
        if incoming.here.len() == 0
            && let Some(tiles) = incoming.tiles.recv().await
        {
            incoming.here = tiles.into_iter();
        }
        if let Some(tile) = incoming.here.next() {
            return Some(Ok(tile));
        }
        self.running.end();
        if incoming.end.is_none() {
            let outcome = incoming.driver.join().await;
            incoming.end = Some(outcome.and_then(|outcome| outcome));
        }
        incoming.end.clone()?.err().map(Err)
    }

    /// As [`Scan::receive`], on a thread that may be blocked.
    pub fn next(&self) -> Option<Result<Tile>> {
        interrupt::wait(self.receive()).unwrap_or_else(|e| Some(Err(e)))
    }
}

/// Makes the tiles of a plan, and ends well only if they are as many as were planned.
async fn drive(
    maker: Arc<Maker>,
    (planner, groups): (Owned<Result<u64>>, mpsc::Receiver<Group>),
    in_flight: usize,
    send: mpsc::Sender<Vec<Tile>>,
    progress: Arc<Progress>,
) -> Result<()> {
    let (begun, waiting) = mpsc::channel(UNITS_AHEAD);
    let mut ahead = Owned::spawn(ahead::ahead(maker.reader.clone(), (planner, groups), begun));
    let waiting = futures::stream::unfold(waiting, |mut queue| async move { Some((queue.recv().await?, queue)) });
    let tasks = waiting.map(|reads: UnitReads| {
        let maker = maker.clone();
        async move {
            if reads.is_empty() {
                return maker.tile(reads).await;
            }
            let mut task = Owned::spawn(in_turn(reads.turn, maker.tile(reads)));
            task.join().await?
        }
    });
    let mut tiles = std::pin::pin!(tasks.buffered(in_flight));
    let mut made = 0;
    // Room first: a finished tile that waits outside the queue is memory that nobody counts.
    while let Ok(room) = send.reserve().await {
        faults::point("driver");
        let Some(tile) = tiles.next().await.transpose()? else {
            let planned = ahead.join().await??;
            return if made == planned { Ok(()) } else { Err(lost(planned, made)) };
        };
        let (ready, outcome) = with_those_ready(tile, &mut tiles);
        made += ready.len() as u64;
        for tile in &ready {
            progress.tile_done();
            add(&COUNTERS.pixels, (tile.layers.len() * tile.unit.rect.pixels()) as u64);
        }
        room.send(ready);
        outcome?;
    }
    Ok(())
}

/// A tile, and behind it those that are finished already, as long as they take little memory: to wake who waits for them costs more
/// than to make one in which nothing lies. What came after them, if that was an error.
fn with_those_ready(first: Tile, tiles: &mut (impl Stream<Item = Result<Tile>> + Unpin)) -> (Vec<Tile>, Result<()>) {
    let (mut bytes, mut ready) = (first.memory(), vec![first]);
    while bytes < LITTLE && ready.len() < MOST_TOGETHER {
        match tiles.next().now_or_never() {
            Some(Some(Ok(tile))) => {
                bytes += tile.memory();
                ready.push(tile);
            }
            Some(Some(Err(error))) => return (ready, Err(error)),
            Some(None) | None => break,
        }
    }
    (ready, Ok(()))
}

fn lost(planned: u64, made: u64) -> Error {
    Error::Corrupt(format!("internal error, please report it: {planned} tiles were planned, {made} were made"))
}

/// How many units may be at work, so that they fit into a quarter of the memory budget with the tiles that wait to be emitted.
fn in_flight(cube: &Cube, bands: &[usize]) -> usize {
    let pixels = cube.target.largest();
    let per_pixel: usize = bands.iter().map(|b| bytes_per_pixel(&cube.bands[*b])).sum();
    let fit = cube.request.memory_budget / 4 / (pixels * per_pixel).max(1) as u64;
    fit.saturating_sub(TILES_WAITING).clamp(1, MOST_PER_THREAD * cube.request.threads as u64) as usize
}
