//! Brings what one item gives to the layers of an output tile. Runs on the compute threads.

use std::sync::Mutex;

use rayon::prelude::*;

use super::decode::{Lent, Tiles, decode};
use super::layer::{Layer, Patch};
use crate::buffers;
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::mutex::lock;
use crate::plan::{Band, Cube, Meaning};
use crate::request::OnError;
use crate::scan::shared::part::{Content, Part, Stored};
use crate::scan::shared::raster::Raster;
use crate::scan::shared::screen::Screen;
use crate::warp::{Mapping, runs};

/// The bands that take their pixels from one asset, and their layers.
struct AssetLayers<'a> {
    cube: &'a Cube,
    rect: Rect,
    asset: &'a Asset,
    layers: Vec<(&'a Band, &'a mut Layer)>,
    /// As for [`open_tiles`].
    open: Option<Vec<bool>>,
}

/// Feeds `parts`, one for each asset and kernel at most, to the `layers` of the tile at `rect`. `bands` are those of the layers, each
/// with the position of its asset.
///
/// # Errors
/// The position of the first asset whose tiles do not decode, and why. Where the call ignores errors, nothing was fed then:
/// bands that come from different items are worse than a missing item.
pub fn feed(
    cube: &Cube,
    rect: Rect,
    item: &Item,
    parts: Vec<Part>,
    bands: &[(usize, &Band)],
    layers: &mut [Layer],
) -> Result<(), (usize, Error)> {
    let with_layers = parts.into_iter().filter_map(|part| {
        let asset = item.assets.get(part.asset)?.as_ref()?;
        Some((part, AssetLayers { cube, rect, asset, layers: Vec::new(), open: None }))
    });
    let mut fed: Vec<(Part, AssetLayers)> = with_layers.collect();
    for ((asset, band), layer) in bands.iter().zip(layers) {
        let gives = |part: &Part| part.asset == *asset && part.kernel == band.kernel;
        if let Some((_, own)) = fed.iter_mut().find(|(part, _)| gives(part)) {
            own.layers.push((*band, layer));
        }
    }
    for (part, own) in &mut fed {
        own.open = open_tiles(part, rect, own.layers.iter().map(|(_, layer)| &**layer));
    }
    if cube.request.errors == OnError::Ignore {
        let decoded = fed.into_par_iter().map(|(part, own)| {
            let asset = part.asset;
            let part = decoded(part, own.open.as_deref()).map_err(|e| (asset, e))?;
            Ok((part, own))
        });
        fed = decoded.collect::<Vec<_>>().into_iter().collect::<Result<_, _>>()?;
    }
    let take = |(part, own): (Part, AssetLayers)| {
        let position = part.asset;
        own.take(part).map_err(|e| (position, e))
    };
    // Whole windows one after the other: the tiles of one keep all threads at work, and more of them would be more memory.
    let (straight, windows): (Vec<_>, Vec<_>) = fed.into_iter().partition(|(part, _)| part.straight().is_some());
    straight.into_par_iter().map(take).collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()?;
    windows.into_iter().try_for_each(take)
}

/// `open` as for [`open_tiles`].
fn decoded(part: Part, open: Option<&[bool]>) -> Result<Part> {
    let content = match part.content {
        Content::Stored(stored) => {
            let mut raster = decode(&part.opened, &stored, &part.samples, open)?;
            if let Some(screen) = stored.screen() {
                raster.hide(&screen.visible);
            }
            Content::Decoded(vec![(stored.mapping.clone(), raster)])
        }
        decoded => decoded,
    };
    Ok(Part { content, ..part })
}

/// Those of the tiles of a part that can still add a pixel to `layers`; `None` where all of them may.
fn open_tiles<'l>(part: &Part, rect: Rect, layers: impl Iterator<Item = &'l Layer>) -> Option<Vec<bool>> {
    let Content::Stored(stored) = &part.content else { return None };
    let level = part.opened.level(stored.plan.sets[0].level);
    let tile = (level.tile_width, level.tile_height);
    let open = stored.mapping.open_in_any(rect, tile, layers.map(Layer::settled));
    match (open, stored.tiles_shown()) {
        (Some(open), Some(shown)) => Some(open.iter().zip(shown).map(|(open, shown)| *open && *shown).collect()),
        (open, shown) => open.or(shown.map(<[bool]>::to_vec)),
    }
}

impl AssetLayers<'_> {
    fn take(mut self, part: Part) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| !open.contains(&true)) {
            return Ok(());
        }
        if let Some((stored, cols, rows)) = part.straight() {
            return self.take_tiles(&part.opened, stored, cols, rows);
        }
        let part = decoded(part, self.open.as_deref())?;
        let mut part = part;
        if let Content::Decoded(rasters) = std::mem::replace(&mut part.content, Content::Decoded(Vec::new())) {
            for (mapping, raster) in rasters {
                self.take_raster(&mapping, &part, raster);
            }
        }
        Ok(())
    }

    fn take_tiles(self, opened: &Opened, stored: &Stored, cols: &[u32], rows: &[u32]) -> Result<()> {
        let mapping = &stored.mapping;
        let AssetLayers { cube, rect, asset, layers, open } = self;
        let tiles = Tiles::new(opened, &stored.plan, &stored.bytes, 0, open.as_deref());
        let (tw, th) = (tiles.level.tile_width, tiles.level.tile_height);
        let (cols, rows) = (runs(cols, mapping.col, tw), runs(rows, mapping.row, th));
        let layers = Mutex::new(layers);
        tiles.each(|tile, Lent { pixels, width }| {
            let mut layers = lock(&layers);
            for (_, rows) in rows.iter().filter(|(at, _)| *at == tile.row) {
                for (_, cols) in cols.iter().filter(|(at, _)| *at == tile.col) {
                    let (rows, cols, first) = (rows.clone(), cols.clone(), (tile.col * tw, tile.row * th));
                    let mask = stored.screen().map(Screen::mask);
                    let patch = Patch { rect, mapping, rows, cols, pixels, mask, first, width, sampled: false };
                    for (band, layer) in layers.iter_mut() {
                        layer.feed(&patch, cube.meaning(band.sample, opened, asset));
                    }
                }
            }
            Ok(())
        })
    }

    fn take_raster(&mut self, mapping: &Mapping, part: &Part, raster: Raster) {
        let (Part { opened, samples, .. }, sampled) = (part, raster.sampled);
        // What a kernel has made has no alpha band any more.
        let opaque = if sampled { None } else { raster.opaque_for(opened, samples) };
        for (band, layer) in &mut self.layers {
            let Some(at) = samples.iter().position(|s| *s == band.sample) else { continue };
            let alpha = opaque.as_deref().filter(|_| opened.cog.alpha_for(band.sample).is_some());
            let mask = alpha.or_else(|| raster.mask_of(at));
            let meaning = match sampled {
                true => Meaning { nodata: None, scale: None },
                false => self.cube.meaning(band.sample, opened, self.asset),
            };
            let whole = Patch::whole(self.rect, mapping, &raster.samples[at], mask);
            layer.feed(&Patch { sampled, ..whole }, meaning);
        }
        raster.samples.into_iter().for_each(buffers::give);
    }
}
