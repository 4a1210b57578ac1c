//! The output grid, its tiles, and the affine geotransform.

use crate::error::{Error, Result};

/// A geotransform: `x = a col + b row + c`, `y = d col + e row + f`, with (0, 0) the upper left corner of the first pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    pub a: f64,
    pub b: f64,
    pub c: f64,
    pub d: f64,
    pub e: f64,
    pub f: f64,
}

impl Affine {
    pub fn apply(&self, col: f64, row: f64) -> (f64, f64) {
        (self.a * col + self.b * row + self.c, self.d * col + self.e * row + self.f)
    }

    /// Area of one pixel in squared CRS units, with the sign of the determinant.
    pub fn determinant(&self) -> f64 {
        self.a * self.e - self.b * self.d
    }

    /// The transform from (x, y) to (col, row); `None` if the pixels have no area or are not finite.
    pub fn inverse(&self) -> Option<Affine> {
        let det = self.determinant();
        if !det.is_finite() || det == 0.0 {
            return None;
        }
        let (a, b, d, e) = (self.e / det, -self.b / det, -self.d / det, self.a / det);
        Some(Affine { a, b, c: -(a * self.c + b * self.f), d, e, f: -(d * self.c + e * self.f) })
    }

    /// The transform of the same raster with pixels `sx` times as wide and `sy` times as high (an overview).
    pub fn scaled(&self, sx: f64, sy: f64) -> Affine {
        Affine { a: self.a * sx, b: self.b * sy, c: self.c, d: self.d * sx, e: self.e * sy, f: self.f }
    }

    /// No rotation or shear.
    pub fn is_axis_aligned(&self) -> bool {
        self.b == 0.0 && self.d == 0.0
    }
}

/// The output grid: north up, square pixels, origin at (`xmin`, `ymax`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub xmin: f64,
    pub ymax: f64,
    /// Side of a pixel in CRS units.
    pub resolution: f64,
    /// Columns and rows, at least one of each.
    pub width: u64,
    pub height: u64,
}

/// Rows and columns are counted in 32 bits below this; a grid of more has no use on one machine.
const MAX_SIDE: f64 = (1u64 << 31) as f64;

impl Grid {
    /// The grid of `[xmin, ymin, xmax, ymax]`: the number of pixels is rounded half to even, so the right and the lower
    /// edge may move by up to half a pixel.
    ///
    /// # Errors
    /// A bbox that is not finite or is empty, a resolution that is not a positive number, more than 2^31 pixels a side.
    pub fn new(bbox: [f64; 4], resolution: f64) -> Result<Grid> {
        let [xmin, ymin, xmax, ymax] = bbox;
        if bbox.iter().any(|v| !v.is_finite()) {
            return Err(Error::Argument(format!("bbox {bbox:?} holds a value that is not finite")));
        }
        if xmin >= xmax || ymin >= ymax {
            return Err(Error::Argument(format!(
                "bbox {bbox:?} is empty; give [xmin, ymin, xmax, ymax] with xmin < xmax and ymin < ymax \
                 (to cross the antimeridian let xmax go beyond 180, or use a projected crs)"
            )));
        }
        if !(resolution > 0.0 && resolution.is_finite()) {
            return Err(Error::Argument(format!("resolution {resolution} is not a positive number of crs units")));
        }
        let side = |length: f64| {
            let pixels = (length / resolution).round_ties_even().max(1.0);
            if pixels < MAX_SIDE {
                Ok(pixels as u64)
            } else {
                Err(Error::Argument(format!(
                    "resolution {resolution} over bbox {bbox:?} gives {pixels:.0} pixels a side; the limit is 2^31; \
                     is the resolution in units of the crs?"
                )))
            }
        };
        Ok(Grid { xmin, ymax, resolution, width: side(xmax - xmin)?, height: side(ymax - ymin)? })
    }

    /// x of the centre of a column.
    pub fn x(&self, col: u64) -> f64 {
        self.xmin + (col as f64 + 0.5) * self.resolution
    }

    /// y of the centre of a row.
    pub fn y(&self, row: u64) -> f64 {
        self.ymax - (row as f64 + 0.5) * self.resolution
    }

    /// Pixel corner to CRS.
    pub fn affine(&self) -> Affine {
        Affine { a: self.resolution, b: 0.0, c: self.xmin, d: 0.0, e: -self.resolution, f: self.ymax }
    }

    pub fn rect(&self) -> Rect {
        Rect { col: 0, row: 0, width: self.width, height: self.height }
    }
}

/// A block of pixels of the output grid, by its upper left pixel and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    pub col: u64,
    pub row: u64,
    pub width: u64,
    pub height: u64,
}

impl Rect {
    pub fn col_end(&self) -> u64 {
        self.col + self.width
    }

    pub fn row_end(&self) -> u64 {
        self.row + self.height
    }

    pub fn pixels(&self) -> usize {
        (self.width * self.height) as usize
    }

    /// The part of `self` within columns `cols` and rows `rows`, which may lie anywhere.
    pub fn clip(&self, cols: (f64, f64), rows: (f64, f64)) -> Option<Rect> {
        let bound = |(low, high): (f64, f64), start: u64, end: u64| {
            let low = low.floor().max(start as f64) as u64;
            let high = high.ceil().min(end as f64) as u64;
            (low < high).then_some((low, high))
        };
        let (c0, c1) = bound(cols, self.col, self.col_end())?;
        let (r0, r1) = bound(rows, self.row, self.row_end())?;
        Some(Rect { col: c0, row: r0, width: c1 - c0, height: r1 - r0 })
    }
}

/// The output tiles ("chunks"): squares of `size` pixels from the upper left, smaller at the right and lower edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    pub width: u64,
    pub height: u64,
    pub size: u64,
}

impl Tiling {
    pub fn across(&self) -> u64 {
        self.width.div_ceil(self.size)
    }

    pub fn down(&self) -> u64 {
        self.height.div_ceil(self.size)
    }

    pub fn rect(&self, chunk_row: u64, chunk_col: u64) -> Rect {
        let (col, row) = (chunk_col * self.size, chunk_row * self.size);
        Rect { col, row, width: self.size.min(self.width - col), height: self.size.min(self.height - row) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_number_of_pixels_is_rounded_half_to_even() {
        let size = |w: f64, h: f64, res: f64| {
            let g = Grid::new([0.0, 0.0, w, h], res).unwrap();
            (g.width, g.height)
        };
        assert_eq!(size(10.0, 5.0, 1.0), (10, 5));
        assert_eq!(size(100.0, 50.0, 10.0), (10, 5));
        assert_eq!(size(25.0, 35.0, 10.0), (2, 4));
        assert_eq!(size(0.1, 0.1, 1.0), (1, 1));
    }

    #[test]
    fn bad_grids_are_refused() {
        for bbox in
            [[1.0, 0.0, 1.0, 1.0], [0.0, 2.0, 1.0, 1.0], [f64::NAN, 0.0, 1.0, 1.0], [0.0, 0.0, f64::INFINITY, 1.0]]
        {
            assert!(Grid::new(bbox, 1.0).is_err(), "{bbox:?}");
        }
        for resolution in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-12] {
            assert!(Grid::new([0.0, 0.0, 1.0, 1.0], resolution).is_err(), "{resolution}");
        }
    }

    proptest! {
        #[test]
        fn tiles_cover_the_grid_once(width in 1u64..500, height in 1u64..500, size in 1u64..200) {
            let tiling = Tiling { width, height, size };
            let mut pixels = 0;
            for row in 0..tiling.down() {
                for col in 0..tiling.across() {
                    let rect = tiling.rect(row, col);
                    prop_assert!(rect.width >= 1 && rect.width <= size && rect.col_end() <= width);
                    prop_assert!(rect.height >= 1 && rect.height <= size && rect.row_end() <= height);
                    pixels += rect.pixels();
                }
            }
            prop_assert_eq!(pixels as u64, width * height);
        }

        #[test]
        fn an_affine_and_its_inverse_cancel(a in 0.1f64..100.0, b in -5.0f64..5.0, d in -5.0f64..5.0, e in -100.0f64..-50.0,
                                            col in 0.0f64..1e4, row in 0.0f64..1e4) {
            let affine = Affine { a, b, c: 5e5, d, e, f: 4e6 };
            let (x, y) = affine.apply(col, row);
            let (c, r) = affine.inverse().unwrap().apply(x, y);
            prop_assert!((c - col).abs() < 1e-4 && (r - row).abs() < 1e-4);
        }
    }
}
