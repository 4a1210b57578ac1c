//! Rows of an output grid whose pixels lie anywhere in the source.

use std::ops::Range;

use crate::pixels::Pixel;
use crate::warp::cells::{Cells, Positions};
use crate::warp::exact::index;
use crate::warp::kernel::area::boxed;
use crate::warp::kernel::average::Mean;
use crate::warp::kernel::point::{Curve, Point};
use crate::warp::kernel::taps::{Family, Plane, Taps};
use crate::warp::tiles::OUTSIDE;

pub struct Rows<'a, S> {
    cells: &'a Cells,
    /// First column and row of the window.
    window: (u32, u32),
    family: Box<dyn Family<S>>,
    positions: Positions,
    cols: Vec<f64>,
    rows: Vec<f64>,
}

impl<'a, S: Pixel> Rows<'a, S> {
    pub fn new(cells: &'a Cells, window: (u32, u32), family: Box<dyn Family<S>>) -> Self {
        let (positions, cols, rows) = (Positions::default(), Vec::new(), Vec::new());
        Rows { cells, window, family, positions, cols, rows }
    }

    pub fn row(&mut self, plane: &Plane<S>, row: usize, span: Range<usize>, values: &mut [f64], valid: &mut [u8]) {
        let mut positions = std::mem::take(&mut self.positions);
        self.cells.row(row, span, &mut positions);
        let mut set = |i: usize, result: Option<f64>| {
            (values[i], valid[i]) = (result.unwrap_or_default(), u8::from(result.is_some()));
        };
        let Positions { x, y, x1, y1 } = &positions;
        let centres = || x.iter().zip(y).enumerate();
        match self.cells.point {
            None => {
                for (i, ((x, y), (x1, y1))) in x.iter().zip(y).zip(x1.iter().zip(y1)).enumerate() {
                    set(i, self.under(plane, (*x, *x1), (*y, *y1)));
                }
            }
            Some(Point { curve: Curve::Linear, scale: (1.0, 1.0), .. }) => {
                centres().for_each(|(i, (x, y))| set(i, self.bilinear(plane, *x, *y)));
            }
            Some(Point { needs_all: true, .. }) => {
                centres().for_each(|(i, (x, y))| set(i, self.cubic(plane, *x, *y)));
            }
            Some(point) => centres().for_each(|(i, (x, y))| set(i, self.around(plane, point, *x, *y))),
        }
        self.positions = positions;
    }

    /// All pixels under a box.
    fn under(&mut self, plane: &Plane<S>, x: (f64, f64), y: (f64, f64)) -> Option<f64> {
        self.cols.clear();
        self.rows.clear();
        let (width, height) = self.cells.size;
        let col = boxed(x.0, x.1, width, &mut self.cols)?;
        let row = boxed(y.0, y.1, height, &mut self.rows)?;
        let cols = Taps { first: (col - self.window.0) as usize, weights: &self.cols };
        let rows = Taps { first: (row - self.window.1) as usize, weights: &self.rows };
        self.family.pixel(plane, cols, rows)
    }

    /// Whether the pixel that holds a position is valid.
    fn has_centre(&self, plane: &Plane<S>, x: f64, y: f64) -> bool {
        let (width, height) = self.cells.size;
        let (col, row) = (index(x, width), index(y, height));
        let inside = col != OUTSIDE && row != OUTSIDE;
        inside && plane.is_valid((col - self.window.0) as usize, (row - self.window.1) as usize)
    }

    /// Any curve at any scale.
    fn around(&mut self, plane: &Plane<S>, point: Point, x: f64, y: f64) -> Option<f64> {
        if !self.has_centre(plane, x, y) {
            return None;
        }
        self.cols.clear();
        self.rows.clear();
        let (width, height) = self.cells.size;
        let col = point.curve.taps(x, point.scale.0, width, &mut self.cols)?;
        let row = point.curve.taps(y, point.scale.1, height, &mut self.rows)?;
        let cols = Taps { first: (col - self.window.0) as usize, weights: &self.cols };
        let rows = Taps { first: (row - self.window.1) as usize, weights: &self.rows };
        Mean { squares: false, least: point.least }.pixel(plane, cols, rows)
    }

    /// The first of `2 reach` pixels around a position within the window, and how far beyond the centre of the middle one it
    /// lies; `None` where one of them is outside of the image.
    fn first_of(&self, plane: &Plane<S>, x: f64, y: f64, reach: i64) -> Option<((usize, f64), (usize, f64))> {
        let along = |at: f64, start: u32, len: usize| {
            let from_centre = at - 0.5;
            let whole = from_centre as i64;
            let centre = whole - i64::from(from_centre < whole as f64);
            let first = centre + 1 - reach - i64::from(start);
            let inside = first >= 0 && first + 2 * reach <= len as i64;
            inside.then_some((first as usize, from_centre - centre as f64))
        };
        Some((along(x, self.window.0, plane.width())?, along(y, self.window.1, plane.height())?))
    }

    /// Two by two pixels.
    fn bilinear(&mut self, plane: &Plane<S>, x: f64, y: f64) -> Option<f64> {
        if !self.has_centre(plane, x, y) {
            return None;
        }
        let Some(((col, f), (row, g))) = self.first_of(plane, x, y, 1) else {
            return self.around(plane, Point::BILINEAR, x, y);
        };
        let [upper, lower] = [plane.whole_line::<2>(row, col), plane.whole_line::<2>(row + 1, col)];
        let (Some([a, b]), Some([c, d])) = (upper, lower) else {
            return self.around(plane, Point::BILINEAR, x, y);
        };
        let [a, b, c, d] = [a, b, c, d].map(S::to_f64);
        Some((a * (1.0 - f) + b * f) * (1.0 - g) + (c * (1.0 - f) + d * f) * g)
    }

    /// Four by four pixels, or two by two where one of them is missing.
    fn cubic(&mut self, plane: &Plane<S>, x: f64, y: f64) -> Option<f64> {
        if !self.has_centre(plane, x, y) {
            return None;
        }
        let sum = self.first_of(plane, x, y, 2).and_then(|((col, f), (row, g))| {
            let weights = |f: f64| [-1.0 - f, -f, 1.0 - f, 2.0 - f].map(|t| Curve::CatmullRom.at(t));
            let (across, down) = (weights(f), weights(g));
            let mut sum = 0.0;
            for (i, weight) in down.iter().enumerate() {
                let line = plane.whole_line::<4>(row + i, col)?.map(S::to_f64);
                sum += weight * (line[0] * across[0] + line[1] * across[1] + line[2] * across[2] + line[3] * across[3]);
            }
            Some(sum)
        });
        sum.or_else(|| self.bilinear(plane, x, y))
    }
}
