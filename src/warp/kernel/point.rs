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

    #[inline]
    pub fn at(self, distance: f64) -> f64 {
        let t = distance.abs();
        match self {
            Curve::Linear => (1.0 - t).max(0.0),
            Curve::CatmullRom if t <= 1.0 => (1.5 * t - 2.5) * t * t + 1.0,
            Curve::CatmullRom if t < 2.0 => ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0,
            Curve::Spline if t <= 1.0 => (0.5 * t - 1.0) * t * t + 2.0 / 3.0,
            Curve::Spline if t < 2.0 => (2.0 - t) * (2.0 - t) * (2.0 - t) / 6.0,
            Curve::Lanczos if t < 3.0 => windowed_sinc(t * (PI / 3.0), (t * (PI / 3.0)).sin()),
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
        let distance = |pixel: f64| (pixel - centre - fraction) * scale;
        if self == Curve::Lanczos {
            lanczos((0..=(last - first) as u32).map(|i| distance(first + f64::from(i))), scale, weights);
            return Some(first as u32);
        }
        let mut pixel = first;
        while pixel <= last {
            weights.push(self.at(distance(pixel)));
            pixel += 1.0;
        }
        Some(first as u32)
    }
}

/// The weights of the four pixels around a position that lies `f` beyond the centre of the second.
#[inline]
pub fn catmull_rom(f: f64) -> [f64; 4] {
    [
        ((-0.5 * f + 1.0) * f - 0.5) * f,
        (1.5 * f - 2.5) * f * f + 1.0,
        ((-1.5 * f + 2.0) * f + 0.5) * f,
        (0.5 * f - 0.5) * f * f,
    ]
}

/// `sinc(t) sinc(t / 3)`, from `sin(a)` with a = pi t / 3: the sine of three times an angle is a polynomial of its sine.
#[inline]
fn windowed_sinc(a: f64, sine: f64) -> f64 {
    // The series, where the quotient of two small numbers is noise.
    let square = a * a;
    let quotient = if a.abs() < 1e-2 { 1.0 - square / 6.0 + square * square / 120.0 } else { sine / a };
    quotient * quotient * (1.0 - sine * sine * (4.0 / 3.0))
}

/// Appends the weights of distances that are `step` apart: sines by rotation, one pair of them instead of one for each.
fn lanczos(distances: impl Iterator<Item = f64>, step: f64, weights: &mut Vec<f64>) {
    let mut distances = distances.peekable();
    let Some(first) = distances.peek() else { return };
    let (mut sin, mut cos) = (first * (PI / 3.0)).sin_cos();
    let (sin_step, cos_step) = (step * (PI / 3.0)).sin_cos();
    weights.extend(distances.map(|distance| {
        let weight = if distance.abs() < 3.0 { windowed_sinc(distance * (PI / 3.0), sin) } else { 0.0 };
        (sin, cos) = (sin * cos_step + cos * sin_step, cos * cos_step - sin * sin_step);
        weight
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faster_ways_give_the_weights_of_the_curves() {
        for i in 0..1000 {
            let f = f64::from(i) / 1000.0;
            let slow = [-1.0 - f, -f, 1.0 - f, 2.0 - f].map(|t| Curve::CatmullRom.at(t));
            assert!(slow.iter().zip(catmull_rom(f)).all(|(a, b)| (a - b).abs() < 1e-14), "{f}");
            for scale in [1.0, 0.37, 0.02] {
                let mut weights = Vec::new();
                let first = Curve::Lanczos.taps(1000.5 + f, scale, 2000, &mut weights).unwrap();
                for (k, weight) in weights.iter().enumerate() {
                    let slow = Curve::Lanczos.at((f64::from(first) + k as f64 - 1000.0 - f) * scale);
                    assert!((slow - weight).abs() < 1e-12, "{f} {scale} {k}: {slow} {weight}");
                }
            }
        }
    }
}
