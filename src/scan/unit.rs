//! One unit becomes one output tile: items are read in the order of the mosaic, decoded, warped and fed to it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::sync::Cache;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::buffers;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::Item;
use crate::pixels::Pixels;
use crate::plan::{Cube, Geometry, Unit, asset_context};
use crate::request::OnError;
use crate::runtime;
use crate::scan::compose::feed::feed;
use crate::scan::compose::layer::Layer;
use crate::scan::read::ahead::{Begun, Queue, Reading};
use crate::scan::read::coverage::Coverage;
use crate::scan::read::reader::{Delivery, ReadItem};
use crate::scan::read::requests::Flights;
use crate::scan::shared::cache::TileCache;
use crate::scan::shared::faults;
use crate::scan::shared::memory::Memory;
use crate::scan::shared::neighbours::Larder;
use crate::scan::shared::task::Owned;
use crate::scan::watch::failures::{Failure, Failures};
use crate::warp::Mapping;

/// A finished output tile.
#[derive(Debug)]
pub struct Tile {
    pub unit: Unit,
    /// Values and validity (1 or 0) of each band that was asked for, row-major.
    pub layers: Vec<(Pixels, Vec<u8>)>,
}

impl Drop for Tile {
    fn drop(&mut self) {
        for (pixels, valid) in self.layers.drain(..) {
            buffers::give(pixels);
            buffers::give(Pixels::UInt8(valid));
        }
    }
}

/// Whether what one band takes from one item may stay in the process's cache for the next query.
fn is_small(cube: &Cube, tiles: &TileCache) -> bool {
    let widest = cube.bands.iter().map(|band| band.source_dtype.size()).max().unwrap_or(1);
    let pixels = cube.request.grid.width as f64 * cube.request.grid.height as f64 * cube.source_pixels;
    tiles.has_room_for((pixels * widest as f64) as u64)
}

/// What the units of one scan share.
pub struct Composer {
    pub cube: Arc<Cube>,
    /// Positions in `cube.bands`, in the order of the output.
    pub bands: Vec<usize>,
    /// The asset keys of the bands, as the items were asked for.
    pub assets: Vec<String>,
    pub mappings: Cache<(Rect, Geometry), Option<Arc<Mapping>>>,
    pub tiles: TileCache,
    /// Decoded tiles for neighbours, where the cache does not keep them.
    pub larder: Option<Arc<Larder>>,
    pub flights: Arc<Flights>,
    pub failures: Failures,
    /// For the reads of units at work, and for those of units to come. Two, since the first must never wait for the second.
    memory: Memory,
    pub memory_ahead: Memory,
    /// For large tiles while they are decoded. Who holds some waits for nothing else.
    pub decoding: Memory,
    /// A window of more pixels is read in parts, one after the other: a source without overviews may be a thousand times finer
    /// than the output.
    pub window_pixels: u64,
    pool: OnceLock<Arc<ThreadPool>>,
}

/// The largest window, where the budget allows it: 16 million pixels for the 256 MB that it is by default.
const WINDOW_PIXELS: u64 = 16 << 20;
const LEAST_WINDOW_PIXELS: u64 = 1 << 16;
const BUDGET_PER_PIXEL: u64 = 15;

impl Composer {
    pub fn new(cube: Arc<Cube>, bands: Vec<usize>, failures: Failures) -> Composer {
        let assets = cube.assets(bands.iter().copied());
        let (budget, tiles) = (cube.request.memory_budget, TileCache::shared(cube.request.cache_size));
        let mappings = Cache::builder()
            .max_capacity(budget / 8)
            .weigher(|(rect, _): &(Rect, Geometry), mapping: &Option<Arc<Mapping>>| match mapping {
                Some(mapping) => {
                    u32::try_from(rect.pixels().saturating_mul(4) + mapping.touched.len()).unwrap_or(u32::MAX)
                }
                None => 256,
            })
            .build();
        Composer {
            bands,
            assets,
            mappings,
            larder: (!is_small(&cube, &tiles)).then(|| Arc::new(Larder::new(cube.clone(), budget / 4))),
            tiles,
            flights: Arc::default(),
            failures,
            memory: Memory::new(budget / 8),
            decoding: Memory::new(budget / 4),
            pool: OnceLock::new(),
            window_pixels: (budget / BUDGET_PER_PIXEL).clamp(LEAST_WINDOW_PIXELS, WINDOW_PIXELS),
            // What comes without delay need not be there long before.
            memory_ahead: Memory::new(if cube.is_local { budget / 16 } else { budget / 4 }),
            cube,
        }
    }

    /// Reads and mosaics a unit.
    ///
    /// # Errors
    /// The failure of the first item, in the order of the mosaic, that is needed and cannot be read.
    pub async fn compose(self: Arc<Self>, begun: Begun) -> Result<Tile> {
        let Begun { unit, items, mut coverage, mut reads, .. } = begun;
        faults::point("unit");
        let (method, pixels) = (self.cube.request.mosaic, unit.rect.pixels());
        let mut layers: Vec<Layer> =
            self.bands.iter().map(|b| Layer::new(method, &self.cube.bands[*b], pixels)).collect();
        loop {
            layers = self.feed_all(&unit, &items, (&mut reads, &mut coverage), layers).await?;
            match &mut coverage {
                Some(coverage) if reads.end < items.len() && !layers.iter().all(Layer::is_done) => {
                    coverage.settle(&layers, unit.rect);
                    reads.end += coverage.wave(&items[reads.end..]);
                    reads.settled = Arc::new(Layer::all_settled(&layers));
                }
                _ => break,
            }
        }
        Ok(Tile { unit, layers: self.finish(layers).await? })
    }

    async fn finish(self: &Arc<Self>, layers: Vec<Layer>) -> Result<Vec<(Pixels, Vec<u8>)>> {
        let composer = self.clone();
        let finish = move |(i, layer): (usize, Layer)| layer.finish(composer.cube.bands[composer.bands[i]].dtype);
        if self.cube.request.mosaic.stops_early() {
            // Values are there as they are, or one cast away.
            return Ok(layers.into_iter().enumerate().map(finish).collect());
        }
        self.on_pool(move || Ok(layers.into_par_iter().enumerate().map(finish).collect())).await
    }

    /// Feeds the items up to the end of `reads`, in their order, and keeps as many reads ahead as memory allows.
    async fn feed_all(
        self: &Arc<Self>,
        unit: &Unit,
        items: &[Arc<Item>],
        (reads, coverage): (&mut Queue, &mut Option<Coverage>),
        mut layers: Vec<Layer>,
    ) -> Result<Vec<Layer>> {
        loop {
            self.start_reads(unit, items, reads, true).await?;
            let Some(Reading { item, task, .. }) = reads.pop() else { return Ok(layers) };
            let failure = match self.delivered(task, unit, items, (&mut *reads, &mut *coverage)).await? {
                Ok(delivery) => {
                    let (fed, failure) = self.feed(unit.rect, &item, delivery, layers).await?;
                    layers = fed;
                    failure
                }
                Err(failure) => Some(failure),
            };
            match failure {
                Some((_, Error::Cancelled)) => return Err(Error::Cancelled),
                Some((asset, error)) => self.note(&item, asset, error).await?,
                None => {}
            }
            if layers.iter().all(Layer::is_done) {
                return Ok(layers);
            }
        }
    }

    /// Starts the reads of the next items, as far as memory allows. The unit is `idle` where it has no read in work.
    async fn start_reads(
        self: &Arc<Self>,
        unit: &Unit,
        items: &[Arc<Item>],
        reads: &mut Queue,
        idle: bool,
    ) -> Result<()> {
        reads.fill(self, unit, items, |_| None);
        while let Some((reading, first)) = reads.without_memory() {
            // Only a unit that has nothing in work waits for memory: what others hold, they give back.
            let Some(memory) = self.memory.reserve(self.cost(&reading.item, unit), first && idle).await? else { break };
            reading.grant(memory);
        }
        Ok(())
    }

    /// What a read brings. Where it takes its time, and the output tile is so small that all of that goes into round trips, the
    /// items that would fill its holes are asked for beside it, not after it.
    async fn delivered(
        self: &Arc<Self>,
        mut read: Owned<ReadItem>,
        unit: &Unit,
        items: &[Arc<Item>],
        (reads, coverage): (&mut Queue, &mut Option<Coverage>),
    ) -> Result<ReadItem> {
        /// What is in a cache is there sooner, what comes from a server later.
        const AT_ONCE: Duration = Duration::from_millis(5);
        const HASTY_PIXELS: usize = 32 * 32;
        if let Some(coverage) = coverage
            && reads.end < items.len()
            && unit.rect.pixels() <= HASTY_PIXELS
            && !self.cube.is_local
        {
            if let Ok(delivered) = tokio::time::timeout(AT_ONCE, read.join()).await {
                return delivered;
            }
            reads.end += coverage.wave(&items[reads.end..]);
            // The read in work holds memory: to wait for more would be to wait for itself.
            self.start_reads(unit, items, reads, false).await?;
        }
        read.join().await
    }

    /// Takes note of a failure; an error where the call does not ignore it.
    async fn note(&self, item: &Item, asset: usize, error: Error) -> Result<()> {
        let request = &self.cube.request;
        let (key, Some(Some(found))) = (&self.assets[asset], item.assets.get(asset)) else { return Err(error) };
        if matches!(error, Error::Changed(_) | Error::Corrupt(_)) {
            // Without ETags a replaced object looks like a broken one: the next query must see the header that is there now.
            self.cube.headers.forget(&self.cube.object(found)?, found.crs.as_ref()).await;
        }
        let error = error.within_once(asset_context(request, &item.id, key, found));
        self.failures.record(Failure::new(request, &item.id, key, found, &error));
        if request.errors == OnError::Raise { Err(error) } else { Ok(()) }
    }

    /// Gives the layers back, and what went wrong with which asset.
    async fn feed(
        self: &Arc<Self>,
        rect: Rect,
        item: &Arc<Item>,
        delivery: Delivery,
        mut layers: Vec<Layer>,
    ) -> Result<(Vec<Layer>, Option<(usize, Error)>)> {
        if delivery.parts.is_empty() {
            return Ok((layers, None));
        }
        let decoding = delivery.parts.iter().map(|part| part.content.decoding(&part.opened)).sum();
        let decoding = self.decoding.reserve_some(decoding).await?;
        let (composer, item) = (self.clone(), item.clone());
        self.on_pool(move || {
            let _decoding = decoding;
            faults::point("compute");
            let cube = &composer.cube;
            let bands: Vec<_> = composer.with_assets().collect();
            let failure = feed(cube, rect, &item, delivery.parts, &bands, &mut layers).err();
            Ok((layers, failure))
        })
        .await
    }

    fn pool(&self) -> Result<&Arc<ThreadPool>> {
        match self.pool.get() {
            Some(pool) => Ok(pool),
            None => {
                let pool = runtime::compute(self.cube.request.threads)?;
                Ok(self.pool.get_or_init(|| pool))
            }
        }
    }

    /// Runs `body` on a compute thread.
    pub async fn on_pool<T: Send + 'static>(&self, body: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (send, receive) = tokio::sync::oneshot::channel();
        self.pool()?.spawn(move || {
            if send.is_closed() {
                return;
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body))
                .unwrap_or_else(|payload| Err(Error::of_panic(payload.as_ref())));
            runtime::tell(send, result);
        });
        receive.await.map_err(|_| Error::Cancelled)?
    }
}
