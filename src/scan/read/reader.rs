//! What one item gives one output tile: headers opened, source windows found, bytes fetched.

use std::sync::Arc;

use futures::TryFutureExt;
use futures::future::join_all;
use tokio::sync::oneshot;

use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::plan::{Band, Geometry, Unit};
use crate::runtime::tell;
use crate::scan::compose::decode::assemble;
use crate::scan::compose::feed::{Content, Part, Stored, counted_window};
use crate::scan::read::batch::{Order, Seat};
use crate::scan::read::window::{self, Fetched, Keep};
use crate::scan::shared::faults;
use crate::scan::shared::memory::{Reservation, shrink};
use crate::scan::shared::neighbours::Row;
use crate::scan::unit::Composer;
use crate::store::Object;
use crate::warp::Mapping;

/// What one item gives one unit: a part for each asset that can add a pixel.
pub struct Delivery {
    pub parts: Vec<Part>,
    /// Held until the parts are fed.
    _memory: Reservation,
}

/// A delivery, or the position of the asset that could not be read, and why.
pub type ReadItem = Result<Delivery, (usize, Error)>;

/// How a read of an item speaks with its unit.
pub struct Slots {
    /// For the news that the headers are open.
    pub opened: oneshot::Sender<()>,
    /// Nothing is read before this is granted.
    pub memory: oneshot::Receiver<Reservation>,
    /// Beside the reads of the same item for neighbouring units, if there are some.
    pub seat: Option<Seat>,
}

/// The output tile that a read is for.
#[derive(Clone, Copy)]
pub struct Target {
    pub rect: Rect,
    pub row: Row,
}

impl Target {
    pub fn of(unit: &Unit) -> Target {
        Target { rect: unit.rect, row: (unit.time_index, unit.chunk_row) }
    }
}

/// Which pixels of one COG a unit takes.
struct Source {
    level: usize,
    /// More than one where the window is read in parts.
    mappings: Vec<Arc<Mapping>>,
    /// Of the tiles that a single mapping knows, those that can add a pixel; `None` for all of them.
    open: Option<Vec<bool>>,
    samples: Vec<u16>,
}

/// A part that is to be fetched.
struct Planned {
    object: Arc<Object>,
    level: usize,
    mappings: Vec<Arc<Mapping>>,
    row: Row,
    part: Part,
}

impl Planned {
    /// What is to be fetched at once; a window in parts is not.
    fn orders(&self) -> Vec<Order> {
        let Content::Stored(stored) = &self.part.content else { return Vec::new() };
        let (object, cog) = (&self.object, self.part.opened.id);
        stored.reads.ranges().map(|range| Order { object: object.clone(), cog, range }).collect()
    }

    /// What the part will take; `None` where only its pixels tell.
    fn memory(&self) -> Option<u64> {
        matches!(self.part.content, Content::Stored(_)).then(|| self.part.memory())
    }
}

impl Composer {
    /// Bytes that reading an item for a unit is likely to take: its share of the tile, by their bounding boxes.
    pub fn cost(&self, item: &Item, unit: &Unit) -> u64 {
        /// Tiles are read whole, and some files compress less than the sampled ones.
        const MARGIN: f64 = 1.25;
        /// More than any budget, and little enough to be summed: one pixel of a coarse grid may be the whole world.
        const MOST: f64 = 1e15;
        let cube = &self.cube;
        let pixels = unit.rect.pixels() as f64 * (item.place.share_of(&unit.area) + 0.02).min(1.0);
        let stored: f64 = self.assets.iter().filter_map(|asset| cube.stored.get(asset)).sum();
        let places = if cube.is_parallel { 0.0 } else { size_of::<u32>() as f64 };
        let window = (pixels * cube.source_pixels).min(self.window_pixels as f64);
        let window: u64 = self.bands.iter().map(|b| window as u64 * cube.bands[*b].source_dtype.size() as u64).sum();
        (pixels * (stored * MARGIN + places)).min(MOST) as u64 + counted_window(window)
    }

    /// Everything that one item has to give, fetched. `settled` is for each band what no item can change any more.
    pub async fn read_item(
        self: Arc<Self>,
        item: Arc<Item>,
        target: Target,
        settled: Arc<Vec<Option<Vec<u8>>>>,
        mut slots: Slots,
    ) -> ReadItem {
        let assets =
            self.assets.iter().enumerate().filter_map(|(i, key)| Some((i, key, item.assets.get(i)?.as_ref()?)));
        let cube = &self.cube;
        let opening = assets.map(|(i, key, asset)| {
            let open = cube.open(&item.id, key, asset);
            async move { (i, asset, open.await) }
        });
        let opened = join_all(opening).await;
        faults::point("read");
        // Nobody listens where the unit is at work already.
        tell(slots.opened, ());
        let mut memory = slots.memory.await.map_err(|_| (0, Error::Cancelled))?;
        let plans = opened.into_iter().map(|(i, asset, opened)| {
            let (composer, settled) = (&self, &settled);
            async move { composer.plan_asset(i, asset, opened?, target, settled).await }.map_err(move |e| (i, e))
        });
        let plans: Vec<_> =
            join_all(plans).await.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if let Some(bytes) = plans.iter().map(Planned::memory).sum() {
            shrink(&mut memory, bytes);
        }
        if let Some(seat) = &mut slots.seat {
            seat.order(plans.iter().flat_map(Planned::orders).collect()).await;
        }
        let parts = plans.into_iter().map(|plan| {
            let asset = plan.part.asset;
            self.fetch(plan).map_err(move |e| (asset, e))
        });
        let parts: Vec<_> = join_all(parts).await.into_iter().collect::<Result<_, _>>()?;
        shrink(&mut memory, parts.iter().map(Part::memory).sum());
        Ok(Delivery { parts, _memory: memory })
    }

    /// What is to be read of one COG; `None` if it cannot add a pixel.
    async fn plan_asset(
        self: &Arc<Self>,
        index: usize,
        asset: &Asset,
        (object, opened): (Arc<Object>, Arc<Opened>),
        target: Target,
        settled: &Arc<Vec<Option<Vec<u8>>>>,
    ) -> Result<Option<Planned>> {
        // What takes microseconds does not wait for a compute thread, which decodes.
        let rect = target.rect;
        let source = if settled.iter().all(Option::is_none) && self.is_mapped(rect, &opened)? {
            self.source(index, asset, &opened, rect, settled)?
        } else {
            let (composer, asset, opened, settled) = (self.clone(), asset.clone(), opened.clone(), settled.clone());
            self.on_pool(move || composer.source(index, &asset, &opened, rect, &settled)).await?
        };
        let Some(Source { level, mappings, open, samples }) = source else { return Ok(None) };
        let content = match &mappings[..] {
            [mapping] => {
                Content::Stored(Box::new(self.stored(&opened, level, &samples, mapping, (target.row, open.as_deref()))))
            }
            _ => Content::Rasters(Vec::new()),
        };
        let part = Part { asset: index, samples, opened, content };
        Ok(Some(Planned { object, level, mappings, row: target.row, part }))
    }

    fn stored(
        &self,
        opened: &Opened,
        level: usize,
        samples: &[u16],
        mapping: &Arc<Mapping>,
        (row, open): (Row, Option<&[bool]>),
    ) -> Stored {
        let keep = Keep { cache: &self.tiles, larder: self.larder.as_ref(), row, room: self.decoding.total() };
        let reads = window::plan(keep, opened, level, samples, mapping, open);
        Stored { mapping: mapping.clone(), reads, bytes: Fetched::default() }
    }

    /// Fetches what is planned. A window in parts is decoded part by part.
    async fn fetch(&self, plan: Planned) -> Result<Part> {
        let Planned { object, level, mappings, row, mut part } = plan;
        let (opened, flights) = (&part.opened, &self.flights);
        match &mut part.content {
            Content::Stored(stored) => stored.bytes = window::fetch(&object, opened.id, &stored.reads, flights).await?,
            Content::Rasters(placed) => {
                for mapping in mappings {
                    let Stored { reads, .. } = self.stored(opened, level, &part.samples, &mapping, (row, None));
                    let bytes = window::fetch(&object, opened.id, &reads, flights).await?;
                    let decoding = self.decoding.reserve_some(reads.decoding(opened)).await?;
                    let (opened, samples) = (opened.clone(), part.samples.clone());
                    let place = self.on_pool(move || {
                        let raster = assemble(&opened, &reads, &bytes, &samples, &mapping, None)?;
                        drop(decoding);
                        Ok((Arc::new(Mapping::identity(mapping.rect)), raster.on_grid(&mapping)))
                    });
                    placed.push(place.await?);
                }
            }
        }
        Ok(part)
    }

    /// Whether [`Composer::source`] has no transformation to make.
    fn is_mapped(&self, rect: Rect, opened: &Opened) -> Result<bool> {
        if !self.cube.levels.knows(opened) {
            return Ok(false);
        }
        let (_, geometry) = self.cube.levels.choose(opened)?;
        Ok(geometry.is_parallel_to(self.cube.crs()) || self.mappings.contains_key(&(rect, Geometry::of(&geometry))))
    }

    /// Level, mappings and samples of one COG for one rectangle; `None` if it cannot add a pixel.
    fn source(
        &self,
        asset_index: usize,
        asset: &Asset,
        opened: &Opened,
        rect: Rect,
        settled: &[Option<Vec<u8>>],
    ) -> Result<Option<Source>> {
        let mut samples = Vec::new();
        let mut positions = Vec::new();
        let (level, geometry) = self.cube.levels.choose(opened)?;
        self.cube.check_tiles(opened.level(level))?;
        let Some(mapping) = self.mapping(rect, &geometry)? else { return Ok(None) };
        for (position, (_, band)) in self.with_assets().enumerate().filter(|(_, (asset, _))| *asset == asset_index) {
            self.cube.check_source(band, opened, asset)?;
            samples.push(band.sample);
            positions.push(position);
        }
        let settled = positions.iter().map(|position| settled[*position].as_deref());
        let open = mapping.open_in_any(rect, geometry.tile, settled);
        if open.as_ref().is_some_and(|open| !open.contains(&true)) {
            return Ok(None);
        }
        samples.extend(samples.clone().into_iter().filter_map(|sample| opened.cog.alpha_for(sample)));
        samples.sort_unstable();
        samples.dedup();
        let mappings = self.split(mapping, &geometry)?;
        Ok(Some(Source { level, mappings, open, samples }))
    }

    fn mapping(&self, rect: Rect, source: &crate::warp::Source) -> Result<Option<Arc<Mapping>>> {
        let cube = &self.cube;
        let make = || Ok(Mapping::new(&cube.request.grid, cube.crs(), rect, source)?.map(Arc::new));
        self.mappings.try_get_with((rect, Geometry::of(source)), make).map_err(|e: Arc<Error>| (*e).clone())
    }

    /// Cuts a mapping whose window is too large into parts whose windows are not.
    fn split(&self, mapping: Arc<Mapping>, source: &crate::warp::Source) -> Result<Vec<Arc<Mapping>>> {
        let Rect { col, row, width, height } = mapping.rect;
        if mapping.window_pixels() <= self.window_pixels || width * height == 1 {
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

    /// The bands in the order of the output, each with the position of its asset.
    pub fn with_assets(&self) -> impl Iterator<Item = (usize, &Band)> {
        self.bands.iter().map(|b| {
            let band = &self.cube.bands[*b];
            (self.assets.iter().position(|key| *key == band.asset).unwrap_or(usize::MAX), band)
        })
    }
}
