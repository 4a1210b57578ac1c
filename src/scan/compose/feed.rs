//! Brings what one item gives to the layers of an output tile. Runs on the compute threads.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::buffers;
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::plan::{Band, Cube};
use crate::request::OnError;
use crate::scan::compose::decode::{Lent, Raster, Tiles, assemble};
use crate::scan::compose::layer::{Layer, Patch};
use crate::scan::read::window::{Fetched, Reads};
use crate::warp::{Kind, Mapping, runs};

/// What one asset of one item gives to one output tile.
pub struct Part {
    /// Position among the assets of the scan.
    pub asset: usize,
    pub samples: Vec<u16>,
    pub opened: Arc<Opened>,
    pub content: Content,
}

pub enum Content {
    Stored(Box<Stored>),
    /// Decoded pixels of windows.
    Rasters(Vec<(Arc<Mapping>, Raster)>),
}

/// The bytes of the tiles under a mapping's window.
pub struct Stored {
    pub mapping: Arc<Mapping>,
    pub reads: Reads,
    pub bytes: Fetched,
}

impl Content {
    /// Bytes that decoding takes while it goes on, beside what the decoded pixels take.
    pub fn decoding(&self, opened: &Opened) -> u64 {
        match self {
            Content::Stored(stored) => stored.reads.decoding(opened),
            Content::Rasters(_) => 0,
        }
    }
}

/// Bytes of a decoded window, as far as they are counted while it waits: small ones are scratch of the thread that decodes.
pub fn counted_window(bytes: u64) -> u64 {
    const SMALL: u64 = 8 << 20;
    if bytes > SMALL { bytes } else { 0 }
}

impl Part {
    /// Bytes that it takes while it waits, and while it is fed.
    pub fn memory(&self) -> u64 {
        match &self.content {
            Content::Stored(stored) => {
                let (mapping, bytes) = (&stored.mapping, stored.reads.cost().1);
                if self.straight().is_some() {
                    return bytes;
                }
                let pixel = self.samples.len() * self.opened.cog.dtype.size();
                let places = if matches!(mapping.kind, Kind::Scattered { .. }) { mapping.rect.pixels() * 4 } else { 0 };
                bytes + counted_window(mapping.window_pixels() * pixel as u64) + places as u64
            }
            Content::Rasters(rasters) => rasters.iter().map(|(_, raster)| raster.memory()).sum(),
        }
    }

    /// The tiles, and the columns and rows they go to, where they need no window: without a mask, one sample by itself, on
    /// a grid parallel to the source's.
    fn straight(&self) -> Option<(&Stored, &[u32], &[u32])> {
        let Content::Stored(stored) = &self.content else { return None };
        let Kind::Aligned { cols, rows } = &stored.mapping.kind else { return None };
        let sets = &stored.reads.sets;
        let alone = self.opened.level(sets[0].level).samples_per_tile() == 1;
        (alone && sets.len() == 1 && self.samples.len() == 1).then_some((&**stored, cols, rows))
    }

    /// `open` as for [`Part::open`].
    fn decoded(self, open: Option<&[bool]>) -> Result<Part> {
        let content = match self.content {
            Content::Stored(stored) => {
                let Stored { mapping, reads, bytes } = *stored;
                let raster = assemble(&self.opened, &reads, &bytes, &self.samples, &mapping, open)?;
                Content::Rasters(vec![(mapping, raster)])
            }
            decoded => decoded,
        };
        Ok(Part { content, ..self })
    }

    /// Those of its tiles that can still add a pixel to `layers`; `None` where all of them may.
    fn open<'l>(&self, rect: Rect, layers: impl Iterator<Item = &'l Layer>) -> Option<Vec<bool>> {
        let Content::Stored(stored) = &self.content else { return None };
        let level = self.opened.level(stored.reads.sets[0].level);
        stored.mapping.open_in_any(rect, (level.tile_width, level.tile_height), layers.map(Layer::settled))
    }
}

/// The bands that take their pixels from one asset, and their layers.
struct Takers<'a> {
    cube: &'a Cube,
    rect: Rect,
    asset: &'a Asset,
    layers: Vec<(&'a Band, &'a mut Layer)>,
    /// As for [`Part::open`].
    open: Option<Vec<bool>>,
}

/// Feeds `parts`, one for each asset at most, to the `layers` of the tile at `rect`. `bands` are those of the layers, each
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
    let with_takers = parts.into_iter().filter_map(|part| {
        let asset = item.assets.get(part.asset)?.as_ref()?;
        Some((part, Takers { cube, rect, asset, layers: Vec::new(), open: None }))
    });
    let mut fed: Vec<(Part, Takers)> = with_takers.collect();
    for ((asset, band), layer) in bands.iter().zip(layers) {
        if let Some((_, takers)) = fed.iter_mut().find(|(part, _)| part.asset == *asset) {
            takers.layers.push((*band, layer));
        }
    }
    for (part, takers) in &mut fed {
        takers.open = part.open(rect, takers.layers.iter().map(|(_, layer)| &**layer));
    }
    if cube.request.errors == OnError::Ignore {
        let decoded = fed.into_par_iter().map(|(part, takers)| {
            let asset = part.asset;
            let part = part.decoded(takers.open.as_deref()).map_err(|e| (asset, e))?;
            Ok((part, takers))
        });
        fed = decoded.collect::<Vec<_>>().into_iter().collect::<Result<_, _>>()?;
    }
    let take = |(part, takers): (Part, Takers)| {
        let position = part.asset;
        takers.take(part).map_err(|e| (position, e))
    };
    // Whole windows one after the other: the tiles of one keep all threads at work, and more of them would be more memory.
    let (straight, windows): (Vec<_>, Vec<_>) = fed.into_iter().partition(|(part, _)| part.straight().is_some());
    straight.into_par_iter().map(take).collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()?;
    windows.into_iter().try_for_each(take)
}

impl Takers<'_> {
    fn take(mut self, part: Part) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| !open.contains(&true)) {
            return Ok(());
        }
        if let Some((stored, cols, rows)) = part.straight() {
            return self.take_tiles(&part.opened, stored, cols, rows);
        }
        let part = part.decoded(self.open.as_deref())?;
        if let Content::Rasters(rasters) = part.content {
            for (mapping, raster) in rasters {
                self.take_raster(&mapping, &part.opened, &part.samples, raster);
            }
        }
        Ok(())
    }

    fn take_tiles(self, opened: &Opened, stored: &Stored, cols: &[u32], rows: &[u32]) -> Result<()> {
        let mapping = &stored.mapping;
        let Takers { cube, rect, asset, layers, open } = self;
        let tiles = Tiles::new(opened, &stored.reads, &stored.bytes, 0, open.as_deref());
        let (tw, th) = (tiles.level.tile_width, tiles.level.tile_height);
        let (cols, rows) = (runs(cols, mapping.col, tw), runs(rows, mapping.row, th));
        let layers = Mutex::new(layers);
        tiles.each(|tile, Lent { pixels, width }| {
            let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, rows) in rows.iter().filter(|(at, _)| *at == tile.row) {
                for (_, cols) in cols.iter().filter(|(at, _)| *at == tile.col) {
                    let (rows, cols, first) = (rows.clone(), cols.clone(), (tile.col * tw, tile.row * th));
                    let patch = Patch { rect, mapping, rows, cols, pixels, mask: None, first, width };
                    for (band, layer) in layers.iter_mut() {
                        layer.feed(&patch, cube.meaning(band, opened, asset));
                    }
                }
            }
            Ok(())
        })
    }

    fn take_raster(&mut self, mapping: &Mapping, opened: &Opened, samples: &[u16], raster: Raster) {
        let place_of = |sample: u16| samples.iter().position(|s| *s == sample);
        let alpha = self.layers.iter().find_map(|(band, _)| opened.cog.alpha_for(band.sample));
        let opaque = alpha.and_then(place_of).map(|at| raster.opaque(at));
        for (band, layer) in &mut self.layers {
            let Some(at) = place_of(band.sample) else { continue };
            let alpha = opaque.as_deref().filter(|_| opened.cog.alpha_for(band.sample).is_some());
            let mask = alpha.or_else(|| raster.mask_of(at));
            let meaning = self.cube.meaning(band, opened, self.asset);
            layer.feed(&Patch::whole(self.rect, mapping, &raster.samples[at], mask), meaning);
        }
        raster.samples.into_iter().for_each(buffers::give);
    }
}
