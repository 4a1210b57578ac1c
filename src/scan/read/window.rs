//! The source window of one COG: which tiles it needs, and the requests that bring them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures::future::try_join_all;

use super::requests::{InFlight, Joined};
use crate::cog::Level;
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::scan::shared::cache::TileCache;
use crate::scan::shared::neighbours::{NeighbourTiles, Row};
use crate::scan::shared::part::Stored;
use crate::scan::shared::state::Shared;
use crate::scan::shared::window::{Fetched, TileSet, TileUse, Wanted, WindowPlan, image, merged};
use crate::store::ByteSource;
use crate::warp::Mapping;

/// Where the tiles of a read may be kept.
#[derive(Clone, Copy)]
pub struct Keep<'a> {
    pub cache: &'a TileCache,
    pub neighbours: Option<&'a Arc<NeighbourTiles>>,
    /// The row of output tiles that the read is for.
    pub row: Row,
    /// Bytes that its tiles may take while they are decoded.
    pub room: u64,
}

impl<'a> Keep<'a> {
    /// In the cache, if anywhere.
    pub fn for_later(cache: &'a TileCache) -> Self {
        Keep { cache, neighbours: None, row: (0, 0), room: u64::MAX }
    }
}

/// A window of `samples` whose tiles are to be fetched, for a row of output tiles. `open` as for [`plan`].
pub fn stored(
    shared: &Shared,
    opened: &Opened,
    level: usize,
    samples: &[u16],
    mapping: &Arc<Mapping>,
    (row, open): (Row, Option<&[bool]>),
) -> Stored {
    let Shared { cache, neighbours, decoding, .. } = shared;
    let keep = Keep { cache, neighbours: neighbours.as_ref(), row, room: decoding.total() };
    let plan = plan(keep, opened, level, samples, mapping, open);
    Stored { mapping: mapping.clone(), plan, bytes: Fetched::default(), shown: None }
}

/// Plans the read of `samples` of a level where `mapping` touches it, with the level's mask if it has one. `open` are the tiles,
/// of those that the mapping knows, that will be decoded; `None` where all of them may be.
pub fn plan(
    keep: Keep,
    opened: &Opened,
    level: usize,
    samples: &[u16],
    mapping: &Mapping,
    open: Option<&[bool]>,
) -> WindowPlan {
    let pixels = opened.level(level);
    let mut sets =
        vec![TileSet { level, mask: false, tiles: touched(pixels, &planes(pixels, samples), mapping, true) }];
    if let Some(mask) = &pixels.mask {
        let own_tiles = (mask.tile_width, mask.tile_height) == (pixels.tile_width, pixels.tile_height);
        sets.push(TileSet { level, mask: true, tiles: touched(mask, &planes(mask, samples), mapping, own_tiles) });
    }
    let Keep { cache, neighbours, row, room } = keep;
    let (mut wanted, mut held) = (Vec::new(), HashMap::new());
    for (s, set) in sets.iter().enumerate() {
        for (t, tile) in set.tiles.iter().enumerate() {
            // What is not stored is neither fetched nor decoded.
            let Some(range) = image(opened, set).tile_range(tile.index) else { continue };
            let key = (opened.id, level as u32, set.mask, tile.index);
            let open = open.zip(tile.place).is_none_or(|(open, place)| open[place]);
            let kept = || cache.get(&key).or_else(|| neighbours.filter(|_| open)?.take(&key));
            if let Some(decoded) = kept() {
                held.insert((s, t), decoded);
            } else {
                wanted.push(Wanted { at: (s, t), range, whole: tile.whole, open });
            }
        }
    }
    let wanted = trimmed(wanted);
    let tiles = sets.iter().map(|s| s.tiles.len()).sum();
    let decoded = tiles as u64 * (pixels.tile_len() * pixels.dtype.size()) as u64;
    let keep_all = neighbours.is_none() && cache.has_room_for(decoded);
    WindowPlan { sets, wanted, held, tiles, cache: cache.clone(), keep_all, neighbours: neighbours.cloned(), row, room }
}

/// Without the tiles that are not open, unless they lie between others of a request: a second one would cost more.
fn trimmed(wanted: Vec<Wanted>) -> Vec<Wanted> {
    if wanted.iter().all(|tile| tile.open) {
        return wanted;
    }
    let kept = merged(&wanted).into_iter().flat_map(|(_, tiles)| {
        let first = tiles.iter().position(|tile| tile.open).unwrap_or(tiles.len());
        let end = tiles.iter().rposition(|tile| tile.open).map_or(first, |last| last + 1);
        tiles[first..end].to_vec()
    });
    kept.cloned().collect()
}

/// The planes of tiles that hold `samples`; a mask may have one for all of them.
fn planes(image: &Level, samples: &[u16]) -> Vec<u16> {
    if image.samples_per_tile() > 1 || image.samples == 1 {
        return vec![0];
    }
    let mut planes = samples.to_vec();
    planes.sort_unstable();
    planes.dedup();
    planes
}

/// The tiles that hold a pixel of the mapping, for each plane. A mask may have tiles of another size than the image, of which
/// the mapping knows nothing: all that lie under its window.
fn touched(level: &Level, planes: &[u16], mapping: &Mapping, own_tiles: bool) -> Vec<TileUse> {
    let (tw, th) = (level.tile_width, level.tile_height);
    let (c0, r0) = (mapping.col / tw, mapping.row / th);
    let across = (mapping.col + mapping.width - 1) / tw - c0 + 1;
    let down = (mapping.row + mapping.height - 1) / th - r0 + 1;
    let mut tiles = Vec::new();
    for plane in planes {
        for i in (0..(across * down) as usize).filter(|i| !own_tiles || mapping.touched[*i]) {
            let (row, col) = (r0 + i as u32 / across, c0 + i as u32 % across);
            let whole = col * tw >= mapping.col
                && row * th >= mapping.row
                && ((col + 1) * tw).min(level.width) <= mapping.col + mapping.width
                && ((row + 1) * th).min(level.height) <= mapping.row + mapping.height;
            let (index, place) = (level.tile_index(*plane, row, col), own_tiles.then_some(i));
            tiles.push(TileUse { row, col, index, place, whole });
        }
    }
    tiles
}

/// Fetches what is planned, or waits for other reads that fetch the same tiles already.
///
/// # Errors
/// What the store says; a tile that ends beyond the end of the file.
pub async fn fetch<S: ByteSource + 'static>(
    object: &Arc<S>,
    cog: u64,
    plan: &WindowPlan,
    in_flight: &InFlight,
) -> Result<Fetched> {
    let (mut own, mut coming, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for tile in &plan.wanted {
        match in_flight.join(&(cog, tile.range.start)) {
            Some(Joined::Here(bytes)) => found.push((tile, bytes)),
            Some(Joined::Coming(request)) => coming.push((tile, request)),
            None => own.push(tile.clone()),
        }
    }
    for (range, members) in merged(&own) {
        let tiles = members.iter().map(|tile| tile.range.clone()).collect();
        let is_open = |start| members.iter().any(|tile| tile.range.start == start && !tile.whole);
        let request = in_flight.start(object, cog, range, tiles, is_open);
        coming.extend(members.into_iter().map(|tile| (tile, request.clone())));
    }
    let (wanted, requests): (Vec<_>, Vec<_>) = coming.into_iter().unzip();
    let answers = try_join_all(requests).await?;
    for (tile, answer) in wanted.into_iter().zip(answers) {
        found.push((tile, answer.get(&tile.range.start).cloned().unwrap_or_default()));
    }
    let mut tiles = HashMap::new();
    for (tile, bytes) in found {
        let Range { start, end } = tile.range;
        if (bytes.len() as u64) < end - start {
            return Err(Error::Corrupt(format!(
                "the file is truncated: a tile lies at bytes {start}-{end}, beyond its end"
            )));
        }
        tiles.insert(tile.at, bytes);
    }
    Ok(Fetched::new(tiles))
}
