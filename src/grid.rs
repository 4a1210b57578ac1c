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
