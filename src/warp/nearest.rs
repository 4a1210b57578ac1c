//! Which source pixel each output pixel takes, for the nearest neighbour.
//!
//! An output pixel takes the source pixel that its centre falls into. The transformation of the centre is interpolated
//! over cells of the output grid, with a bound on the error that is measured in every cell; where a centre lies so
//! close to the edge of a source pixel that the error could matter, and where the bound does not hold, it is computed
//! exactly. The result is that of the exact transformation, whatever part of the grid is asked for: the cells are those
//! of the whole grid, not of a tile.

use super::exact::{Exact, Lattice, Round, Source, TIE, index, misses, near_edge, near_source};
use super::mapping::{Kind, Mapping};
use super::tiles::{OUTSIDE, Tiles};
use crate::buffers;
use crate::crs::transformer;
use crate::error::Result;
use crate::grid::Rect;
use crate::pixels::Pixels;
use crate::store::counters::{COUNTERS, add};

/// Side of an interpolation cell, in output pixels, and of the smallest it is divided into.
const CELL: u64 = 64;
const SMALLEST_CELL: u64 = 8;
/// Largest error of the interpolation, in source pixels.
const TOLERANCE: f64 = 1e-3;
/// Maps the centres of the pixels `rect` of a lattice to the source pixels that hold them.
pub fn nearest(lattice: Lattice, rect: Rect, source: &Source) -> Result<Option<Mapping>> {
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
#[path = "nearest_tests.rs"]
mod tests;
