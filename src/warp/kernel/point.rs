//! Kernels that interpolate at the centre of an output pixel: curves over the distance to a source pixel's centre.
//!
//! They do what GDAL's warper does, with two departures: the cubic spline is 0 beyond its radius (GDAL's grows there), and lanczos
//! needs no number of valid pixels.

use std::f64::consts::PI;

use super::Kernel;
use crate::warp::exact::index;
use crate::warp::tiles::OUTSIDE;

/// Weight over the distance from the centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    Linear,
    /// Keys' cubic convolution with a = -1/2.
    CatmullRom,
    /// The cubic B-spline, which blurs.
    Spline,
    /// Three lobes of a windowed sinc.
    Lanczos,
}

/// A point kernel at a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub curve: Curve,
    /// Output pixels per source pixel along columns and rows, at most 1: the curve is widened by their inverse.
    pub scale: (f64, f64),
    /// Without one of its 4 x 4 pixels it is bilinear.
    pub needs_all: bool,
    /// A sum of weights below this is none.
    pub least: f64,
}

/// Both scales above this: source pixels are about as large as output pixels, or larger, and the curve keeps its width. A half, and
/// what rounding does to it.
const SHORT: f64 = 0.5 + 1e-9;

impl Point {
    /// Pixels of the cubic curve at scale 1, along each axis.
    pub const CUBIC_TAPS: usize = 4;
    /// Two by two pixels.
    pub const BILINEAR: Point = Point { curve: Curve::Linear, scale: (1.0, 1.0), needs_all: false, least: 1e-5 };

    /// `None` for a kernel of another kind.
    pub fn of(kernel: Kernel, (sx, sy): (f64, f64)) -> Option<Point> {
        let curve = match kernel {
            Kernel::Bilinear => Curve::Linear,
            Kernel::Cubic => Curve::CatmullRom,
            Kernel::CubicSpline => Curve::Spline,
            Kernel::Lanczos => Curve::Lanczos,
            _ => return None,
        };
        let short = sx > SHORT && sy > SHORT;
        let scale = if short { (1.0, 1.0) } else { (sx.min(1.0), sy.min(1.0)) };
        let needs_all = short && curve == Curve::CatmullRom;
        let least = if short && curve == Curve::Linear { 1e-5 } else { 1e-6 };
        Some(Point { curve, scale, needs_all, least })
    }
}

impl Curve {
    /// In source pixels, at scale 1.
    pub fn radius(self) -> f64 {
        match self {
            Curve::Linear => 1.0,
            Curve::CatmullRom | Curve::Spline => 2.0,
            Curve::Lanczos => 3.0,
        }
    }

    pub fn at(self, distance: f64) -> f64 {
        let t = distance.abs();
        match self {
            Curve::Linear => (1.0 - t).max(0.0),
            Curve::CatmullRom if t <= 1.0 => (1.5 * t - 2.5) * t * t + 1.0,
            Curve::CatmullRom if t < 2.0 => ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0,
            Curve::Spline if t <= 1.0 => (0.5 * t - 1.0) * t * t + 2.0 / 3.0,
            Curve::Spline if t < 2.0 => (2.0 - t) * (2.0 - t) * (2.0 - t) / 6.0,
            Curve::Lanczos if t < 3.0 => sinc(t) * sinc(t / 3.0),
            _ => 0.0,
        }
    }

    /// Pixels to each side of a position that can have a weight, at a scale of at most 1.
    pub fn reach(self, scale: f64) -> f64 {
        (self.radius() / scale).ceil()
    }

    /// Appends the weights of the pixels around fractional position `at` that lie in `0..size`, and gives the first of those. Without
    /// any where the pixel that holds the position does not.
    pub fn taps(self, at: f64, scale: f64, size: u32, weights: &mut Vec<f64>) -> Option<u32> {
        if index(at, size) == OUTSIDE {
            return None;
        }
        let from_centre = at - 0.5;
        let centre = from_centre.floor();
        let fraction = from_centre - centre;
        let reach = self.reach(scale);
        let first = (centre + 1.0 - reach).max(0.0);
        let last = (centre + reach).min(f64::from(size) - 1.0);
        let mut pixel = first;
        while pixel <= last {
            weights.push(self.at((pixel - centre - fraction) * scale));
            pixel += 1.0;
        }
        Some(first as u32)
    }
}

fn sinc(t: f64) -> f64 {
    let angle = PI * t;
    // The series, where the quotient of two small numbers is noise.
    if angle < 1e-4 { 1.0 - angle * angle / 6.0 } else { angle.sin() / angle }
}
