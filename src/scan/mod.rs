//! Runs a plan: units are read, composed and handed over in the order of the plan, as many at once as the memory
//! budget allows. A scan that is dropped stops its reads.

mod ahead;
mod bar;
mod compose;
mod coverage;
pub mod explain;
mod failures;
mod feed;
mod flights;
#[doc(hidden)]
pub mod fuzzing;
mod groups;
mod larder;
mod layer;
mod memory;
pub mod progress;
mod raster;
mod read;
mod task;
mod tiles;
mod together;
mod window;

use std::sync::Arc;

use futures::stream::StreamExt;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use groups::{Group, Groups, Room};
use progress::{Progress, Running};
use task::Owned;

pub use compose::{Composer, Tile};
pub use failures::{Failure, Failures, last_failures};
pub use tiles::{TileCache, bytes_held};

use crate::buffers::{Allowance, allow};
use crate::error::Result;
use crate::interrupt;
use crate::plan::{Cube, Units, bytes_per_pixel};
use crate::runtime;
use crate::store::counters::{COUNTERS, add};
use crate::store::in_turn;

/// Groups that are planned, and whose headers are opened, ahead of those whose reads begin.
const GROUPS_AHEAD: usize = 32;
/// Units whose reads have begun that may wait for their turn.
const UNITS_AHEAD: usize = 32;
/// One finished tile waits for DuckDB while another is emitted.
const TILES_WAITING: u64 = 2;
/// Units at work for each compute thread: while some wait for the items that fill their holes, others keep it busy.
const MOST_PER_THREAD: u64 = 4;

/// A running scan.
pub struct Scan {
    tiles: Mutex<mpsc::Receiver<Result<Tile>>>,
    driver: JoinHandle<()>,
    running: Running,
    /// As many bytes of buffers as its output tiles may take stay at hand for the next ones.
    _buffers: Allowance,
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Scan {
    /// Starts to read `bands` (positions in `cube.bands`) of every unit of the cube, for the SQL function `function`.
    pub fn start(function: &'static str, cube: Arc<Cube>, bands: Vec<usize>) -> Result<Scan> {
        let (in_flight, buffers) = (in_flight(&cube, &bands), allow(cube.request.memory_budget / 8));
        let running = Running::start(function, &cube)?;
        let composer = Arc::new(Composer::new(cube.clone(), bands));
        let room = Room::default();
        let groups = plan_ahead(composer.clone(), running.progress(), &room)?;
        let (send, tiles) = mpsc::channel(1);
        let driver = runtime::io()?.spawn(drive(composer, (groups, room), in_flight, send, running.progress()));
        Ok(Scan { tiles: Mutex::new(tiles), driver, running, _buffers: buffers })
    }

    /// The next tile, in the order of the plan; `None` after the last. A call that is given up takes no tile.
    pub async fn receive(&self) -> Option<Result<Tile>> {
        let tile = self.tiles.lock().await.recv().await;
        if tile.is_none() {
            self.running.end();
        }
        tile
    }

    /// As [`Scan::receive`], on a thread that may be blocked.
    pub fn next(&self) -> Option<Result<Tile>> {
        interrupt::wait(self.receive()).unwrap_or_else(|e| Some(Err(e)))
    }
}

/// Plans units on a thread of its own, since the item query blocks.
fn plan_ahead(composer: Arc<Composer>, progress: Arc<Progress>, room: &Room) -> Result<mpsc::Receiver<Result<Group>>> {
    let (send, receive) = mpsc::channel(GROUPS_AHEAD);
    let reads = room.reads();
    runtime::io()?.spawn_blocking(move || match Units::new(composer.cube.clone(), &composer.assets) {
        Ok(units) => {
            let mut groups = Groups::new(composer.clone(), units, reads);
            for group in &mut groups {
                let failed = group.is_err();
                // Nobody listens any more where the query was dropped.
                if send.blocking_send(group).is_err() || failed {
                    return;
                }
            }
            progress.set_total(groups.planned);
        }
        Err(e) => drop(send.blocking_send(Err(e))),
    });
    Ok(receive)
}

async fn drive(
    composer: Arc<Composer>,
    (groups, _room): (mpsc::Receiver<Result<Group>>, Room),
    in_flight: usize,
    send: mpsc::Sender<Result<Tile>>,
    progress: Arc<Progress>,
) {
    let (begun, waiting) = mpsc::channel(UNITS_AHEAD);
    let _ahead = Owned::spawn(ahead::ahead(composer.clone(), groups, begun));
    let waiting = futures::stream::unfold(waiting, |mut queue| async move { Some((queue.recv().await?, queue)) });
    let tasks = waiting.map(|begun| {
        let composer = composer.clone();
        async move {
            let begun = begun?;
            let mut task = Owned::spawn(in_turn(begun.turn, composer.compose(begun)));
            task.join().await?
        }
    });
    let mut tiles = std::pin::pin!(tasks.buffered(in_flight));
    // Room first: a finished tile that waits outside the queue is memory that nobody counts.
    while let Ok(room) = send.reserve().await {
        let Some(tile) = tiles.next().await else { return };
        let failed = tile.is_err();
        if let Ok(tile) = &tile {
            progress.tile_done();
            add(&COUNTERS.pixels, tile.layers.iter().map(|(_, valid)| valid.len() as u64).sum());
        }
        room.send(tile);
        if failed {
            return;
        }
    }
}

/// How many units may be at work, so that they fit into a quarter of the memory budget with the tiles that wait to be emitted.
fn in_flight(cube: &Cube, bands: &[usize]) -> usize {
    let pixels = cube.tiling.rect(0, 0).pixels();
    let per_pixel: usize = bands.iter().map(|b| bytes_per_pixel(&cube.request, &cube.bands[*b])).sum();
    let fit = cube.request.memory_budget / 4 / (pixels * per_pixel).max(1) as u64;
    fit.saturating_sub(TILES_WAITING).clamp(1, MOST_PER_THREAD * cube.request.threads as u64) as usize
}
