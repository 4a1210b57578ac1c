//! Kernels between grids that are parallel: taps per column and per row.

use std::ops::Range;

use super::exact::{Lattice, Round, Source, index};
use super::kernel::Kernel;
use super::kernel::area::{boxed, shared};
use super::kernel::point::Point;
use super::kernel::taps::Taps;
use super::tiles::{OUTSIDE, Tiles};
use crate::grid::Rect;

/// Taps of neighbouring output columns, or rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// The first tap of each, relative to the window once that is known.
    first: Vec<u32>,
    /// Where its weights begin, and where the last ones end.
    starts: Vec<u32>,
    weights: Vec<f64>,
    /// The sum of its weights.
    totals: Vec<f64>,
    /// The source pixel that holds its centre.
    centres: Vec<u32>,
}

impl Axis {
    /// `taps` appends the weights of an output column, and gives the first tap and the pixel under the centre.
    fn of(columns: Range<u64>, mut taps: impl FnMut(u64, &mut Vec<f64>) -> Option<(u32, u32)>) -> Axis {
        let mut axis = Axis { starts: vec![0], ..Axis::default() };
        for column in columns {
            let start = axis.weights.len();
            let (first, centre) = taps(column, &mut axis.weights).unwrap_or((0, OUTSIDE));
            axis.totals.push(axis.weights[start..].iter().sum());
            axis.starts.push(axis.weights.len() as u32);
            axis.first.push(first);
            axis.centres.push(centre);
        }
        axis
    }

    pub fn len(&self) -> usize {
        self.first.len()
    }

    #[inline]
    pub fn taps(&self, i: usize) -> Taps<'_> {
        let weights = &self.weights[self.starts[i] as usize..self.starts[i + 1] as usize];
        Taps { first: self.first[i] as usize, weights }
    }

    pub fn total(&self, i: usize) -> f64 {
        self.totals[i]
    }

    /// Of neighbours.
    pub fn totals(&self, span: Range<usize>) -> &[f64] {
        &self.totals[span]
    }

    /// The pixel under the centre, or [`OUTSIDE`].
    #[inline]
    pub fn centre(&self, i: usize) -> u32 {
        self.centres[i]
    }

    /// The columns of the window that the taps of `span` lie in.
    pub fn window_of(&self, span: Range<usize>) -> Option<Range<usize>> {
        let taps = || span.clone().map(|i| self.taps(i)).filter(|taps| !taps.weights.is_empty());
        let start = taps().map(|taps| taps.first).min()?;
        Some(start..taps().map(|taps| taps.first + taps.weights.len()).max()?)
    }

    /// The most taps that one has.
    pub fn most_taps(&self) -> usize {
        (0..self.len()).map(|i| self.taps(i).weights.len()).max().unwrap_or(0)
    }

    fn is_empty_at(&self, i: usize) -> bool {
        self.starts[i] == self.starts[i + 1]
    }

    /// The taps of each that has some.
    pub fn spans(&self) -> impl Iterator<Item = (usize, Range<u32>)> {
        let span = |i: usize| self.first[i]..self.first[i] + (self.starts[i + 1] - self.starts[i]);
        (0..self.len()).filter(|i| !self.is_empty_at(*i)).map(move |i| (i, span(i)))
    }

    /// From the first that has taps to behind the last.
    fn covered(&self) -> Option<Range<usize>> {
        let first = (0..self.len()).find(|i| !self.is_empty_at(*i))?;
        let last = (0..self.len()).rfind(|i| !self.is_empty_at(*i))?;
        Some(first..last + 1)
    }

    /// Where the window begins, and how long it is.
    fn window(&self) -> Option<(u32, u32)> {
        let first = self.spans().map(|(_, span)| span.start).min()?;
        let end = self.spans().map(|(_, span)| span.end).max()?;
        Some((first, end - first))
    }

    fn relative_to(&mut self, start: u32) {
        self.first.iter_mut().for_each(|first| *first = first.saturating_sub(start));
        self.centres.iter_mut().filter(|c| **c != OUTSIDE).for_each(|centre| *centre -= start);
    }

    fn memory(&self) -> usize {
        12 * self.len() + 8 * (self.weights.len() + self.totals.len())
    }
}

/// Columns and rows of a kernel whose result is a product of the two.
#[derive(Debug, Clone, PartialEq)]
pub struct Parallel {
    pub kernel: Kernel,
    pub point: Option<Point>,
    pub cols: Axis,
    pub rows: Axis,
    /// Where taps of [`Point::needs_all`] are missing: those of the bilinear kernel.
    pub fallback: Option<(Axis, Axis)>,
}

/// The window of a source: first column and row, width, height.
pub type Extent = [u32; 4];

impl Parallel {
    /// The taps of the pixels `rect` of a lattice, the part of it that has some, the window and the tiles of that. `point` is for
    /// point kernels. `None` if there are none.
    pub fn new(
        lattice: Lattice,
        rect: Rect,
        source: &Source,
        kernel: Kernel,
        point: Option<Point>,
    ) -> Option<(Parallel, Rect, Extent, Vec<bool>)> {
        let ways = Ways { lattice, source, round: Round::of(source), kernel };
        let (cols, rows) = (rect.col..rect.col_end(), rect.row..rect.row_end());
        let (c, r) = (ways.cols(cols, point).covered()?, ways.rows(rows, point).covered()?);
        let rect = Rect {
            col: rect.col + c.start as u64,
            row: rect.row + r.start as u64,
            width: c.len() as u64,
            height: r.len() as u64,
        };
        let axes = |point| (ways.cols(rect.col..rect.col_end(), point), ways.rows(rect.row..rect.row_end(), point));
        let (mut cols, mut rows) = axes(point);
        let ((col, width), (row, height)) = (cols.window()?, rows.window()?);
        cols.relative_to(col);
        rows.relative_to(row);
        let fallback = point.filter(|point| point.needs_all).map(|_| {
            let (mut cols, mut rows) = axes(Some(Point::BILINEAR));
            cols.relative_to(col);
            rows.relative_to(row);
            (cols, rows)
        });
        let spans = |axis: &Axis| axis.spans().map(|(_, span)| span).collect::<Vec<_>>();
        let tiles = Tiles::under((col, row), (width, height), source.tile);
        let touched = tiles.crossed_spans(&spans(&cols), &spans(&rows));
        Some((Parallel { kernel, point, cols, rows, fallback }, rect, [col, row, width, height], touched))
    }

    pub fn memory(&self) -> usize {
        let fallback = self.fallback.as_ref().map_or(0, |(cols, rows)| cols.memory() + rows.memory());
        self.cols.memory() + self.rows.memory() + fallback
    }
}

/// How columns and rows of the output find their taps.
struct Ways<'a> {
    lattice: Lattice<'a>,
    source: &'a Source,
    round: Option<Round>,
    kernel: Kernel,
}

impl Ways<'_> {
    fn cols(&self, cols: Range<u64>, point: Option<Point>) -> Axis {
        let t = &self.source.transform;
        let place = |col: f64| (self.lattice.x(col) - t.c) / t.a;
        // The turn is that of the centre: a box may lie across the seam.
        let turned = |at: f64, centre: f64| match self.round {
            Some(round) if round.near(centre) != centre => at + (round.near(centre) - centre),
            _ => at,
        };
        Axis::of(cols, |col, weights| {
            let centre = place(col as f64 + 0.5);
            let ends = [col as f64, (col + 1) as f64].map(|edge| turned(place(edge), centre));
            let centre = self.round.map_or(centre, |round| round.near(centre));
            self.taps(centre, ends, self.source.width, point.map(|p| (p, p.scale.0)), weights)
        })
    }

    fn rows(&self, rows: Range<u64>, point: Option<Point>) -> Axis {
        let t = &self.source.transform;
        let place = |row: f64| (self.lattice.y(row) - t.f) / t.e;
        Axis::of(rows, |row, weights| {
            let ends = [place(row as f64), place((row + 1) as f64)];
            self.taps(place(row as f64 + 0.5), ends, self.source.height, point.map(|p| (p, p.scale.1)), weights)
        })
    }

    fn taps(
        &self,
        centre: f64,
        [low, high]: [f64; 2],
        size: u32,
        point: Option<(Point, f64)>,
        weights: &mut Vec<f64>,
    ) -> Option<(u32, u32)> {
        let Some((point, scale)) = point else {
            let part = if self.kernel == Kernel::Sum { shared } else { boxed };
            return Some((part(low, high, size, weights)?, OUTSIDE));
        };
        let start = weights.len();
        let mut first = point.curve.taps(centre, scale, size, weights)?;
        if !point.needs_all {
            // What has no weight need not be read.
            let ahead = weights[start..].iter().take_while(|w| **w == 0.0).count();
            weights.drain(start..start + ahead);
            first += ahead as u32;
            while weights.len() > start && weights.last() == Some(&0.0) {
                weights.pop();
            }
        }
        Some((first, index(centre, size)))
    }
}
