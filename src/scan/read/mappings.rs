//! Which pixels of one COG an output tile takes, kept for other files of the same geometry.

use std::sync::Arc;

use moka::sync::Cache;

use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::Asset;
use crate::plan::{Band, Cube, Geometry};
use crate::scan::shared::state::Shared;
use crate::warp::{self, Kernel, Mapping};

/// The mappings of a scan.
pub struct Mappings {
    known: Cache<(Rect, Geometry, Kernel), Option<Arc<Mapping>>>,
    /// A window of more pixels is read in parts, one after the other: a source without overviews may be a thousand times finer
    /// than the output.
    pub window_pixels: u64,
}

/// The largest window, where the budget allows it: 16 million pixels for the 256 MB that it is by default.
const WINDOW_PIXELS: u64 = 16 << 20;
const LEAST_WINDOW_PIXELS: u64 = 1 << 16;
const BUDGET_PER_PIXEL: u64 = 15;

/// What an output tile takes of one COG.
pub struct Source {
    pub level: usize,
    pub geometry: warp::Source,
    /// More than one where the window is read in parts.
    pub mappings: Vec<Arc<Mapping>>,
    /// Of the tiles that a single mapping knows, those that can add a pixel; `None` for all of them.
    pub open: Option<Vec<bool>>,
    pub samples: Vec<u16>,
}

impl Mappings {
    /// `budget` is that of the query, of which an eighth is for mappings.
    pub fn new(budget: u64) -> Mappings {
        let weigh = |_: &_, mapping: &Option<Arc<Mapping>>| {
            u32::try_from(256 + mapping.as_ref().map_or(0, |mapping| mapping.memory())).unwrap_or(u32::MAX)
        };
        Mappings {
            known: Cache::builder().max_capacity(budget / 8).weigher(weigh).build(),
            window_pixels: (budget / BUDGET_PER_PIXEL).clamp(LEAST_WINDOW_PIXELS, WINDOW_PIXELS),
        }
    }

    /// Whether [`Mappings::source`] has no transformation to make.
    pub fn has(&self, cube: &Cube, rect: Rect, opened: &Opened, kernel: Kernel) -> Result<bool> {
        if !cube.levels.knows(opened) {
            return Ok(false);
        }
        let (_, geometry) = cube.levels.choose(opened)?;
        Ok(geometry.is_parallel_to(cube.crs()) || self.known.contains_key(&(rect, Geometry::of(&geometry), kernel)))
    }

    /// What `rect` takes of the COG of an asset, whose position is `index`, for the bands that are sampled with a kernel; `None` if
    /// it cannot add a pixel. `settled` is for each band what no item can change any more.
    pub fn source(
        &self,
        shared: &Shared,
        (index, asset, kernel): (usize, &Asset, Kernel),
        opened: &Opened,
        rect: Rect,
        settled: &[Option<Vec<u8>>],
    ) -> Result<Option<Source>> {
        let cube = &shared.cube;
        let mut samples = Vec::new();
        let mut positions = Vec::new();
        let (level, geometry) = cube.levels.choose(opened)?;
        cube.check_tiles(opened.level(level))?;
        let Some(mapping) = self.mapping(cube, rect, &geometry, kernel)? else { return Ok(None) };
        let takes = |(asset, band): &(usize, &Band)| *asset == index && band.kernel == kernel;
        for (position, (_, band)) in shared.with_assets().enumerate().filter(|(_, band)| takes(band)) {
            cube.check_source(band, opened, asset)?;
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
        let mappings = self.split(cube, mapping, &geometry, (kernel, self.window_pixels))?;
        Ok(Some(Source { level, geometry, mappings, open, samples }))
    }

    fn mapping(&self, cube: &Cube, rect: Rect, source: &warp::Source, kernel: Kernel) -> Result<Option<Arc<Mapping>>> {
        let make = || Ok(Mapping::new(&cube.request.grid, cube.crs(), rect, source, kernel)?.map(Arc::new));
        self.known.try_get_with((rect, Geometry::of(source), kernel), make).map_err(|e: Arc<Error>| (*e).clone())
    }

    /// Cuts a mapping whose window has more pixels than `most` into parts whose windows have not.
    pub fn split(
        &self,
        cube: &Cube,
        mapping: Arc<Mapping>,
        source: &warp::Source,
        (kernel, most): (Kernel, u64),
    ) -> Result<Vec<Arc<Mapping>>> {
        let Rect { col, row, width, height } = mapping.rect;
        if mapping.window_pixels() <= most || width * height == 1 {
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
            if let Some(part) = Mapping::new(&cube.request.grid, cube.crs(), rect, source, kernel)? {
                parts.extend(self.split(cube, Arc::new(part), source, (kernel, most))?);
            }
        }
        Ok(parts)
    }
}
