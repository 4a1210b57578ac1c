//! What one item gives one output tile: headers opened, source windows found, bytes fetched.

use std::sync::Arc;

use futures::future::join_all;

use super::compose::Composer;
use super::feed::{Content, Part, Stored};
use super::memory::{Reservation, shrink};
use super::raster::assemble;
use super::window::{self, Fetched, Reads};
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::plan::{Band, Geometry, Unit};
use crate::store::Object;
use crate::warp::Mapping;

/// A window of more pixels is read in parts, one after the other: a source without overviews may be a thousand times
/// finer than the output.
const WINDOW_PIXELS: u64 = 16 << 20;

/// What one item gives one unit: a part for each asset that can add a pixel.
pub struct Delivery {
    pub parts: Vec<Part>,
    /// Held until the parts are fed.
    _memory: Reservation,
}

/// A delivery, or the position of the asset that could not be read, and why.
pub type ReadItem = Result<Delivery, (usize, Error)>;

/// One COG of one item, ready to be read for a unit.
struct Source {
    object: Arc<Object>,
    opened: Arc<Opened>,
    level: usize,
    mappings: Vec<Arc<Mapping>>,
    samples: Vec<u16>,
}

impl Composer {
    /// Bytes that reading an item for a unit is likely to take: its share of the tile, by their bounding boxes.
    pub(super) fn cost(&self, item: &Item, unit: &Unit) -> u64 {
        let share = unit.area.share_of(item.bbox);
        let pixels = unit.rect.pixels() as f64 * (share + 0.02).min(1.0) * self.cube.source_pixels;
        let pixels = pixels.min(WINDOW_PIXELS as f64);
        let bytes: usize = self.bands.iter().map(|b| self.cube.bands[*b].source_dtype.size()).sum();
        // The bytes of the tiles, at most as many as their pixels have, and four bytes of mapping for each pixel of output.
        (pixels * bytes as f64 + unit.rect.pixels() as f64 * 4.0 * share) as u64
    }

    /// Everything that one item has to give, fetched. `settled` is for each band what no item can change any more.
    pub(super) async fn read_item(
        self: Arc<Self>,
        item: Arc<Item>,
        rect: Rect,
        settled: Arc<Vec<Option<Vec<u8>>>>,
        mut memory: Reservation,
    ) -> ReadItem {
        let assets =
            self.assets.iter().enumerate().filter_map(|(i, key)| Some((i, key, item.assets.get(i)?.as_ref()?)));
        let parts = assets.map(|(i, key, asset)| {
            let (composer, item, settled) = (&self, &item, &settled);
            async move { composer.read_asset(item, i, key, asset, rect, settled).await.map_err(|e| (i, e)) }
        });
        let mut read = Vec::new();
        for part in join_all(parts).await {
            read.extend(part?);
        }
        shrink(&mut memory, read.iter().map(Part::memory).sum());
        Ok(Delivery { parts: read, _memory: memory })
    }

    async fn read_asset(
        self: &Arc<Self>,
        item: &Arc<Item>,
        index: usize,
        key: &str,
        asset: &Asset,
        rect: Rect,
        settled: &Arc<Vec<Option<Vec<u8>>>>,
    ) -> Result<Option<Part>> {
        let (object, opened) = self.cube.open(&item.id, key, asset).await?;
        let source = {
            let (composer, asset, settled) = (self.clone(), asset.clone(), settled.clone());
            self.on_pool(move || composer.source(index, &asset, object, opened, rect, &settled)).await?
        };
        let Some(source) = source else { return Ok(None) };
        let source = Arc::new(source);
        let content = self.read_source(&source).await?;
        let (samples, opened) = (source.samples.clone(), source.opened.clone());
        Ok(Some(Part { asset: index, samples, opened, content }))
    }

    async fn read_source(self: &Arc<Self>, source: &Arc<Source>) -> Result<Content> {
        if let [mapping] = &source.mappings[..] {
            let (reads, bytes) = self.fetch(source, mapping).await?;
            return Ok(Content::Stored(Box::new(Stored { mapping: mapping.clone(), reads, bytes })));
        }
        let mut placed = Vec::with_capacity(source.mappings.len());
        for mapping in source.mappings.clone() {
            let (reads, bytes) = self.fetch(source, &mapping).await?;
            let source = source.clone();
            let place = self.on_pool(move || {
                let raster = assemble(&source.opened, &reads, &bytes, &source.samples, &mapping)?;
                Ok((Arc::new(Mapping::identity(mapping.rect)), raster.on_grid(&mapping)))
            });
            placed.push(place.await?);
        }
        Ok(Content::Rasters(placed))
    }

    async fn fetch(self: &Arc<Self>, source: &Arc<Source>, mapping: &Arc<Mapping>) -> Result<(Reads, Fetched)> {
        let (cache, shared, place) = (self.tiles.clone(), source.clone(), mapping.clone());
        let plan = move || Ok(window::plan(&cache, &shared.opened, shared.level, &shared.samples, &place));
        let reads = self.on_pool(plan).await?;
        let bytes = window::fetch(&source.object, source.opened.id, &reads, &self.flights).await?;
        Ok((reads, bytes))
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
        for (position, (_, band)) in self.with_assets().enumerate().filter(|(_, (asset, _))| *asset == asset_index) {
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
        Ok(Some(Source { object: Arc::new(object), opened, level, mappings, samples }))
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

    /// The bands in the order of the output, each with the position of its asset.
    pub(super) fn with_assets(&self) -> impl Iterator<Item = (usize, &Band)> {
        self.bands.iter().map(|b| {
            let band = &self.cube.bands[*b];
            (self.assets.iter().position(|key| *key == band.asset).unwrap_or(usize::MAX), band)
        })
    }
}
