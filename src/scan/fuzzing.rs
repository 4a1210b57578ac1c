//! What fuzz targets (`fuzz/`) see of this room: one read of one file that is in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;

use super::compose::decode::decode;
use super::compose::on_grid::placed;
use super::read::requests::InFlight;
use super::read::window::{self, Keep};
use super::shared::cache::TileCache;
use super::shared::part::Stored;
use crate::cog::Cog;
use crate::cog::opened::{self, Opened};
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::store::Version;
use crate::warp::{Kernel, Mapping, Source};

/// Maps `grid` to `level` of `cog`, as if that lay in the CRS `source`, and plans the read; how many tiles it would take.
///
/// # Errors
/// A file that lies nowhere on the Earth.
pub fn map_window(cog: Cog, level: usize, (grid, crs): (&Grid, &Crs), source: &Crs) -> Result<usize> {
    let opened = opened::place(cog, None, Version::default())?;
    let source = Source { crs: source.clone(), ..source_of(&opened, level) };
    let Some(mapping) = Mapping::new(grid, crs, grid.rect(), &source, Kernel::Nearest)? else { return Ok(0) };
    let samples = [0, opened.cog.samples - 1];
    Ok(window::plan(Keep::for_later(&TileCache::shared(0)), &opened, level, &samples, &mapping, None).tiles)
}

fn source_of(opened: &Opened, level: usize) -> Source {
    let pixels = opened.level(level);
    Source {
        crs: opened.crs.clone(),
        transform: opened.level_transform(level),
        width: pixels.width,
        height: pixels.height,
        tile: (pixels.tile_width, pixels.tile_height),
    }
}

/// Reads the window of `cog` that `grid`, in the CRS of the file, takes from `level`; the number of its pixels. A window of
/// more than `most` pixels is left alone.
///
/// # Errors
/// A file that lies nowhere on the Earth; tiles that do not decode.
pub fn read_window(file: &Bytes, cog: Cog, level: usize, grid: &Grid, most: u64) -> Result<u64> {
    let opened = opened::place(cog, None, Version::default())?;
    let source = source_of(&opened, level);
    let Some(mapping) = Mapping::new(grid, &opened.crs, grid.rect(), &source, Kernel::Nearest)? else { return Ok(0) };
    if mapping.window_pixels() > most {
        return Ok(0);
    }
    let samples = [0, opened.cog.samples - 1];
    let pixels = mapping.window_pixels();
    let plan = window::plan(Keep::for_later(&TileCache::shared(0)), &opened, level, &samples, &mapping, None);
    let bytes = block_on(window::fetch(&Arc::new(file.clone()), opened.id, &plan, &InFlight::default()))?;
    let stored = Stored { mapping: Arc::new(mapping), plan, bytes, shown: None };
    let raster = decode(&opened, &stored, &samples, None)?;
    if raster.samples.iter().any(|plane| plane.len() as u64 != pixels) {
        return Err(Error::Corrupt(format!("internal error: a window of {pixels} pixels lacks some")));
    }
    placed(raster, &stored.mapping);
    Ok(pixels)
}
