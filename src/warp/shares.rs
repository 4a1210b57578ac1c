//! Where source pixels lie on an output grid that is not parallel to them: for totals, which each of them deals out.

use std::ops::Range;

use super::axis::Extent;
use super::cells::{CAUTION, CELL, SMALLEST_CELL, TOLERANCE};
use super::exact::{Exact, Source};
use super::kernel::sum::{Quad, pixels};
use super::surface::{Fit, fit};
use super::tiles::Tiles;
use crate::grid::Rect;

/// Corners of source pixels, in columns and rows of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    rect: Rect,
    /// Columns of the grid in 360 degrees, where x is a longitude.
    turn: Option<f64>,
    /// Columns and rows of the level.
    size: (u32, u32),
    /// By the band of [`CELL`] rows that they lie in, those of a row from left to right.
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, PartialEq)]
struct Cell {
    col: u64,
    row: u64,
    size: u64,
    corners: Corners,
}

#[derive(Debug, Clone, PartialEq)]
enum Corners {
    Smooth(Box<Fit>),
    /// Columns and rows, row-major, one more of each than the cell has pixels.
    Exact(Vec<(f64, f64)>),
}

impl Cell {
    /// The corners on the line above row `row`, for the columns `cols` and one more.
    fn line(&self, row: u64, cols: Range<u64>, out: &mut Vec<(f64, f64)>) {
        out.clear();
        match &self.corners {
            Corners::Smooth(fit) => {
                let place = |from_first: u64| from_first as f64 * (2.0 / self.size as f64) - 1.0;
                let v = place(row - self.row);
                let (along_x, along_y) = (fit.cols.line(v), fit.rows.line(v));
                out.extend((cols.start..=cols.end).map(|col| {
                    let u = place(col - self.col);
                    (along_x.at(u), along_y.at(u))
                }));
            }
            Corners::Exact(corners) => {
                let start = ((row - self.row) * (self.size + 1) + cols.start - self.col) as usize;
                out.extend(&corners[start..=start + (cols.end - cols.start) as usize]);
            }
        }
    }
}

impl Shares {
    /// The source pixels that reach into the pixels `rect` of a grid, and the window and tiles of them. `exact` goes from the
    /// pixels of the source to those of the grid. `None` if there are none.
    pub fn new(exact: &Exact, turn: Option<f64>, rect: Rect, source: &Source) -> Option<(Shares, Extent, Vec<bool>)> {
        let shares = Shares { rect, turn, size: (source.width, source.height), cells: Vec::new() };
        let mut maker = Maker { exact, shares, runs: Vec::new() };
        let longest = u64::from(source.width.max(source.height));
        let mut size = CELL;
        while size < longest {
            size *= 2;
        }
        maker.look(0, 0, size);
        let Maker { mut shares, runs, .. } = maker;
        // Larger blocks were looked at before: bands come one after the other again, and keep their order within.
        shares.cells.sort_by_key(|cell| (cell.row / CELL, cell.col / CELL));
        let (cols, rows) = runs
            .iter()
            .copied()
            .reduce(|(ac, ar), (bc, br)| ((ac.0.min(bc.0), ac.1.max(bc.1)), (ar.0.min(br.0), ar.1.max(br.1))))?;
        let (width, height) = (cols.1 - cols.0, rows.1 - rows.0);
        let tiles = Tiles::under((cols.0, rows.0), (width, height), source.tile);
        let mut touched = tiles.none();
        runs.iter().for_each(|(cols, rows)| tiles.mark(&mut touched, *cols, *rows));
        Some((shares, [cols.0, rows.0, width, height], touched))
    }

    /// Gives `take` the column, the row and the corners of each source pixel of a window that may reach into the rectangle, row
    /// by row.
    pub fn each(&self, [col, row, width, height]: Extent, mut take: impl FnMut(u32, u32, &Quad)) {
        let (mut above, mut below) = (Vec::new(), Vec::new());
        for row in u64::from(row)..u64::from(row + height) {
            let start = self.cells.partition_point(|cell| cell.row / CELL < row / CELL);
            let band = self.cells[start..].iter().take_while(|cell| cell.row / CELL == row / CELL);
            for cell in band.filter(|cell| (cell.row..cell.row + cell.size).contains(&row)) {
                let cols = cell.col.max(col.into())..(cell.col + cell.size).min(u64::from(col + width));
                if cols.is_empty() {
                    continue;
                }
                cell.line(row, cols.clone(), &mut above);
                cell.line(row + 1, cols.clone(), &mut below);
                for (i, at) in cols.enumerate() {
                    let corners = [above[i], above[i + 1], below[i + 1], below[i]];
                    self.turns(corners, |quad| take(at as u32, row as u32, quad));
                }
            }
        }
    }

    /// Gives `take` the corners of a source pixel, once for each time that it comes round to where it meets the rectangle. Not where
    /// the transformation jumps between them.
    fn turns(&self, mut corners: Quad, mut take: impl FnMut(&Quad)) {
        let (cols, rows) = (self.rect.col..self.rect.col_end(), self.rect.row..self.rect.row_end());
        let x0 = corners[0].0;
        if let Some(turn) = self.turn {
            corners.iter_mut().for_each(|(x, _)| *x -= ((*x - x0) / turn).round() * turn);
        }
        if !is_whole(&corners) || pixels(corners.map(|p| p.1), rows).is_none() {
            return;
        }
        let Some(turn) = self.turn else {
            if pixels(corners.map(|p| p.0), cols).is_some() {
                take(&corners);
            }
            return;
        };
        let high = corners.iter().fold(f64::NEG_INFINITY, |high, p| high.max(p.0));
        // The first turn whose right end lies within the rectangle or beyond it.
        let mut turns = ((cols.start as f64 - high) / turn).ceil();
        loop {
            let turned = corners.map(|(x, y)| (x + turns * turn, y));
            if turned.iter().all(|(x, _)| *x >= cols.end as f64) {
                return;
            }
            if pixels(turned.map(|p| p.0), cols.clone()).is_some() {
                take(&turned);
            }
            turns += 1.0;
        }
    }

    pub fn memory(&self) -> usize {
        let corners = |cell: &Cell| match &cell.corners {
            Corners::Smooth(_) => size_of::<Fit>(),
            Corners::Exact(corners) => 16 * corners.len(),
        };
        self.cells.iter().map(|cell| size_of::<Cell>() + corners(cell)).sum()
    }
}

/// Whether corners are those of what is nearly a parallelogram, and finite.
fn is_whole(corners: &Quad) -> bool {
    let smooth = |at: fn(&(f64, f64)) -> f64| {
        let [a, b, c, d] = corners.each_ref().map(at);
        let extent = a.max(b).max(c).max(d) - a.min(b).min(c).min(d);
        ((a + c) - (b + d)).abs() <= extent / 2.0 + f64::EPSILON
    };
    smooth(|p| p.0) && smooth(|p| p.1)
}

struct Maker<'a> {
    exact: &'a Exact<'a>,
    shares: Shares,
    /// Columns and rows of source pixels that reach into the rectangle: of each the first and the one behind the last.
    runs: Vec<((u32, u32), (u32, u32))>,
}

impl Maker<'_> {
    /// Looks for source pixels in a block of the level that meet the rectangle.
    fn look(&mut self, col: u64, row: u64, size: u64) {
        let (width, height) = (u64::from(self.shares.size.0), u64::from(self.shares.size.1));
        if col >= width || row >= height || self.misses((col, (col + size).min(width)), (row, (row + size).min(height)))
        {
            return;
        }
        if size > CELL {
            return self.divide(col, row, size, Maker::look);
        }
        self.cell(col, row, size);
    }

    fn divide(&mut self, col: u64, row: u64, size: u64, each: fn(&mut Self, u64, u64, u64)) {
        let half = size / 2;
        for (dc, dr) in [(0, 0), (half, 0), (0, half), (half, half)] {
            each(self, col + dc, row + dr, half);
        }
    }

    /// Whether the images of a lattice of points of a block, with half their extent around them, all lie beside the rectangle.
    fn misses(&self, cols: (u64, u64), rows: (u64, u64)) -> bool {
        const POINTS: u64 = 5;
        let along =
            |(start, end): (u64, u64), i: u64| start as f64 + (end - start) as f64 * i as f64 / (POINTS - 1) as f64;
        let (mut xs, mut ys): (Vec<f64>, Vec<f64>) =
            (0..POINTS * POINTS).map(|i| (along(cols, i % POINTS), along(rows, i / POINTS))).unzip();
        self.exact.apply(&mut xs, &mut ys);
        if !xs.iter().chain(&ys).all(|p| p.is_finite()) {
            return false;
        }
        let beside = |at: &[f64], start: u64, len: u64, turn: Option<f64>| {
            let low = at.iter().copied().fold(f64::INFINITY, f64::min);
            let high = at.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let margin = (high - low) / 2.0 + 2.0;
            let (mut low, mut high) = (low - margin - start as f64, high + margin - start as f64);
            if let Some(turn) = turn {
                let by = (-high / turn).ceil() * turn;
                (low, high) = (low + by, high + by);
            }
            high < 0.0 || low > len as f64
        };
        let Rect { col, row, width, height } = self.shares.rect;
        beside(&xs, col, width, self.shares.turn) || beside(&ys, row, height, None)
    }

    fn cell(&mut self, col: u64, row: u64, size: u64) {
        let (width, height) = (u64::from(self.shares.size.0), u64::from(self.shares.size.1));
        if col >= width || row >= height {
            return;
        }
        let corners = match fit(self.exact, col, row, size) {
            Some(fitted) if fitted.error * CAUTION <= TOLERANCE => Corners::Smooth(Box::new(fitted.fit)),
            _ if size > SMALLEST_CELL => return self.divide(col, row, size, Maker::cell),
            _ => {
                let side = size + 1;
                let (mut xs, mut ys): (Vec<f64>, Vec<f64>) =
                    (0..side * side).map(|i| ((col + i % side) as f64, (row + i / side) as f64)).unzip();
                self.exact.apply(&mut xs, &mut ys);
                Corners::Exact(xs.into_iter().zip(ys).collect())
            }
        };
        let cell = Cell { col, row, size, corners };
        let window = |at: u64, end: u64| (at as u32, (size.min(end - at)) as u32);
        let ((col, across), (row, down)) = (window(col, width), window(row, height));
        let lone = Shares { cells: vec![cell], ..self.shares_without_cells() };
        let mut taken: Vec<Option<(u32, u32)>> = vec![None; down as usize];
        lone.each([col, row, across, down], |at, line, _| {
            let run = &mut taken[(line - row) as usize];
            *run = Some(run.map_or((at, at + 1), |(first, end)| (first.min(at), end.max(at + 1))));
        });
        let runs =
            taken.iter().enumerate().filter_map(|(i, run)| Some(((*run)?, (row + i as u32, row + i as u32 + 1))));
        let before = self.runs.len();
        self.runs.extend(runs);
        if self.runs.len() > before {
            self.shares.cells.extend(lone.cells);
        }
    }

    fn shares_without_cells(&self) -> Shares {
        let Shares { rect, turn, size, .. } = self.shares;
        Shares { rect, turn, size, cells: Vec::new() }
    }
}
