//! Which source pixel each output pixel takes, for the nearest neighbour.
//!
//! An output pixel takes the source pixel that its centre falls into. The transformation of the centre is interpolated
//! over cells of the output grid, with a bound on the error that is measured in every cell; where a centre lies so
//! close to the edge of a source pixel that the error could matter, and where the bound does not hold, it is computed
//! exactly. The result is that of the exact transformation, whatever part of the grid is asked for: the cells are those
//! of the whole grid, not of a tile.

use super::exact::{Exact, Lattice, Round, Source, TIE, index, misses, near_edge};
use super::kernel::Kernel;
use super::tiles::{OUTSIDE, Tiles};
use crate::buffers;
use crate::crs::{Crs, transformer};
use crate::error::{Error, Result};
use crate::grid::{Grid, Rect};
use crate::pixels::Pixels;
use crate::store::counters::{COUNTERS, add};

/// Side of an interpolation cell, in output pixels, and of the smallest it is divided into.
const CELL: u64 = 64;
const SMALLEST_CELL: u64 = 8;
/// Cells are looked at in blocks of this side, to pass over what does not meet the source at all.
const BLOCK: u64 = 512;
/// Largest error of the interpolation, in source pixels.
const TOLERANCE: f64 = 1e-3;
/// The source pixels that a part of the output takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// The part of the output that may have a source pixel at all.
    pub rect: Rect,
    /// The smallest window of the level that holds all source pixels: first column and row, width, height.
    pub col: u32,
    pub row: u32,
    pub width: u32,
    pub height: u32,
    /// The source's tiles under the window, row-major: whether the mapping takes a pixel of each.
    pub touched: Vec<bool>,
    pub kind: Kind,
}

/// Positions within the window, or [`OUTSIDE`].
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A column for each column of `rect` and a row for each of its rows.
    Aligned { cols: Vec<u32>, rows: Vec<u32> },
    /// For each pixel of `rect`, row-major, its place in the row-major window.
    Scattered { places: Vec<u32> },
    /// The window is too large to count its pixels; only parts of the mapping can be used.
    Oversized,
    /// Taps and weights of a kernel.
    Kernel,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Kind::Scattered { places } = &mut self.kind {
            buffers::give(Pixels::UInt32(std::mem::take(places)));
        }
    }
}

impl Mapping {
    /// Maps the pixels of `rect` to `source`; `None` if none of them meets it.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    pub fn new(grid: &Grid, grid_crs: &Crs, rect: Rect, source: &Source, kernel: Kernel) -> Result<Option<Mapping>> {
        let lattice = Lattice::of_grid(grid, grid_crs);
        match kernel {
            Kernel::Nearest => nearest(lattice, rect, source),
            _ => Err(Error::Argument(format!("resampling '{}' is not there yet", kernel.name()))),
        }
    }

    /// Maps the pixels `rect` of the level `from` to those of the level `to` that hold their centres; `None` if none of them
    /// meets it. Both may have any affine and any CRS.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    pub fn between(from: &Source, rect: Rect, to: &Source) -> Result<Option<Mapping>> {
        nearest(Lattice::of_level(from), rect, to)
    }

    /// The mapping of pixels that are on the output grid already, one to one.
    pub fn identity(rect: Rect) -> Mapping {
        let (width, height) = (rect.width as u32, rect.height as u32);
        let kind = Kind::Aligned { cols: (0..width).collect(), rows: (0..height).collect() };
        Mapping { rect, col: 0, row: 0, width, height, touched: Vec::new(), kind }
    }

    /// A window of a level, pixel by pixel: all tiles under it.
    pub fn of_window(source: &Source, rect: Rect) -> Mapping {
        let [col, row, width, height] = [rect.col, rect.row, rect.width, rect.height].map(|side| side as u32);
        let count = |start: u32, length: u32, tile: u32| ((start + length - 1) / tile - start / tile + 1) as usize;
        let touched = vec![true; count(col, width, source.tile.0) * count(row, height, source.tile.1)];
        let kind = Kind::Aligned { cols: (0..width).collect(), rows: (0..height).collect() };
        Mapping { rect, col, row, width, height, touched, kind }
    }

    /// Whether its pixels are those of a [`Resampler`](super::Resampler), not of a [`Sampler`](super::Sampler).
    pub fn is_resampled(&self) -> bool {
        matches!(self.kind, Kind::Kernel)
    }

    /// Bytes that it holds.
    pub fn memory(&self) -> u64 {
        let places = match &self.kind {
            Kind::Aligned { cols, rows } => cols.len() + rows.len(),
            Kind::Scattered { places } => places.len(),
            Kind::Oversized | Kind::Kernel => 0,
        };
        (size_of::<Mapping>() + self.touched.len() + 4 * places) as u64
    }

    /// Pixels of the window.
    pub fn window_pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// Maps the centres of the pixels `rect` of a lattice to the source pixels that hold them.
fn nearest(lattice: Lattice, rect: Rect, source: &Source) -> Result<Option<Mapping>> {
    let Some(inverse) = source.transform.inverse() else { return Ok(None) };
    let to_source = transformer(lattice.crs, &source.crs)?;
    if to_source.is_identity() && lattice.affine.is_axis_aligned() && source.transform.is_axis_aligned() {
        return Ok(aligned(lattice, rect, source));
    }
    add(&COUNTERS.mappings, 1);
    add(&COUNTERS.pixels_mapped, rect.pixels() as u64);
    let exact = Exact { from: lattice.affine, to_source: &to_source, inverse, round: Round::of(source) };
    Ok(scattered(&exact, rect, source))
}

fn aligned(lattice: Lattice, rect: Rect, source: &Source) -> Option<Mapping> {
    let t = &source.transform;
    let round = Round::of(source);
    let col = |c: u64| (lattice.x(c as f64 + 0.5) - t.c) / t.a;
    let near = |c: u64| round.map_or(col(c), |round| round.near(col(c)));
    let row = |r: u64| (lattice.y(r as f64 + 0.5) - t.f) / t.e;
    let mut cols: Vec<u32> = (rect.col..rect.col_end()).map(|c| index(near(c), source.width)).collect();
    let mut rows: Vec<u32> = (rect.row..rect.row_end()).map(|r| index(row(r), source.height)).collect();
    let (c0, cn) = covered(&cols)?;
    let (r0, rn) = covered(&rows)?;
    let rect = Rect { col: rect.col + c0 as u64, row: rect.row + r0 as u64, width: cn as u64, height: rn as u64 };
    cols.drain(..c0);
    cols.truncate(cn);
    rows.drain(..r0);
    rows.truncate(rn);
    let (col, width) = relative(&mut cols)?;
    let (row, height) = relative(&mut rows)?;
    let tiles = Tiles::under((col, row), (width, height), source.tile);
    let touched = tiles.crossed(&cols, &rows);
    Some(Mapping { rect, col, row, width, height, touched, kind: Kind::Aligned { cols, rows } })
}

/// First index that is not outside, and the length up to the last.
fn covered(indices: &[u32]) -> Option<(usize, usize)> {
    let first = indices.iter().position(|i| *i != OUTSIDE)?;
    let last = indices.iter().rposition(|i| *i != OUTSIDE)?;
    Some((first, last - first + 1))
}

/// Makes positions relative to the smallest; gives it and the length up to the largest.
fn relative(indices: &mut [u32]) -> Option<(u32, u32)> {
    let inside = || indices.iter().copied().filter(|i| *i != OUTSIDE);
    let (low, high) = (inside().min()?, inside().max()?);
    for i in indices.iter_mut().filter(|i| **i != OUTSIDE) {
        *i -= low;
    }
    Some((low, high - low + 1))
}

fn scattered(exact: &Exact, rect: Rect, source: &Source) -> Option<Mapping> {
    let rect = near_source(exact, rect, source)?;
    let outside = || {
        let mut places: Vec<u32> = buffers::take(rect.pixels());
        places.fill(OUTSIDE);
        places
    };
    let mut filler = Filler { exact, source, rect, cols: outside(), rows: outside(), unsure: Vec::new() };
    let first = |at: u64| at / CELL * CELL;
    for row in (first(rect.row)..rect.row_end()).step_by(CELL as usize) {
        for col in (first(rect.col)..rect.col_end()).step_by(CELL as usize) {
            filler.cell(col, row, CELL);
        }
    }
    filler.settle();
    let Filler { mut cols, mut rows, .. } = filler;
    let (col, width) = relative(&mut cols)?;
    let (row, height) = relative(&mut rows)?;
    let window = Window { first: (col, row), size: (width, height) };
    let touched = Tiles::under(window.first, window.size, source.tile).touched(&cols, &rows);
    let kind = window.places(cols, &rows).map_or(Kind::Oversized, |places| Kind::Scattered { places });
    buffers::give(Pixels::UInt32(rows));
    Some(Mapping { rect, col, row, width, height, touched, kind })
}

/// The window of scattered positions, which are relative to its first.
struct Window {
    first: (u32, u32),
    size: (u32, u32),
}

impl Window {
    /// Columns and rows as places; `None` if the window has more pixels than fit.
    fn places(&self, mut cols: Vec<u32>, rows: &[u32]) -> Option<Vec<u32>> {
        if u64::from(self.size.0) * u64::from(self.size.1) >= u64::from(OUTSIDE) {
            return None;
        }
        for (place, row) in cols.iter_mut().zip(rows).filter(|(col, _)| **col != OUTSIDE) {
            *place += row * self.size.0;
        }
        Some(cols)
    }
}

/// The bounding rectangle of the blocks of `rect` that may meet the source. A block is passed over only if the images
/// of a lattice of its points, with half their extent around them, all lie beside the source.
fn near_source(exact: &Exact, rect: Rect, source: &Source) -> Option<Rect> {
    const POINTS: u64 = 5;
    let mut near: Option<(u64, u64, u64, u64)> = None;
    for row in (rect.row..rect.row_end()).step_by(BLOCK as usize) {
        for col in (rect.col..rect.col_end()).step_by(BLOCK as usize) {
            let (col_end, row_end) = ((col + BLOCK).min(rect.col_end()), (row + BLOCK).min(rect.row_end()));
            let along =
                |start: u64, end: u64, i: u64| start as f64 + (end - start) as f64 * i as f64 / (POINTS - 1) as f64;
            let (mut cs, mut rs): (Vec<f64>, Vec<f64>) = (0..POINTS * POINTS)
                .map(|i| (along(col, col_end, i % POINTS), along(row, row_end, i / POINTS)))
                .unzip();
            exact.apply(&mut cs, &mut rs);
            if !(misses(&cs, source.width) || misses(&rs, source.height)) {
                let (c0, r0, c1, r1) = near.unwrap_or((col, row, col_end, row_end));
                near = Some((c0.min(col), r0.min(row), c1.max(col_end), r1.max(row_end)));
            }
        }
    }
    let (c0, r0, c1, r1) = near?;
    Some(Rect { col: c0, row: r0, width: c1 - c0, height: r1 - r0 })
}

/// Fills the source positions of one rectangle cell by cell.
struct Filler<'a> {
    exact: &'a Exact<'a>,
    source: &'a Source,
    rect: Rect,
    cols: Vec<u32>,
    rows: Vec<u32>,
    /// Pixels, as indices into `cols`, that need the exact transformation.
    unsure: Vec<u32>,
}

/// A quadratic surface through 3 x 3 points, in units of half a cell.
struct Surface([[f64; 3]; 3]);

impl Surface {
    /// Coefficients of the parabola along row `v`, for u in 0..=2.
    fn parabola(&self, v: f64) -> [f64; 3] {
        let w = [(v - 1.0) * (v - 2.0) / 2.0, v * (2.0 - v), v * (v - 1.0) / 2.0];
        let at = |j: usize| w[0] * self.0[0][j] + w[1] * self.0[1][j] + w[2] * self.0[2][j];
        let (p0, p1, p2) = (at(0), at(1), at(2));
        [p0, -1.5 * p0 + 2.0 * p1 - 0.5 * p2, 0.5 * p0 - p1 + 0.5 * p2]
    }

    fn value(&self, u: f64, v: f64) -> f64 {
        let [a, b, c] = self.parabola(v);
        (c * u + b) * u + a
    }
}

impl Filler<'_> {
    /// Fills the cell of side `size` at output pixel (`col`, `row`), dividing it where the interpolation is not good
    /// enough.
    fn cell(&mut self, col: u64, row: u64, size: u64) {
        let Some(part) = self.rect.clip((col as f64, (col + size) as f64), (row as f64, (row + size) as f64)) else {
            return;
        };
        let Some((xs, ys, error)) = self.surfaces(col, row, size) else {
            return self.divide(col, row, size, part);
        };
        let flat = |s: &Surface| s.0.concat();
        if misses(&flat(&xs), self.source.width) || misses(&flat(&ys), self.source.height) {
            return;
        }
        if error > TOLERANCE {
            return self.divide(col, row, size, part);
        }
        // Four times the error seen at the points where it is largest for a smooth surface.
        self.interpolate(&xs, &ys, (col, row, size), part, error * 4.0 + TIE);
    }

    fn divide(&mut self, col: u64, row: u64, size: u64, part: Rect) {
        if size <= SMALLEST_CELL {
            for r in part.row..part.row_end() {
                for c in part.col..part.col_end() {
                    self.unsure.push(self.offset(c, r) as u32);
                }
            }
            return;
        }
        let half = size / 2;
        for (dc, dr) in [(0, 0), (half, 0), (0, half), (half, half)] {
            self.cell(col + dc, row + dr, half);
        }
    }

    /// Surfaces of source columns and rows through nine points of a cell, and their largest error at four points
    /// between. `None` if a point has no image.
    fn surfaces(&self, col: u64, row: u64, size: u64) -> Option<(Surface, Surface, f64)> {
        const BETWEEN: [(f64, f64); 4] = [(0.5, 0.5), (1.5, 0.5), (0.5, 1.5), (1.5, 1.5)];
        let half = size as f64 / 2.0;
        let nodes = (0..9).map(|i| (f64::from(i % 3), f64::from(i / 3)));
        let (mut cs, mut rs): (Vec<f64>, Vec<f64>) =
            nodes.chain(BETWEEN).map(|(u, v)| (col as f64 + 0.5 + u * half, row as f64 + 0.5 + v * half)).unzip();
        self.exact.apply(&mut cs, &mut rs);
        if !cs.iter().chain(&rs).all(|p| p.is_finite()) {
            return None;
        }
        let surface = |p: &[f64]| Surface([[p[0], p[1], p[2]], [p[3], p[4], p[5]], [p[6], p[7], p[8]]]);
        let (xs, ys) = (surface(&cs), surface(&rs));
        let error = BETWEEN.iter().enumerate().fold(0.0_f64, |worst, (i, (u, v))| {
            worst.max((xs.value(*u, *v) - cs[9 + i]).abs()).max((ys.value(*u, *v) - rs[9 + i]).abs())
        });
        Some((xs, ys, error))
    }

    fn interpolate(&mut self, xs: &Surface, ys: &Surface, cell: (u64, u64, u64), part: Rect, band: f64) {
        let (col, row, size) = cell;
        let step = 2.0 / size as f64;
        let (width, height) = (f64::from(self.source.width), f64::from(self.source.height));
        for r in part.row..part.row_end() {
            let v = (r - row) as f64 * step;
            let (px, py) = (xs.parabola(v), ys.parabola(v));
            let start = self.offset(part.col, r);
            let mut close = false;
            let run = part.width as usize;
            let cols = &mut self.cols[start..start + run];
            let rows = &mut self.rows[start..start + run];
            for (k, (c_out, r_out)) in cols.iter_mut().zip(rows.iter_mut()).enumerate() {
                let u = ((part.col - col) as usize + k) as f64 * step;
                let x = (px[2] * u + px[1]) * u + px[0];
                let y = (py[2] * u + py[1]) * u + py[0];
                close |= near_edge(x, band) | near_edge(y, band);
                let inside = (x >= 0.0) & (x < width) & (y >= 0.0) & (y < height);
                *c_out = if inside { x as u32 } else { OUTSIDE };
                *r_out = if inside { y as u32 } else { OUTSIDE };
            }
            if close {
                for k in 0..run {
                    let u = ((part.col - col) as usize + k) as f64 * step;
                    let x = (px[2] * u + px[1]) * u + px[0];
                    let y = (py[2] * u + py[1]) * u + py[0];
                    if near_edge(x, band) || near_edge(y, band) {
                        self.unsure.push((start + k) as u32);
                    }
                }
            }
        }
    }

    /// Computes the unsure pixels exactly.
    fn settle(&mut self) {
        let width = self.rect.width;
        for pixels in self.unsure.chunks(4096) {
            let position = |i: u32| (u64::from(i) % width, u64::from(i) / width);
            let (mut cs, mut rs): (Vec<f64>, Vec<f64>) = pixels
                .iter()
                .map(|i| {
                    let (c, r) = position(*i);
                    ((self.rect.col + c) as f64 + 0.5, (self.rect.row + r) as f64 + 0.5)
                })
                .unzip();
            self.exact.apply(&mut cs, &mut rs);
            for ((i, x), y) in pixels.iter().zip(cs).zip(rs) {
                let (col, row) = (index(x, self.source.width), index(y, self.source.height));
                let inside = col != OUTSIDE && row != OUTSIDE;
                self.cols[*i as usize] = if inside { col } else { OUTSIDE };
                self.rows[*i as usize] = if inside { row } else { OUTSIDE };
            }
        }
    }

    fn offset(&self, col: u64, row: u64) -> usize {
        ((row - self.rect.row) * self.rect.width + (col - self.rect.col)) as usize
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
