//! The source window of one COG: which tiles it needs, their bytes, their pixels.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use rayon::prelude::*;

use super::tiles::TileCache;
use crate::buffers;
use crate::cog::opened::Opened;
use crate::cog::{Level, Nodata, decode_tile, fill_sparse};
use crate::error::{Error, Result};
use crate::pixels::{Pixel, Pixels};
use crate::store::counters::{COUNTERS, add};
use crate::store::{ByteSource, Object, merge_ranges};
use crate::warp::{Mapping, Sampler, Window};
use crate::with_type;

/// The tiles of one image (a level, or its mask) that a mapping touches.
#[derive(Debug)]
pub struct TileSet {
    level: usize,
    mask: bool,
    /// For each: tile row, tile column, index in the file, whether every pixel of it is in the window.
    tiles: Vec<(u32, u32, usize, bool)>,
}

/// A stored tile to fetch: its position in the sets and in the set's tiles, and its bytes in the file.
type Wanted = (usize, usize, Range<u64>);

/// What the read of one window takes from the store.
#[derive(Debug)]
pub struct Reads {
    pub sets: Vec<TileSet>,
    /// Requests and the tiles that each brings.
    pub requests: Vec<(Range<u64>, Vec<Wanted>)>,
    /// Tiles that the cache had, by the same positions.
    held: HashMap<(usize, usize), Arc<Pixels>>,
    /// Tiles that the window needs, stored or not.
    pub tiles: usize,
    /// Where decoded tiles are kept, and whether all of them are or only those that the window uses in part.
    cache: TileCache,
    keep_all: bool,
}

impl Reads {
    /// Tiles that need no read, since they are decoded already.
    pub fn cached(&self) -> usize {
        self.held.len()
    }

    pub fn bytes(&self) -> u64 {
        self.requests.iter().map(|(range, _)| range.end - range.start).sum()
    }
}

fn image<'a>(opened: &'a Opened, set: &TileSet) -> &'a Level {
    let level = opened.level(set.level);
    match (&level.mask, set.mask) {
        (Some(mask), true) => mask,
        _ => level,
    }
}

/// Plans the read of `samples` of a level where `mapping` touches it, with the level's mask if it has one.
pub fn plan(cache: &TileCache, opened: &Opened, level: usize, samples: &[u16], mapping: &Mapping) -> Reads {
    let pixels = opened.level(level);
    let mut planes: Vec<u16> = if pixels.samples_per_tile() > 1 { vec![0] } else { samples.to_vec() };
    planes.sort_unstable();
    planes.dedup();
    let mut sets = vec![TileSet { level, mask: false, tiles: touched(pixels, &planes, mapping, true) }];
    if let Some(mask) = &pixels.mask {
        let own_tiles = (mask.tile_width, mask.tile_height) == (pixels.tile_width, pixels.tile_height);
        sets.push(TileSet { level, mask: true, tiles: touched(mask, &[0], mapping, own_tiles) });
    }
    let (mut wanted, mut ranges, mut held) = (Vec::new(), Vec::new(), HashMap::new());
    for (s, set) in sets.iter().enumerate() {
        for (t, (_, _, index, _)) in set.tiles.iter().enumerate() {
            if let Some(tile) = cache.get(&(opened.id, level as u32, set.mask, *index)) {
                held.insert((s, t), tile);
            } else if let Some(range) = image(opened, set).tile_range(*index) {
                wanted.push((s, t, range.clone()));
                ranges.push(range);
            }
        }
    }
    let requests = merge_ranges(&ranges)
        .into_iter()
        .map(|(range, members)| (range, members.into_iter().map(|m| wanted[m].clone()).collect()))
        .collect();
    let tiles = sets.iter().map(|s| s.tiles.len()).sum();
    let decoded = tiles as u64 * (pixels.tile_len() * pixels.dtype.size()) as u64;
    Reads { sets, requests, held, tiles, cache: cache.clone(), keep_all: cache.has_room_for(decoded) }
}

/// The tiles that hold a pixel of the mapping, for each plane.
fn touched(level: &Level, planes: &[u16], mapping: &Mapping, own_tiles: bool) -> Vec<(u32, u32, usize, bool)> {
    let (tw, th) = (level.tile_width, level.tile_height);
    let (c0, r0) = (mapping.col / tw, mapping.row / th);
    let across = (mapping.col + mapping.width - 1) / tw - c0 + 1;
    let down = (mapping.row + mapping.height - 1) / th - r0 + 1;
    // A mask may have tiles of another size than the image, for which the mapping knows the touched ones.
    let touched = |i: usize| !own_tiles || mapping.touched[i];
    let mut tiles = Vec::new();
    for plane in planes {
        for i in (0..(across * down) as usize).filter(|i| touched(*i)) {
            let (row, col) = (r0 + i as u32 / across, c0 + i as u32 % across);
            let whole = col * tw >= mapping.col
                && row * th >= mapping.row
                && ((col + 1) * tw).min(level.width) <= mapping.col + mapping.width
                && ((row + 1) * th).min(level.height) <= mapping.row + mapping.height;
            tiles.push((row, col, level.tile_index(*plane, row, col), whole));
        }
    }
    tiles
}

/// The compressed bytes of a planned read, by position in its sets.
pub type Fetched = HashMap<(usize, usize), Bytes>;

/// Fetches what is planned.
///
/// # Errors
/// What the store says; a tile that ends beyond the end of the file.
pub async fn fetch(object: &Object, reads: &Reads) -> Result<Fetched> {
    let answers = try_join_all(reads.requests.iter().map(|(range, _)| object.read(range.clone()))).await?;
    let mut fetched = HashMap::new();
    for ((request, members), bytes) in reads.requests.iter().zip(answers) {
        for (set, tile, range) in members {
            let (start, end) = ((range.start - request.start) as usize, (range.end - request.start) as usize);
            if end > bytes.len() {
                return Err(Error::Corrupt(format!(
                    "the file is truncated: a tile lies at bytes {}-{}, beyond its end",
                    range.start, range.end
                )));
            }
            fetched.insert((*set, *tile), bytes.slice(start..end));
        }
    }
    Ok(fetched)
}

/// The pixels of a window: one buffer per sample asked for, and the mask.
#[derive(Debug)]
pub struct Raster {
    pub samples: Vec<Pixels>,
    pub mask: Option<Vec<u8>>,
}

/// Decodes the tiles of a planned read into the window of `mapping`. Runs on the calling thread pool.
///
/// # Errors
/// A tile that does not decode.
pub fn assemble(
    opened: &Opened,
    reads: &Reads,
    fetched: &Fetched,
    samples: &[u16],
    mapping: &Mapping,
) -> Result<Raster> {
    let mut rasters = Vec::with_capacity(samples.len());
    let mut mask = None;
    for (position, set) in reads.sets.iter().enumerate() {
        let job = Assembly { opened, level: image(opened, set), set, position, fetched, reads, mapping };
        if set.mask {
            let Some(plane) = job.run(&[0])?.pop() else { continue };
            mask = Some(plane.nonzero());
        } else {
            rasters = job.run(samples)?;
        }
    }
    Ok(Raster { samples: rasters, mask })
}

impl Raster {
    /// Brings the pixels to the output grid at once, which takes less memory than a window much finer than it. The result
    /// goes with [`Mapping::identity`].
    pub fn on_grid(self, mapping: &Mapping) -> Raster {
        let (width, height) = (mapping.rect.width as usize, mapping.rect.height as usize);
        let mut mask = vec![0; width * height];
        let place = |pixels: &Pixels, mask: &mut [u8]| {
            with_type!(pixels.dtype(), T => {
                let mut placed: Vec<T> = buffers::take(width * height);
                let window = Window { values: T::slice(pixels).unwrap_or_default(), mask: self.mask.as_deref() };
                let sampler = Sampler::new(mapping, window, None);
                for (row, (values, valid)) in placed.chunks_mut(width).zip(mask.chunks_mut(width)).enumerate() {
                    sampler.place(row, values, valid);
                }
                T::wrap(placed)
            })
        };
        let samples = self.samples.iter().map(|pixels| place(pixels, &mut mask)).collect();
        self.samples.into_iter().for_each(buffers::give);
        Raster { samples, mask: Some(mask) }
    }
}

struct Assembly<'a> {
    opened: &'a Opened,
    level: &'a Level,
    set: &'a TileSet,
    position: usize,
    fetched: &'a Fetched,
    reads: &'a Reads,
    mapping: &'a Mapping,
}

impl Assembly<'_> {
    fn run(&self, samples: &[u16]) -> Result<Vec<Pixels>> {
        with_type!(self.level.dtype, T => self.planes::<T>(samples))
    }

    /// The window's samples. Rows of tiles are independent, and each writes a run of rows of every sample's buffer.
    fn planes<T: Pixel>(&self, samples: &[u16]) -> Result<Vec<Pixels>> {
        let len = self.mapping.width as usize * self.mapping.height as usize;
        let mut planes: Vec<Vec<T>> = samples.iter().map(|_| buffers::take(len)).collect();
        let mut tile_rows: Vec<(u32, Vec<&mut [T]>)> = Vec::new();
        for plane in &mut planes {
            for (i, (tile_row, band)) in self.bands(plane).into_iter().enumerate() {
                match tile_rows.get_mut(i) {
                    Some((_, bands)) => bands.push(band),
                    None => tile_rows.push((tile_row, vec![band])),
                }
            }
        }
        tile_rows.into_par_iter().try_for_each(|(row, mut bands)| self.tile_row(samples, row, &mut bands))?;
        Ok(planes.into_iter().map(T::wrap).collect())
    }

    /// Cuts a window buffer into the runs of rows that each row of tiles covers.
    fn bands<'b, T>(&self, mut rest: &'b mut [T]) -> Vec<(u32, &'b mut [T])> {
        let mut bands = Vec::new();
        let (mut row, end) = (self.mapping.row, self.mapping.row + self.mapping.height);
        while row < end {
            let tile_row = row / self.level.tile_height;
            let next = ((tile_row + 1) * self.level.tile_height).min(end);
            let (band, tail) = rest.split_at_mut((next - row) as usize * self.mapping.width as usize);
            bands.push((tile_row, band));
            (rest, row) = (tail, next);
        }
        bands
    }

    fn tile_row<T: Pixel>(&self, samples: &[u16], tile_row: u32, bands: &mut [&mut [T]]) -> Result<()> {
        let here = self.set.tiles.iter().enumerate().filter(|(_, (row, ..))| *row == tile_row);
        for (t, (row, col, index, whole)) in here {
            self.with_tile(t, *index, *whole, |tile| {
                for (sample, band) in samples.iter().zip(bands.iter_mut()) {
                    if self.level.tile_index(*sample, *row, *col) == *index {
                        self.copy::<T>(tile, *sample, (*row, *col), band)?;
                    }
                }
                Ok(())
            })??;
        }
        Ok(())
    }

    /// Lends the decoded tile to `body`: from the cache, or decoded into this thread's buffer.
    fn with_tile<R>(&self, tile: usize, index: usize, whole: bool, body: impl FnOnce(&Pixels) -> R) -> Result<R> {
        thread_local! {
            static BUFFER: std::cell::RefCell<Pixels> = const { std::cell::RefCell::new(Pixels::UInt8(Vec::new())) };
        }
        let key = (self.opened.id, self.set.level as u32, self.set.mask, index);
        if let Some(held) = self.reads.held.get(&(self.position, tile)) {
            add(&COUNTERS.tile_hits, 1);
            return Ok(body(held));
        }
        if !whole || self.reads.keep_all {
            let mut decoded = Pixels::UInt8(Vec::new());
            self.decode(tile, index, &mut decoded)?;
            let result = body(&decoded);
            self.reads.cache.insert(key, Arc::new(decoded));
            return Ok(result);
        }
        let mut buffer = BUFFER.replace(Pixels::UInt8(Vec::new()));
        let result = self.decode(tile, index, &mut buffer).map(|()| body(&buffer));
        BUFFER.set(buffer);
        result
    }

    fn decode(&self, tile: usize, index: usize, out: &mut Pixels) -> Result<()> {
        match self.fetched.get(&(self.position, tile)) {
            Some(bytes) => {
                decode_tile(self.level, bytes, out)?;
                add(&COUNTERS.tiles_decoded, 1);
                add(&COUNTERS.bytes_decoded, out.as_bytes().len() as u64);
                Ok(())
            }
            None if self.level.tile_range(index).is_some() => {
                Err(Error::Corrupt("a tile of the plan was not read".into()))
            }
            None => {
                fill_sparse(self.level, self.sparse_value(), out);
                Ok(())
            }
        }
    }

    fn sparse_value(&self) -> Option<Nodata> {
        if self.set.mask { None } else { self.opened.cog.nodata.first().copied().flatten() }
    }

    /// Copies what the window needs of a tile into the window's rows that the tile covers.
    fn copy<T: Pixel>(&self, tile: &Pixels, sample: u16, at: (u32, u32), band: &mut [T]) -> Result<()> {
        let wrong = || Error::Corrupt("a tile decodes to another type than the header says".into());
        let tile = T::slice(tile).ok_or_else(wrong)?;
        let (tw, th) = (self.level.tile_width, self.level.tile_height);
        let m = self.mapping;
        let (left, top) = (at.1 * tw, at.0 * th);
        let (c0, c1) = (left.max(m.col), (left + tw).min(m.col + m.width));
        let (r0, r1) = (top.max(m.row), (top + th).min(m.row + m.height));
        let stride = usize::from(self.level.samples_per_tile());
        let offset = if stride > 1 { usize::from(sample) } else { 0 };
        let (width, run) = (m.width as usize, (c1 - c0) as usize);
        for row in r0..r1 {
            let from = ((row - top) * tw + (c0 - left)) as usize * stride;
            let to = (row - r0) as usize * width + (c0 - m.col) as usize;
            let (source, target) = (&tile[from..from + run * stride], &mut band[to..to + run]);
            if stride == 1 {
                target.copy_from_slice(source);
            } else {
                target.iter_mut().zip(source.iter().skip(offset).step_by(stride)).for_each(|(t, s)| *t = *s);
            }
        }
        Ok(())
    }
}
