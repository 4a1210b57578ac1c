//! The source window of one COG, as data: which tiles it needs, and their bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::cache::{Decoded, TileCache};
use super::neighbours::{NeighbourTiles, Row};
use crate::buffers::SCRATCH;
use crate::cog::Level;
use crate::cog::opened::Opened;
use crate::store::merge_ranges;

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
pub struct Wanted {
    /// Its position in the sets, and in the set's tiles.
    pub at: (usize, usize),
    /// Its bytes in the file.
    pub range: Range<u64>,
    /// As [`TileUse::whole`].
    pub whole: bool,
    /// A pixel is taken from it; else it only lies between others.
    pub open: bool,
}

/// The tiles of one window: which it needs, which of them are to be fetched, and where decoded ones are kept.
#[derive(Debug)]
pub struct WindowPlan {
    pub sets: Vec<TileSet>,
    pub wanted: Vec<Wanted>,
    /// Tiles that the cache had, by the same positions.
    pub held: HashMap<(usize, usize), Arc<Decoded>>,
    /// Tiles that the window needs, stored or not.
    pub tiles: usize,
    /// Where decoded tiles are kept for later queries; all of them, if none are kept for neighbours and the window is small.
    pub cache: TileCache,
    pub keep_all: bool,
    /// Where those that the window uses in part are kept for other windows of the scan instead.
    pub neighbours: Option<Arc<NeighbourTiles>>,
    pub row: Row,
    /// Bytes that tiles may take while they are decoded.
    pub room: u64,
}

impl WindowPlan {
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

    /// Tiles of which a pixel is taken, where `open` are those of the mapping that give one.
    pub fn open_tiles(&self, open: Option<&[bool]>) -> usize {
        let is_open = |tile: &&TileUse| open.zip(tile.place).is_none_or(|(open, place)| open[place]);
        self.sets.iter().map(|set| set.tiles.iter().filter(is_open).count()).sum()
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
pub fn merged(wanted: &[Wanted]) -> Vec<(Range<u64>, Vec<&Wanted>)> {
    let ranges: Vec<_> = wanted.iter().map(|w| w.range.clone()).collect();
    let requests = merge_ranges(&ranges).into_iter();
    requests.map(|(range, members)| (range, members.into_iter().map(|m| &wanted[m]).collect())).collect()
}

/// The image that a set's tiles belong to.
pub fn image<'a>(opened: &'a Opened, set: &TileSet) -> &'a Level {
    let level = opened.level(set.level);
    match (&level.mask, set.mask) {
        (Some(mask), true) => mask,
        _ => level,
    }
}

/// The compressed bytes of the tiles that were to be fetched.
#[derive(Default)]
pub struct Fetched {
    /// By position in the sets. Reads that begin later find them as long as they are here.
    tiles: HashMap<(usize, usize), Arc<Bytes>>,
}

impl Fetched {
    pub fn new(tiles: HashMap<(usize, usize), Arc<Bytes>>) -> Fetched {
        Fetched { tiles }
    }

    pub fn tile(&self, at: (usize, usize)) -> Option<&Bytes> {
        self.tiles.get(&at).map(Arc::as_ref)
    }
}
