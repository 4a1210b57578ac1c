//! One unit becomes one output tile: items are read in the order of the mosaic, decoded, warped and fed to it.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::join_all;
use moka::sync::Cache;

use super::coverage::Coverage;
use super::failures::Failure;
use super::layer::Layer;
use super::memory::{Memory, Reservation};
use super::task::Owned;
use super::tiles::TileCache;
use super::window::{self, Raster};
use crate::buffers;
use crate::cog::opened::{Opened, forget};
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::pixels::Pixels;
use crate::plan::{Cube, Geometry, Unit, asset_context};
use crate::request::OnError;
use crate::runtime;
use crate::store::Object;
use crate::warp::Mapping;

/// Items that are read ahead of the one that the mosaic waits for.
const ITEMS_AHEAD: usize = 8;
/// A window of more pixels is read in parts, one after the other: a source without overviews may be a thousand times
/// finer than the output.
const WINDOW_PIXELS: u64 = 16 << 20;

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

/// What the units of one scan share.
pub struct Composer {
    pub cube: Arc<Cube>,
    /// Positions in `cube.bands`, in the order of the output.
    pub bands: Vec<usize>,
    /// The asset keys of the bands, as the items were asked for.
    pub assets: Vec<String>,
    mappings: Cache<(Rect, Geometry), Option<Arc<Mapping>>>,
    tiles: TileCache,
    pub failures: super::failures::Failures,
    memory: Memory,
}

/// What one item gives one unit: for each asset the mapping and the pixels of the samples that the bands take.
struct Contribution {
    parts: Vec<Part>,
    /// Held until the parts are fed.
    _memory: Reservation,
}

type ReadItem = Result<Contribution, (Error, Failure)>;

struct Part {
    asset: usize,
    mapping: Arc<Mapping>,
    samples: Vec<u16>,
    raster: Raster,
    opened: Arc<Opened>,
}

/// One COG of one item, ready to be read for a unit.
struct Source {
    asset: usize,
    object: Object,
    opened: Arc<Opened>,
    level: usize,
    mappings: Vec<Arc<Mapping>>,
    samples: Vec<u16>,
}

impl Composer {
    pub fn new(cube: Arc<Cube>, bands: Vec<usize>) -> Composer {
        let assets = cube.assets(bands.iter().copied());
        let mappings = Cache::builder()
            .max_capacity(cube.request.memory_budget / 8)
            .weigher(|(rect, _): &(Rect, Geometry), mapping: &Option<Arc<Mapping>>| match mapping {
                Some(_) => u32::try_from(rect.pixels().saturating_mul(4)).unwrap_or(u32::MAX),
                None => 256,
            })
            .build();
        let memory = Memory::new(cube.request.memory_budget / 2);
        let tiles = TileCache::shared(cube.request.cache_size);
        Composer { cube, bands, assets, mappings, tiles, failures: super::failures::Failures::start(), memory }
    }

    /// Reads and mosaics a unit.
    ///
    /// # Errors
    /// The failure of the first item, in the order of the mosaic, that is needed and cannot be read.
    pub async fn compose(self: Arc<Self>, unit: Unit) -> Result<Tile> {
        let request = &self.cube.request;
        let pixels = unit.rect.pixels();
        let mut layers: Vec<Layer> =
            self.bands.iter().map(|b| Layer::new(request.mosaic, &self.cube.bands[*b], pixels)).collect();
        let mut items = unit.items.clone();
        if request.mosaic.reverses() {
            items.reverse();
        }
        if request.mosaic.stops_early() {
            let (cube, rect) = (self.cube.clone(), unit.rect);
            let mut coverage = self.on_pool(move || Coverage::new(&cube, rect)).await?;
            let mut next = 0;
            while next < items.len() && !layers.iter().all(Layer::is_done) {
                let wave = coverage.wave(&items[next..]);
                layers = self.feed_all(&unit, &items[next..next + wave], layers).await?;
                next += wave;
                coverage.settle(&layers, unit.rect);
            }
        } else {
            layers = self.feed_all(&unit, &items, layers).await?;
        }
        let dtype = |i: usize| self.cube.bands[self.bands[i]].dtype;
        let finished = layers.into_iter().enumerate().map(|(i, layer)| layer.finish(dtype(i))).collect();
        Ok(Tile { unit, layers: finished })
    }

    /// Opens the headers of the item that a unit needs in any case, so that they are there when its turn comes. What goes
    /// wrong here goes wrong again, and is told, when the item is read.
    pub async fn open_ahead(self: Arc<Self>, unit: Unit) {
        let first = if self.cube.request.mosaic.reverses() { unit.items.last() } else { unit.items.first() };
        let Some(item) = first else { return };
        let assets = self.assets.iter().zip(&item.assets).filter_map(|(key, asset)| Some((key, asset.as_ref()?)));
        join_all(assets.map(|(key, asset)| self.cube.open(&item.id, key, asset))).await;
    }

    /// Reads `items` together, as many ahead as memory allows, and feeds them in order.
    async fn feed_all(
        self: &Arc<Self>,
        unit: &Unit,
        items: &[Arc<Item>],
        mut layers: Vec<Layer>,
    ) -> Result<Vec<Layer>> {
        let settled = Arc::new(Layer::all_settled(&layers));
        let mut ahead: VecDeque<(Arc<Item>, Owned<ReadItem>)> = VecDeque::new();
        let mut waiting = items.iter();
        let mut next = waiting.next();
        loop {
            while let Some(item) = next.filter(|_| ahead.len() < ITEMS_AHEAD) {
                // Only a unit that has nothing in work waits for memory: what others hold, they give back.
                let Some(memory) = self.memory.reserve(self.cost(item, unit), ahead.is_empty()).await? else { break };
                let (composer, rect, settled) = (self.clone(), unit.rect, settled.clone());
                let read = composer.read_item(item.clone(), rect, settled, memory);
                ahead.push_back((item.clone(), Owned::spawn(read)));
                next = waiting.next();
            }
            let Some((item, read)) = ahead.pop_front() else { return Ok(layers) };
            match read.join().await? {
                Ok(contribution) => layers = self.feed(unit.rect, item, contribution, layers).await?,
                Err((Error::Cancelled, _)) => return Err(Error::Cancelled),
                Err((error, failure)) => {
                    self.failures.record(failure);
                    if self.cube.request.errors == OnError::Raise {
                        return Err(error);
                    }
                }
            }
            if layers.iter().all(Layer::is_done) {
                return Ok(layers);
            }
        }
    }

    /// Bytes that reading an item for a unit is likely to take: its share of the tile, by their bounding boxes.
    fn cost(&self, item: &Item, unit: &Unit) -> u64 {
        let share = unit.area.share_of(item.bbox);
        let pixels = unit.rect.pixels() as f64 * (share + 0.02).min(1.0) * self.cube.source_pixels;
        let pixels = pixels.min(WINDOW_PIXELS as f64);
        let bytes: usize = self.bands.iter().map(|b| self.cube.bands[*b].source_dtype.size()).sum();
        // The pixels, the compressed bytes they come from, and four bytes of mapping for each pixel of output.
        (pixels * bytes as f64 * 1.6 + unit.rect.pixels() as f64 * 4.0 * share) as u64
    }

    /// Everything that one item has to give, read and decoded. One bad asset spoils the item: bands that come from
    /// different items are worse than a missing item.
    async fn read_item(
        self: Arc<Self>,
        item: Arc<Item>,
        rect: Rect,
        settled: Arc<Vec<Option<Vec<u8>>>>,
        memory: Reservation,
    ) -> ReadItem {
        let assets =
            self.assets.iter().enumerate().filter_map(|(i, key)| Some((i, key, item.assets.get(i)?.as_ref()?)));
        let parts = assets.map(|(i, key, asset)| {
            let (composer, item, settled) = (&self, &item, &settled);
            async move {
                let read = composer.read_asset(item, i, key, asset, rect, settled).await;
                read.map_err(|error| {
                    let error = error.within_once(asset_context(&composer.cube.request, &item.id, key, asset));
                    let failure = Failure::new(&composer.cube.request, item, key, asset, &error);
                    (error, failure)
                })
            }
        });
        let mut contribution = Contribution { parts: Vec::new(), _memory: memory };
        for part in join_all(parts).await {
            contribution.parts.extend(part?);
        }
        Ok(contribution)
    }

    async fn read_asset(
        self: &Arc<Self>,
        item: &Arc<Item>,
        index: usize,
        key: &str,
        asset: &Asset,
        rect: Rect,
        settled: &Arc<Vec<Option<Vec<u8>>>>,
    ) -> Result<Vec<Part>> {
        let (object, opened) = self.cube.open(&item.id, key, asset).await?;
        let source = {
            let (composer, asset, settled) = (self.clone(), asset.clone(), settled.clone());
            self.on_pool(move || composer.source(index, &asset, object, opened, rect, &settled)).await?
        };
        let Some(source) = source else { return Ok(Vec::new()) };
        let source = Arc::new(source);
        let read = self.read_parts(&source).await;
        if matches!(read, Err(Error::Changed(_) | Error::Corrupt(_))) {
            // Without ETags a replaced object looks like a broken one: the next query must see the header that is there now.
            forget(&source.object, asset.crs.as_ref()).await;
        }
        read
    }

    async fn read_parts(self: &Arc<Self>, source: &Arc<Source>) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(source.mappings.len());
        for mapping in source.mappings.clone() {
            let (cache, shared, place) = (self.tiles.clone(), source.clone(), mapping.clone());
            let plan = move || Ok(window::plan(&cache, &shared.opened, shared.level, &shared.samples, &place));
            let reads = self.on_pool(plan).await?;
            let fetched = window::fetch(&source.object, &reads).await?;
            let shared = source.clone();
            let part = self.on_pool(move || {
                let mut raster = window::assemble(&shared.opened, &reads, &fetched, &shared.samples, &mapping)?;
                let mut mapping = mapping;
                if shared.mappings.len() > 1 {
                    raster = raster.on_grid(&mapping);
                    mapping = Arc::new(Mapping::identity(mapping.rect));
                }
                let (samples, opened) = (shared.samples.clone(), shared.opened.clone());
                Ok(Part { asset: shared.asset, mapping, samples, raster, opened })
            });
            parts.push(part.await?);
        }
        Ok(parts)
    }

    /// Level, mappings and samples of one COG for one rectangle; `None` if it cannot add a pixel.
    fn source(
        &self,
        asset_index: usize,
        asset: &Asset,
        object: Object,
        opened: Arc<Opened>,
        rect: Rect,
        settled: &[Option<Vec<u8>>],
    ) -> Result<Option<Source>> {
        let mut samples = Vec::new();
        let mut useful = false;
        let (level, geometry) = self.cube.levels.choose(&opened)?;
        let Some(mapping) = self.mapping(rect, &geometry)? else { return Ok(None) };
        for (position, band) in self.bands_of(asset_index) {
            self.cube.check_source(band, &opened, asset)?;
            samples.push(band.sample);
            useful |= settled[position].as_ref().is_none_or(|set| super::layer::adds(&mapping, rect, set));
        }
        if !useful {
            return Ok(None);
        }
        samples.extend(opened.cog.alpha);
        samples.sort_unstable();
        samples.dedup();
        let mappings = self.split(mapping, &geometry)?;
        Ok(Some(Source { asset: asset_index, object, opened, level, mappings, samples }))
    }

    fn mapping(&self, rect: Rect, source: &crate::warp::Source) -> Result<Option<Arc<Mapping>>> {
        let cube = &self.cube;
        let make = || Ok(Mapping::new(&cube.request.grid, cube.crs(), rect, source)?.map(Arc::new));
        self.mappings.try_get_with((rect, Geometry::of(source)), make).map_err(|e: Arc<Error>| (*e).clone())
    }

    /// Cuts a mapping whose window is too large into parts whose windows are not.
    fn split(&self, mapping: Arc<Mapping>, source: &crate::warp::Source) -> Result<Vec<Arc<Mapping>>> {
        let Rect { col, row, width, height } = mapping.rect;
        if mapping.window_pixels() <= WINDOW_PIXELS || width * height == 1 {
            return Ok(vec![mapping]);
        }
        let (a, b) = if width >= height {
            (
                Rect { width: width / 2, ..mapping.rect },
                Rect { col: col + width / 2, width: width - width / 2, ..mapping.rect },
            )
        } else {
            (
                Rect { height: height / 2, ..mapping.rect },
                Rect { row: row + height / 2, height: height - height / 2, ..mapping.rect },
            )
        };
        let mut parts = Vec::new();
        for rect in [a, b] {
            if let Some(part) = Mapping::new(&self.cube.request.grid, self.cube.crs(), rect, source)? {
                parts.extend(self.split(Arc::new(part), source)?);
            }
        }
        Ok(parts)
    }

    fn bands_of(&self, asset: usize) -> impl Iterator<Item = (usize, &crate::plan::Band)> {
        let key = &self.assets[asset];
        self.bands.iter().map(|b| &self.cube.bands[*b]).enumerate().filter(move |(_, band)| band.asset == *key)
    }

    async fn feed(
        self: &Arc<Self>,
        rect: Rect,
        item: Arc<Item>,
        contribution: Contribution,
        mut layers: Vec<Layer>,
    ) -> Result<Vec<Layer>> {
        if contribution.parts.is_empty() {
            return Ok(layers);
        }
        let composer = self.clone();
        self.on_pool(move || {
            for part in contribution.parts {
                composer.feed_part(rect, &item, part, &mut layers);
            }
            Ok(layers)
        })
        .await
    }

    fn feed_part(&self, rect: Rect, item: &Item, part: Part, layers: &mut [Layer]) {
        let Some(Some(asset)) = item.assets.get(part.asset) else { return };
        let Part { mapping, samples, mut raster, opened, .. } = part;
        if let Some(alpha) = opened.cog.alpha
            && let Some(at) = samples.iter().position(|s| *s == alpha)
        {
            let opaque = raster.samples[at].nonzero();
            raster.mask = Some(match raster.mask.take() {
                Some(mask) => mask.iter().zip(&opaque).map(|(m, a)| m & a).collect(),
                None => opaque,
            });
        }
        for (position, band) in self.bands_of(part.asset) {
            let Some(at) = samples.iter().position(|s| *s == band.sample) else { continue };
            // An alpha band that is asked for by name is data: its zeros are values.
            let mask = if opened.cog.alpha == Some(band.sample) { None } else { raster.mask.as_deref() };
            let nodata = self.cube.source_nodata(band, &opened, asset);
            layers[position].feed(rect, &mapping, &raster.samples[at], mask, nodata);
        }
        raster.samples.into_iter().for_each(buffers::give);
    }

    /// Runs `body` on a compute thread.
    async fn on_pool<T: Send + 'static>(&self, body: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (send, receive) = tokio::sync::oneshot::channel();
        runtime::compute(self.cube.request.threads)?.spawn(move || {
            if send.is_closed() {
                return;
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body))
                .unwrap_or_else(|payload| Err(Error::of_panic(payload.as_ref())));
            // The receiver is gone where the query was dropped.
            let _ = send.send(result);
        });
        receive.await.map_err(|_| Error::Cancelled)?
    }
}
