//! Kernels between grids that are not parallel: where each output pixel lies in the source, to within a ten-millionth of a pixel.
//!
//! Positions are interpolated over cells of the output grid, and computed exactly where a pixel's edge is so near that the
//! difference could matter. What is kept is one surface per cell and those exceptions: rows are evaluated as they are needed.

use std::ops::Range;

use super::axis::Extent;
use super::exact::{Exact, Source, misses, near_edge, near_source};
use super::kernel::Kernel;
use super::kernel::area::pixels;
use super::kernel::point::Point;
use super::surface::{Fit, fit};
use super::tiles::Tiles;
use crate::grid::Rect;

/// Side of a cell, in output pixels, and of the smallest it is divided into.
pub const CELL: u64 = 64;
pub const SMALLEST_CELL: u64 = 8;
/// Largest error of an interpolated position, in pixels.
pub const TOLERANCE: f64 = 1e-7;
/// The error is taken for this many times what is seen at the points where it is largest for a smooth surface.
pub const CAUTION: f64 = 4.0;
/// Positions that are equal but for rounding: in pixels.
const ROUNDING: f64 = 1e-9;
/// What positions are widened by, where they only say which source pixels to have at hand.
const MARGIN: f64 = 1e-6;

/// Positions of output pixels in a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    pub kernel: Kernel,
    pub point: Option<Point>,
    /// Columns and rows of the level.
    pub size: (u32, u32),
    rect: Rect,
    /// By the band of [`CELL`] rows that they lie in, those of a row from left to right.
    cells: Vec<Cell>,
    /// Pixels of `rect`, row-major and sorted, whose positions are exact, and these: as many numbers for each as the kernel needs.
    known: Vec<u32>,
    positions: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Cell {
    col: u64,
    row: u64,
    size: u64,
    /// `None` where all its pixels are known exactly.
    fit: Option<Box<Fit>>,
    taps: Bounds,
}

/// Source columns and rows that taps lie in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    cols: (u32, u32),
    rows: (u32, u32),
}

impl Bounds {
    fn with(self, other: Bounds) -> Bounds {
        let union = |a: (u32, u32), b: (u32, u32)| (a.0.min(b.0), a.1.max(b.1));
        Bounds { cols: union(self.cols, other.cols), rows: union(self.rows, other.rows) }
    }
}

/// Positions of neighbours in a row: of their centres, or of their upper left and their lower right corners. Not a number where a
/// pixel has none.
#[derive(Debug, Default)]
pub struct Positions {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub x1: Vec<f64>,
    pub y1: Vec<f64>,
}

impl Positions {
    fn reset(&mut self, len: usize) {
        for values in [&mut self.x, &mut self.y, &mut self.x1, &mut self.y1] {
            values.clear();
            values.resize(len, f64::NAN);
        }
    }
}

impl Cell {
    /// Positions of the columns `cols` of the grid in row `row`, from `at` on.
    fn fill(&self, fit: &Fit, row: u64, cols: Range<u64>, at: usize, is_point: bool, out: &mut Positions) {
        let step = 2.0 / self.size as f64;
        let place = |from_first: f64| from_first * step - 1.0;
        let (first, run) = ((cols.start - self.col) as f64, at..at + (cols.end - cols.start) as usize);
        let fill = |right: f64, down: f64, xs: &mut [f64], ys: &mut [f64]| {
            let v = place((row - self.row) as f64 + down);
            let (along_x, along_y) = (fit.cols.line(v), fit.rows.line(v));
            for (i, (x, y)) in xs.iter_mut().zip(ys).enumerate() {
                let u = place(first + i as f64 + right);
                (*x, *y) = (along_x.at(u), along_y.at(u));
            }
        };
        if is_point {
            fill(0.5, 0.5, &mut out.x[run.clone()], &mut out.y[run]);
        } else {
            fill(0.0, 0.0, &mut out.x[run.clone()], &mut out.y[run.clone()]);
            fill(1.0, 1.0, &mut out.x1[run.clone()], &mut out.y1[run]);
        }
    }
}

impl Cells {
    /// The positions of the pixels `rect`, the part of it that may have some, the window of their taps and the tiles of that.
    pub fn new(
        exact: &Exact,
        rect: Rect,
        source: &Source,
        kernel: Kernel,
        point: Option<Point>,
    ) -> Option<(Cells, Rect, Extent, Vec<bool>)> {
        let rect = near_source(exact, rect, source)?;
        let size = (source.width, source.height);
        let cells = Cells { kernel, point, size, rect, cells: Vec::new(), known: Vec::new(), positions: Vec::new() };
        let mut maker = Maker { exact, cells, runs: Vec::new(), unsure: Vec::new(), line: Positions::default() };
        let first = |at: u64| at / CELL * CELL;
        for row in (first(rect.row)..rect.row_end()).step_by(CELL as usize) {
            for col in (first(rect.col)..rect.col_end()).step_by(CELL as usize) {
                maker.cell(col, row, CELL);
            }
        }
        let (cells, runs) = maker.finish();
        let all = runs.iter().copied().reduce(Bounds::with)?;
        let window = ((all.cols.0, all.rows.0), (all.cols.1 - all.cols.0, all.rows.1 - all.rows.0));
        let tiles = Tiles::under(window.0, window.1, source.tile);
        let mut touched = tiles.none();
        runs.iter().for_each(|run| tiles.mark(&mut touched, run.cols, run.rows));
        Some((cells, rect, [window.0.0, window.0.1, window.1.0, window.1.1], touched))
    }

    fn stride(&self) -> usize {
        if self.point.is_some() { 2 } else { 4 }
    }

    /// Positions of `span` of row `row` of the rectangle.
    pub fn row(&self, row: usize, span: Range<usize>, out: &mut Positions) {
        out.reset(span.len());
        let at = self.rect.row + row as u64;
        let start = self.cells.partition_point(|cell| cell.row / CELL < at / CELL);
        let band = self.cells[start..].iter().take_while(|cell| cell.row / CELL == at / CELL);
        let (first, end) = (self.rect.col + span.start as u64, self.rect.col + span.end as u64);
        for cell in band.filter(|cell| (cell.row..cell.row + cell.size).contains(&at)) {
            let cols = cell.col.max(first)..(cell.col + cell.size).min(end);
            if let Some(fit) = cell.fit.as_ref().filter(|_| !cols.is_empty()) {
                let to = (cols.start - first) as usize;
                cell.fill(fit, at, cols, to, self.point.is_some(), out);
            }
        }
        let line = row as u64 * self.rect.width;
        let known = |col: usize| self.known.partition_point(|i| u64::from(*i) < line + col as u64);
        for i in known(span.start)..known(span.end) {
            let to = (u64::from(self.known[i]) - line) as usize - span.start;
            let position = &self.positions[i * self.stride()..(i + 1) * self.stride()];
            (out.x[to], out.y[to]) = (position[0], position[1]);
            if let [_, _, x1, y1] = position {
                (out.x1[to], out.y1[to]) = (*x1, *y1);
            }
        }
    }

    /// Marks the tiles of the cells of which `is_open` says that a pixel of the part is.
    pub fn mark_open(&self, tiles: &Tiles, marks: &mut [bool], is_open: impl Fn(Rect) -> bool) {
        for cell in &self.cells {
            if self.part(cell.col, cell.row, cell.size).is_some_and(&is_open) {
                tiles.mark(marks, cell.taps.cols, cell.taps.rows);
            }
        }
    }

    fn part(&self, col: u64, row: u64, size: u64) -> Option<Rect> {
        self.rect.clip((col as f64, (col + size) as f64), (row as f64, (row + size) as f64))
    }

    pub fn memory(&self) -> usize {
        let fits = self.cells.iter().filter(|cell| cell.fit.is_some()).count();
        self.cells.len() * size_of::<Cell>() + fits * size_of::<Fit>() + 4 * self.known.len() + 8 * self.positions.len()
    }

    /// The taps of all of `positions` together, with a margin; `None` if none has any.
    fn bounds(&self, positions: &Positions) -> Option<Bounds> {
        let (width, height) = self.size;
        let inside = |at: f64, size: u32| at >= -MARGIN && at <= f64::from(size) + MARGIN;
        let mut found: Option<[f64; 4]> = None;
        let mut add = |x0: f64, y0: f64, x1: f64, y1: f64| {
            let [a, b, c, d] = found.unwrap_or([f64::INFINITY, f64::INFINITY, -f64::INFINITY, -f64::INFINITY]);
            found = Some([a.min(x0), b.min(y0), c.max(x1), d.max(y1)]);
        };
        let corners = positions.x1.iter().zip(&positions.y1);
        for ((x, y), (x1, y1)) in positions.x.iter().zip(&positions.y).zip(corners) {
            if self.point.is_some() {
                if inside(*x, width) && inside(*y, height) {
                    add(*x, *y, *x, *y);
                }
            } else if pixels(*x, *x1, width).is_some() && pixels(*y, *y1, height).is_some() {
                add(x.min(*x1), y.min(*y1), x.max(*x1), y.max(*y1));
            }
        }
        let [x0, y0, x1, y1] = found?;
        let reach = |low: f64, high: f64, scale: f64, size: u32| {
            let (low, high) = (low - MARGIN, high + MARGIN);
            let (first, end) = match self.point {
                Some(Point { curve, .. }) => {
                    let reach = curve.reach(scale);
                    ((low - 0.5).floor() + 1.0 - reach, (high - 0.5).floor() + reach + 1.0)
                }
                None => (low.floor(), high.ceil()),
            };
            // Casts saturate; at least one pixel.
            let first = (first.max(0.0) as u32).min(size - 1);
            (first, (end.min(f64::from(size)) as u32).max(first + 1))
        };
        let (sx, sy) = self.point.map_or((1.0, 1.0), |point| point.scale);
        Some(Bounds { cols: reach(x0, x1, sx, width), rows: reach(y0, y1, sy, height) })
    }
}

/// Makes cells.
struct Maker<'a> {
    exact: &'a Exact<'a>,
    cells: Cells,
    /// Taps of the pixels of each row of each cell.
    runs: Vec<Bounds>,
    /// Pixels that need the exact transformation, and their positions once they have been through it.
    unsure: Vec<u32>,
    line: Positions,
}

impl Maker<'_> {
    fn cell(&mut self, col: u64, row: u64, size: u64) {
        let Some(part) = self.cells.part(col, row, size) else { return };
        let Some(fitted) = fit(self.exact, col, row, size) else {
            return self.divide(col, row, size, part);
        };
        if misses(&fitted.cols, self.cells.size.0) || misses(&fitted.rows, self.cells.size.1) {
            return;
        }
        let error = fitted.error * CAUTION;
        if error > TOLERANCE {
            return self.divide(col, row, size, part);
        }
        let nowhere = Bounds { cols: (0, 0), rows: (0, 0) };
        let mut cell = Cell { col, row, size, fit: Some(Box::new(fitted.fit)), taps: nowhere };
        if let Some(taps) = self.scan(&cell, part, error + ROUNDING) {
            cell.taps = taps;
            self.cells.cells.push(cell);
        }
    }

    fn divide(&mut self, col: u64, row: u64, size: u64, part: Rect) {
        if size <= SMALLEST_CELL {
            return self.all_exact(col, row, size, part);
        }
        let half = size / 2;
        for (dc, dr) in [(0, 0), (half, 0), (0, half), (half, half)] {
            self.cell(col + dc, row + dr, half);
        }
    }

    /// The taps of a cell's rows, and the pixels of it that an error of `band` may move over an edge.
    fn scan(&mut self, cell: &Cell, part: Rect, band: f64) -> Option<Bounds> {
        let is_point = self.cells.point.is_some();
        let mut taps: Option<Bounds> = None;
        for row in part.row..part.row_end() {
            let line = &mut self.line;
            line.reset(part.width as usize);
            let Some(fit) = &cell.fit else { continue };
            cell.fill(fit, row, part.col..part.col_end(), 0, is_point, line);
            let Some(run) = self.cells.bounds(line) else { continue };
            taps = Some(taps.map_or(run, |taps| taps.with(run)));
            self.runs.push(run);
            // A centre changes its pixel at an edge, and its taps at a centre.
            let near = |i: usize| match is_point {
                true => {
                    near_edge(line.x[i] * 2.0, band * 2.0 + POINT) || near_edge(line.y[i] * 2.0, band * 2.0 + POINT)
                }
                false => [line.x[i], line.y[i], line.x1[i], line.y1[i]].iter().any(|at| near_edge(*at, band)),
            };
            let start = (row - self.cells.rect.row) * self.cells.rect.width + (part.col - self.cells.rect.col);
            self.unsure.extend((0..line.x.len()).filter(|i| near(*i)).map(|i| (start + i as u64) as u32));
        }
        taps
    }

    /// A cell that no surface describes.
    fn all_exact(&mut self, col: u64, row: u64, size: u64, part: Rect) {
        let mut taps: Option<Bounds> = None;
        let first = self.cells.known.len();
        for row in part.row..part.row_end() {
            let start = (row - self.cells.rect.row) * self.cells.rect.width + (part.col - self.cells.rect.col);
            let pixels: Vec<u32> = (start..start + part.width).map(|i| i as u32).collect();
            self.exactly(&pixels);
            let Some(run) = self.cells.bounds(&self.line) else { continue };
            taps = Some(taps.map_or(run, |taps| taps.with(run)));
            self.runs.push(run);
            self.know(&pixels);
        }
        match taps {
            Some(taps) => self.cells.cells.push(Cell { col, row, size, fit: None, taps }),
            None => debug_assert_eq!(first, self.cells.known.len()),
        }
    }

    /// Puts the exact positions of pixels into the line.
    fn exactly(&mut self, pixels: &[u32]) {
        let Rect { col, row, width, .. } = self.cells.rect;
        let place = |i: u32| ((col + u64::from(i) % width) as f64, (row + u64::from(i) / width) as f64);
        let moved = |by: f64| -> (Vec<f64>, Vec<f64>) {
            let (mut xs, mut ys): (Vec<f64>, Vec<f64>) =
                pixels.iter().map(|i| place(*i)).map(|(c, r)| (c + by, r + by)).unzip();
            self.exact.apply(&mut xs, &mut ys);
            (xs, ys)
        };
        let (x, y) = moved(0.5);
        self.line.reset(pixels.len());
        if self.cells.point.is_some() {
            (self.line.x, self.line.y) = (x, y);
            return;
        }
        let ((x0, y0), (x1, y1)) = (moved(0.0), moved(1.0));
        for i in 0..pixels.len() {
            // The corners next to the centre, where longitudes run round.
            let near = |at: f64| self.exact.round.map_or(at, |r| at - ((at - x[i]) / r.turn).round() * r.turn);
            let ((left, right), (top, bottom)) = ((near(x0[i]), near(x1[i])), (y0[i], y1[i]));
            if !is_torn(left, right, x[i]) && !is_torn(top, bottom, y[i]) {
                (self.line.x[i], self.line.x1[i]) = (left, right);
                (self.line.y[i], self.line.y1[i]) = (top, bottom);
            }
        }
    }

    /// Keeps the positions of the line.
    fn know(&mut self, pixels: &[u32]) {
        self.cells.known.extend(pixels);
        let line = &self.line;
        let is_point = self.cells.point.is_some();
        for i in 0..pixels.len() {
            self.cells.positions.extend([line.x[i], line.y[i]]);
            if !is_point {
                self.cells.positions.extend([line.x1[i], line.y1[i]]);
            }
        }
    }

    fn finish(mut self) -> (Cells, Vec<Bounds>) {
        let unsure = std::mem::take(&mut self.unsure);
        for pixels in unsure.chunks(4096) {
            self.exactly(pixels);
            self.know(pixels);
        }
        let Maker { mut cells, runs, .. } = self;
        let stride = cells.stride();
        let mut order: Vec<usize> = (0..cells.known.len()).collect();
        order.sort_unstable_by_key(|i| cells.known[*i]);
        cells.positions =
            order.iter().flat_map(|i| cells.positions[i * stride..(i + 1) * stride].iter().copied()).collect();
        cells.known.sort_unstable();
        (cells, runs)
    }
}

/// Twice how far the tie of a centre on an edge reaches.
const POINT: f64 = 2.0 * super::exact::TIE;

/// Whether two opposite corners do not lie around their centre: between them the transformation jumps.
fn is_torn(low: f64, high: f64, centre: f64) -> bool {
    let close = ((low + high) / 2.0 - centre).abs() <= (high - low).abs() / 4.0 + 1.0;
    !close
}
