//! From the bytes of tiles to pixels.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::buffers::{self, SCRATCH};
use crate::cog::Nodata;
use crate::cog::opened::Opened;
use crate::cog::{Level, decode_tile, sparse_pixel};
use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::pixels::{Pixel, Pixels};
use crate::scan::shared::cache::Decoded;
use crate::scan::shared::part::Stored;
use crate::scan::shared::raster::Raster;
use crate::scan::shared::window::{Fetched, TileSet, TileUse, WindowPlan, image};
use crate::store::counters::{COUNTERS, add};
use crate::warp::Mapping;
use crate::with_type;

/// Decodes the tiles of a window: all of them, or those that are `open`. What belongs to others is unspecified. Runs on the calling
/// thread pool.
///
/// # Errors
/// A tile that does not decode.
pub fn decode(opened: &Opened, stored: &Stored, samples: &[u16], open: Option<&[bool]>) -> Result<Raster> {
    let Stored { mapping, plan, bytes, .. } = stored;
    let mut rasters = Vec::with_capacity(samples.len());
    let mut masks = Vec::new();
    for (position, set) in plan.sets.iter().enumerate() {
        let tiles = Tiles::new(opened, plan, bytes, position, open);
        let job = Assembly { tiles, mapping };
        if set.mask {
            let planes = job.run(if job.tiles.level.samples == 1 { &[0] } else { samples })?;
            masks = planes.iter().map(Pixels::nonzero).collect();
        } else {
            rasters = job.run(samples)?;
        }
    }
    Ok(Raster { samples: rasters, masks, sampled: false })
}

/// The pixels of a tile, on loan.
#[derive(Clone, Copy)]
pub struct Lent<'p> {
    pub pixels: &'p Pixels,
    /// Pixels of one row; 0 where the tile is not stored, and all of them have the one value that is here.
    pub width: u32,
}
/// Tiles that decode to more than this are made one after the other in the whole process, and shared: a compressed strip may be
/// the whole of a large image.
const HUGE_TILE: usize = 32 << 20;
static ONE_HUGE_TILE: Mutex<()> = Mutex::new(());

/// The decoded tiles of one set of a window.
pub struct Tiles<'a> {
    opened: &'a Opened,
    pub level: &'a Level,
    set: &'a TileSet,
    position: usize,
    fetched: &'a Fetched,
    plan: &'a WindowPlan,
    /// Of the tiles that the mapping knows.
    open: Option<&'a [bool]>,
}

impl<'a> Tiles<'a> {
    pub fn new(
        opened: &'a Opened,
        plan: &'a WindowPlan,
        fetched: &'a Fetched,
        position: usize,
        open: Option<&'a [bool]>,
    ) -> Tiles<'a> {
        let set = &plan.sets[position];
        Tiles { opened, level: image(opened, set), set, position, fetched, plan, open }
    }

    fn is_open(&self, tile: usize) -> bool {
        self.open.zip(self.set.tiles[tile].place).is_none_or(|(open, place)| open[place])
    }

    /// Lends each open tile to `body`, on as many threads as the pool has. Those that another thread is decoding just now come
    /// last: it will have put them into the cache by then.
    ///
    /// # Errors
    /// A tile that does not decode; what `body` says.
    pub fn each(&self, body: impl Fn(TileUse, Lent) -> Result<()> + Sync) -> Result<()> {
        let lend = |t: usize, patient| self.with(t, patient, |lent| body(self.set.tiles[t], lent));
        let late = Mutex::new(Vec::new());
        let at_once = self.plan.at_once(self.level);
        let open: Vec<usize> = (0..self.set.tiles.len()).filter(|t| self.is_open(*t)).collect();
        for open in open.chunks(at_once) {
            open.par_iter().try_for_each(|t| match lend(*t, true)? {
                Some(done) => done,
                None => {
                    lock(&late).push(*t);
                    Ok(())
                }
            })?;
        }
        let late = late.into_inner().unwrap_or_else(PoisonError::into_inner);
        late.chunks(at_once).try_for_each(|late| late.par_iter().try_for_each(|t| lend(*t, false)?.unwrap_or(Ok(()))))
    }

    /// Lends the decoded tile to `body`: from the cache, or decoded into this thread's buffer. `None` if another thread is
    /// decoding it and `patient`.
    fn with<R>(&self, tile: usize, patient: bool, body: impl FnOnce(Lent) -> R) -> Result<Option<R>> {
        thread_local! {
            static BUFFER: RefCell<Pixels> = const { RefCell::new(Pixels::UInt8(Vec::new())) };
        }
        if let Some(held) = self.plan.held.get(&(self.position, tile)) {
            add(&COUNTERS.tile_hits, 1);
            return Ok(Some(body(self.lent(&held.0))));
        }
        let TileUse { index, whole, .. } = self.set.tiles[tile];
        if self.level.tile_range(index).is_none() {
            add(&COUNTERS.tile_misses, 1);
            return Ok(Some(body(Lent { pixels: &sparse_pixel(self.level, self.sparse_value()), width: 0 })));
        }
        if !whole || self.plan.keep_all || self.is_huge() {
            return self.with_shared(tile, patient, body);
        }
        if self.level.tile_len() * self.level.dtype.size() > SCRATCH {
            let decoded = self.decoded(tile)?;
            return Ok(Some(body(self.lent(&decoded.0))));
        }
        let mut buffer = BUFFER.replace(Pixels::UInt8(Vec::new()));
        let result = self.decode(tile, &mut buffer).map(|()| Some(body(self.lent(&buffer))));
        BUFFER.set(buffer);
        result
    }

    fn lent<'p>(&self, pixels: &'p Pixels) -> Lent<'p> {
        Lent { pixels, width: self.level.tile_width }
    }

    /// As [`Tiles::with`], for a tile that others may need.
    fn with_shared<R>(&self, tile: usize, patient: bool, body: impl FnOnce(Lent) -> R) -> Result<Option<R>> {
        let TileUse { row, col, index, .. } = self.set.tiles[tile];
        let (plan, key) = (self.plan, (self.opened.id, self.set.level as u32, self.set.mask, index));
        let alone = self.is_huge().then(|| lock(&ONE_HUGE_TILE));
        let kept = || plan.neighbours.as_ref().map_or_else(|| plan.cache.get(&key), |tiles| tiles.take(&key));
        let claim = plan.cache.claim(key);
        if claim.is_none() && patient {
            return Ok(None);
        }
        // A neighbour may have decoded it since the read was planned.
        if let Some(held) = kept() {
            add(&COUNTERS.tile_hits, 1);
            return Ok(Some(body(self.lent(&held.0))));
        }
        let decoded = Arc::new(self.decoded(tile)?);
        match &plan.neighbours {
            Some(tiles) => {
                let users = tiles.users(self.opened, self.set.level, self.level, (row, col))?;
                tiles.put(key, &decoded, users, plan.row);
            }
            None => plan.cache.insert(key, decoded.clone()),
        }
        drop(claim);
        let result = body(self.lent(&decoded.0));
        drop(alone);
        Ok(Some(result))
    }

    fn is_huge(&self) -> bool {
        self.level.tile_len() * self.level.dtype.size() > HUGE_TILE
    }

    /// Decoded into a buffer that is given back with it.
    fn decoded(&self, tile: usize) -> Result<Decoded> {
        let mut decoded = Decoded(with_type!(self.level.dtype, T => T::wrap(buffers::take(self.level.tile_len()))));
        self.decode(tile, &mut decoded.0)?;
        Ok(decoded)
    }

    fn decode(&self, tile: usize, out: &mut Pixels) -> Result<()> {
        add(&COUNTERS.tile_misses, 1);
        let index = self.set.tiles[tile].index;
        let bytes = self.fetched.tile((self.position, tile));
        let bytes = bytes.ok_or_else(|| Error::Corrupt("a tile of the plan was not read".into()))?;
        decode_tile(self.level, index, bytes, out)?;
        add(&COUNTERS.tiles_decoded, 1);
        add(&COUNTERS.bytes_decoded, out.as_bytes().len() as u64);
        Ok(())
    }

    fn sparse_value(&self) -> Option<Nodata> {
        if self.set.mask { None } else { self.opened.cog.nodata.first().copied().flatten() }
    }
}

struct Assembly<'a> {
    tiles: Tiles<'a>,
    mapping: &'a Mapping,
}

impl Assembly<'_> {
    fn run(&self, samples: &[u16]) -> Result<Vec<Pixels>> {
        with_type!(self.tiles.level.dtype, T => self.planes::<T>(samples))
    }

    /// The window's samples. Each tile is copied into them as soon as it is decoded.
    fn planes<T: Pixel>(&self, samples: &[u16]) -> Result<Vec<Pixels>> {
        let len = self.mapping.width as usize * self.mapping.height as usize;
        let mut planes: Vec<Vec<T>> = samples.iter().map(|_| buffers::take(len)).collect();
        let bands: Vec<_> = planes.iter_mut().map(|plane| self.bands(plane)).collect();
        let level = self.tiles.level;
        self.tiles.each(|at, lent| {
            for (sample, bands) in samples.iter().zip(&bands) {
                if level.tile_index(*sample, at.row, at.col) == at.index
                    && let Some((_, band)) = bands.iter().find(|(row, _)| *row == at.row)
                {
                    let mut band = lock(band);
                    self.copy::<T>(lent, *sample, (at.row, at.col), &mut band)?;
                }
            }
            Ok(())
        })?;
        drop(bands);
        Ok(planes.into_iter().map(T::wrap).collect())
    }

    /// Cuts a window buffer into the runs of rows that each row of tiles covers.
    fn bands<'b, T>(&self, mut rest: &'b mut [T]) -> Vec<(u32, Mutex<&'b mut [T]>)> {
        let mut bands = Vec::new();
        let (mut row, end) = (self.mapping.row, self.mapping.row + self.mapping.height);
        while row < end {
            let tile_row = row / self.tiles.level.tile_height;
            let next = ((tile_row + 1) * self.tiles.level.tile_height).min(end);
            let (band, tail) = rest.split_at_mut((next - row) as usize * self.mapping.width as usize);
            bands.push((tile_row, Mutex::new(band)));
            (rest, row) = (tail, next);
        }
        bands
    }

    /// Copies what the window needs of a tile into the window's rows that the tile covers.
    fn copy<T: Pixel>(&self, lent: Lent, sample: u16, at: (u32, u32), band: &mut [T]) -> Result<()> {
        let wrong = || Error::Corrupt("a tile decodes to another type than the header says".into());
        let tile = T::slice(lent.pixels).ok_or_else(wrong)?;
        let (tw, th) = (self.tiles.level.tile_width, self.tiles.level.tile_height);
        let m = self.mapping;
        let (left, top) = (at.1 * tw, at.0 * th);
        let (c0, c1) = (left.max(m.col), (left + tw).min(m.col + m.width));
        let (r0, r1) = (top.max(m.row), (top + th).min(m.row + m.height));
        let stride = usize::from(self.tiles.level.samples_per_tile());
        let offset = if stride > 1 { usize::from(sample) } else { 0 };
        let (width, run) = (m.width as usize, (c1 - c0) as usize);
        for row in r0..r1 {
            let from = ((row - top) * tw + (c0 - left)) as usize * stride;
            let to = (row - r0) as usize * width + (c0 - m.col) as usize;
            let target = &mut band[to..to + run];
            if lent.width == 0 {
                target.fill(tile.first().copied().unwrap_or_default());
                continue;
            }
            let source = &tile[from..from + run * stride];
            if stride == 1 {
                target.copy_from_slice(source);
            } else {
                target.iter_mut().zip(source.iter().skip(offset).step_by(stride)).for_each(|(t, s)| *t = *s);
            }
        }
        Ok(())
    }
}
