//! The source window of one COG: which tiles it needs, and their bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;

use crate::buffers::SCRATCH;
use crate::cog::Level;
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::scan::read::requests::{Flights, Joined};
use crate::scan::shared::cache::{Decoded, TileCache};
use crate::scan::shared::neighbours::{Larder, Row};
use crate::store::{ByteSource, merge_ranges};
use crate::warp::Mapping;

/// The tiles of one image (a level, or its mask) that a mapping touches.
#[derive(Debug)]
pub struct TileSet {
    pub level: usize,
    pub mask: bool,
    pub tiles: Vec<TileUse>,
}

/// A tile that a window takes pixels of.
#[derive(Debug, Clone, Copy)]
pub struct TileUse {
    pub row: u32,
    pub col: u32,
    /// In the file.
    pub index: usize,
    /// Among the tiles that the mapping knows; `None` for a mask with tiles of another size.
    pub place: Option<usize>,
    /// Every pixel of it is in the window: no other output tile of the same item needs it.
    pub whole: bool,
}

/// A stored tile to fetch.
#[derive(Debug, Clone)]
struct Wanted {
    /// Its position in the sets, and in the set's tiles.
    at: (usize, usize),
    /// Its bytes in the file.
    range: Range<u64>,
    whole: bool,
    /// A pixel is taken from it; else it only lies between others.
    open: bool,
}

/// What the read of one window takes from the store.
#[derive(Debug)]
pub struct Reads {
    pub sets: Vec<TileSet>,
    wanted: Vec<Wanted>,
    /// Tiles that the cache had, by the same positions.
    pub held: HashMap<(usize, usize), Arc<Decoded>>,
    /// Tiles that the window needs, stored or not.
    pub tiles: usize,
    /// Where decoded tiles are kept for later queries; all of them, if there is no larder and the window is small.
    pub cache: TileCache,
    pub keep_all: bool,
    /// Where those that the window uses in part are kept for other windows of the scan instead.
    pub larder: Option<Arc<Larder>>,
    pub row: Row,
    /// Bytes that tiles may take while they are decoded.
    room: u64,
}

impl Reads {
    /// How many tiles of an image may be decoded at once.
    pub fn at_once(&self, image: &Level) -> usize {
        usize::try_from(self.room / image.decoding_memory().max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Bytes that decoding takes while it goes on; none where tiles are so small that the buffers of the threads will do.
    pub fn decoding(&self, opened: &Opened) -> u64 {
        let of_set = |set: &TileSet| {
            let image = image(opened, set);
            let bytes = image.decoding_memory();
            let count = self.at_once(image).min(set.tiles.len()) as u64;
            if bytes > SCRATCH as u64 { count.saturating_mul(bytes) } else { 0 }
        };
        self.sets.iter().map(of_set).max().unwrap_or(0)
    }

    /// Tiles that need no read, since they are decoded already.
    pub fn cached(&self) -> usize {
        self.held.len()
    }

    /// Where the tiles that are to be fetched lie in the file.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.wanted.iter().map(|tile| tile.range.clone())
    }

    /// Requests and bytes that fetching takes where no other read shares them.
    pub fn cost(&self) -> (u64, u64) {
        let requests = merged(&self.wanted);
        (requests.len() as u64, requests.iter().map(|(range, _)| range.end - range.start).sum())
    }
}

/// Requests for tiles, and the tiles that each brings.
fn merged(wanted: &[Wanted]) -> Vec<(Range<u64>, Vec<&Wanted>)> {
    let ranges: Vec<_> = wanted.iter().map(|w| w.range.clone()).collect();
    let requests = merge_ranges(&ranges).into_iter();
    requests.map(|(range, members)| (range, members.into_iter().map(|m| &wanted[m]).collect())).collect()
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

/// The image that a set's tiles belong to.
pub fn image<'a>(opened: &'a Opened, set: &TileSet) -> &'a Level {
    let level = opened.level(set.level);
    match (&level.mask, set.mask) {
        (Some(mask), true) => mask,
        _ => level,
    }
}

/// Where the tiles of a read may be kept.
#[derive(Clone, Copy)]
pub struct Keep<'a> {
    pub cache: &'a TileCache,
    pub larder: Option<&'a Arc<Larder>>,
    /// The row of output tiles that the read is for.
    pub row: Row,
    /// Bytes that its tiles may take while they are decoded.
    pub room: u64,
}

impl<'a> Keep<'a> {
    /// In the cache, if anywhere.
    pub fn for_later(cache: &'a TileCache) -> Self {
        Keep { cache, larder: None, row: (0, 0), room: u64::MAX }
    }
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
) -> Reads {
    let pixels = opened.level(level);
    let mut sets =
        vec![TileSet { level, mask: false, tiles: touched(pixels, &planes(pixels, samples), mapping, true) }];
    if let Some(mask) = &pixels.mask {
        let own_tiles = (mask.tile_width, mask.tile_height) == (pixels.tile_width, pixels.tile_height);
        sets.push(TileSet { level, mask: true, tiles: touched(mask, &planes(mask, samples), mapping, own_tiles) });
    }
    let Keep { cache, larder, row, room } = keep;
    let (mut wanted, mut held) = (Vec::new(), HashMap::new());
    for (s, set) in sets.iter().enumerate() {
        for (t, tile) in set.tiles.iter().enumerate() {
            // What is not stored is neither fetched nor decoded.
            let Some(range) = image(opened, set).tile_range(tile.index) else { continue };
            let key = (opened.id, level as u32, set.mask, tile.index);
            let open = open.zip(tile.place).is_none_or(|(open, place)| open[place]);
            let kept = || cache.get(&key).or_else(|| larder.filter(|_| open)?.take(&key));
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
    let keep_all = larder.is_none() && cache.has_room_for(decoded);
    Reads { sets, wanted, held, tiles, cache: cache.clone(), keep_all, larder: larder.cloned(), row, room }
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

/// The compressed bytes of a planned read.
#[derive(Default)]
pub struct Fetched {
    /// By position in the sets. Who joins later finds them as long as they are here.
    tiles: HashMap<(usize, usize), Arc<Bytes>>,
}

impl Fetched {
    pub fn tile(&self, at: (usize, usize)) -> Option<&Bytes> {
        self.tiles.get(&at).map(Arc::as_ref)
    }
}

/// Fetches what is planned, or waits for other reads that fetch the same tiles already.
///
/// # Errors
/// What the store says; a tile that ends beyond the end of the file.
pub async fn fetch<S: ByteSource + 'static>(
    object: &Arc<S>,
    cog: u64,
    reads: &Reads,
    flights: &Flights,
) -> Result<Fetched> {
    let (mut own, mut coming, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for tile in &reads.wanted {
        match flights.join(&(cog, tile.range.start)) {
            Some(Joined::Here(bytes)) => found.push((tile, bytes)),
            Some(Joined::Coming(flight)) => coming.push((tile, flight)),
            None => own.push(tile.clone()),
        }
    }
    for (range, members) in merged(&own) {
        let tiles = members.iter().map(|tile| tile.range.clone()).collect();
        let is_open = |start| members.iter().any(|tile| tile.range.start == start && !tile.whole);
        let flight = flights.start(object, cog, range, tiles, is_open);
        coming.extend(members.into_iter().map(|tile| (tile, flight.clone())));
    }
    let (wanted, flights): (Vec<_>, Vec<_>) = coming.into_iter().unzip();
    let answers = try_join_all(flights).await?;
    for (tile, landed) in wanted.into_iter().zip(answers) {
        found.push((tile, landed.get(&tile.range.start).cloned().unwrap_or_default()));
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
    Ok(Fetched { tiles })
}
