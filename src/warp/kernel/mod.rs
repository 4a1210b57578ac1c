//! What an output pixel becomes of the source pixels around it.

use crate::crs::{Crs, transformer, way_back};
use crate::error::{Error, Result};
use crate::grid::Grid;

use super::exact::Source;

pub mod area;
pub mod average;
pub mod mode;
pub mod order;
pub mod point;
pub mod sum;
pub mod taps;

/// A resampling kernel. What each computes is what GDAL's warper does, but for the departures that its file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kernel {
    #[default]
    Nearest,
    Bilinear,
    Cubic,
    CubicSpline,
    Lanczos,
    Average,
    Rms,
    Mode,
    Min,
    Max,
    Med,
    Q1,
    Q3,
    Sum,
}

impl Kernel {
    const ALL: [(&'static str, Kernel); 14] = [
        ("nearest", Kernel::Nearest),
        ("bilinear", Kernel::Bilinear),
        ("cubic", Kernel::Cubic),
        ("cubic_spline", Kernel::CubicSpline),
        ("lanczos", Kernel::Lanczos),
        ("average", Kernel::Average),
        ("rms", Kernel::Rms),
        ("mode", Kernel::Mode),
        ("min", Kernel::Min),
        ("max", Kernel::Max),
        ("med", Kernel::Med),
        ("q1", Kernel::Q1),
        ("q3", Kernel::Q3),
        ("sum", Kernel::Sum),
    ];
    /// What GDAL and rasterio call one of them.
    const ALIAS: (&'static str, Kernel) = ("cubicspline", Kernel::CubicSpline);

    /// The kernel of a name.
    ///
    /// # Errors
    /// An unknown name; lists all there are.
    pub fn from_name(name: &str) -> Result<Kernel> {
        let known = Self::ALL.iter().chain([&Self::ALIAS]);
        known.into_iter().find(|(n, _)| *n == name).map(|(_, kernel)| *kernel).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(n, _)| *n).collect();
            Error::Argument(format!("unknown resampling '{name}'; use one of {}", names.join(", ")))
        })
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kernel)| *kernel == self).map_or("", |(n, _)| n)
    }

    /// Whether it takes all source pixels under the output pixel, of which one valid one is enough.
    pub fn is_area(self) -> bool {
        !self.is_point()
    }

    /// Whether it interpolates at the centre of the output pixel, whose source pixel must be valid.
    pub fn is_point(self) -> bool {
        use Kernel::*;
        matches!(self, Nearest | Bilinear | Cubic | CubicSpline | Lanczos)
    }

    /// Whether the result is one of the source's values.
    pub fn keeps_values(self) -> bool {
        use Kernel::*;
        matches!(self, Nearest | Mode | Min | Max | Med | Q1 | Q3)
    }

    /// Output pixels per source pixel along the source's columns and rows, which is what point kernels widen by where it is 0.5 or
    /// less: the length, in output pixels, of the image of one source pixel's step at the centre of the level. It is that of
    /// the level, whatever part of the output is asked for. Where that centre has no image, it is taken from the centre of the grid.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    pub fn scale(grid: &Grid, grid_crs: &Crs, source: &Source) -> Result<(f64, f64)> {
        let t = &source.transform;
        let back = way_back(grid_crs, &source.crs)?;
        let side = grid.resolution;
        if back.is_identity() {
            return Ok((t.a.hypot(t.d) / side, t.b.hypot(t.e) / side));
        }
        let (col, row) = (f64::from(source.width) / 2.0, f64::from(source.height) / 2.0);
        let points =
            [(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5), (0.0, 0.0)].map(|(c, r)| t.apply(col + c, row + r));
        let (mut xs, mut ys) = (points.map(|p| p.0), points.map(|p| p.1));
        back.transform(&mut xs, &mut ys);
        if let Some(turn) = grid_crs.turn() {
            let centre = xs[4];
            xs.iter_mut().for_each(|x| *x -= ((*x - centre) / turn).round() * turn);
        }
        let length = |i: usize| (xs[i + 1] - xs[i]).hypot(ys[i + 1] - ys[i]);
        // Where the transformation jumps, the centre does not lie between the ends.
        let is_smooth = |i: usize| {
            let (across, down) = ((xs[i + 1] + xs[i]) / 2.0 - xs[4], (ys[i + 1] + ys[i]) / 2.0 - ys[4]);
            length(i) > 0.0 && length(i).is_finite() && across.hypot(down) <= length(i) / 4.0
        };
        let scale = (length(0) / side, length(2) / side);
        if is_smooth(0) && is_smooth(2) { Ok(scale) } else { Self::scale_at_grid(grid, grid_crs, source) }
    }

    /// The same from the image of the grid's centre in the level; 1 where that has none either.
    fn scale_at_grid(grid: &Grid, grid_crs: &Crs, source: &Source) -> Result<(f64, f64)> {
        let Some(inverse) = source.transform.inverse() else { return Ok((1.0, 1.0)) };
        let to_source = transformer(grid_crs, &source.crs)?;
        let (col, row) = (grid.width as f64 / 2.0, grid.height as f64 / 2.0);
        let affine = grid.affine();
        let ends = [(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)].map(|(c, r)| affine.apply(col + c, row + r));
        let (mut xs, mut ys) = (ends.map(|p| p.0), ends.map(|p| p.1));
        to_source.transform(&mut xs, &mut ys);
        let level = |i: usize| inverse.apply(xs[i], ys[i]);
        let step = |i: usize| (level(i + 1).0 - level(i).0, level(i + 1).1 - level(i).1);
        let ((a, d), (b, e)) = (step(0), step(2));
        // The lengths of the columns of the inverse of that matrix.
        let area = (a * e - b * d).abs();
        let scale = (e.hypot(d) / area, b.hypot(a) / area);
        let is_scale = |s: f64| s.is_finite() && s > 0.0;
        Ok(if is_scale(scale.0) && is_scale(scale.1) { scale } else { (1.0, 1.0) })
    }
}

#[cfg(test)]
mod tests;
