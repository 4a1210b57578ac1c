//! Output pixels made of several source pixels, row by row.

use std::ops::Range;

use super::kernel::Kernel;
use super::kernel::average::Mean;
use super::kernel::mode::Mode;
use super::kernel::order::{Extreme, Quantile};
use super::kernel::point::Point;
use super::kernel::sum::Sum;
use super::kernel::taps::{Family, Plane};
use super::mapping::{Kind, Mapping};
use super::window::Window;
use crate::cog::Nodata;
use crate::pixels::Pixel;

mod parallel;
mod placed;
mod totals;

/// Makes the values of output rows of a window, by the kernel of its mapping.
pub struct Resampler<'a, S: Pixel> {
    plane: Plane<'a, S>,
    way: Way<'a, S>,
}

enum Way<'a, S: Pixel> {
    Parallel(parallel::Rows<'a, S>),
    Placed(placed::Rows<'a, S>),
    Totals(totals::Totals),
    /// A mapping of another kind.
    Nothing,
}

impl<'a, S: Pixel> Resampler<'a, S> {
    /// A resampler of a mapping that [is resampled](Mapping::is_resampled), on its whole window. Source pixels that the mask
    /// excludes, and those that are nodata or NaN, are missing before the kernel looks at them.
    pub fn new(mapping: &'a Mapping, window: Window<'a, S>, nodata: Option<Nodata>) -> Self {
        let plane = Plane::new(window, (mapping.width, mapping.height), nodata);
        let way = match &mapping.kind {
            Kind::Parallel(taps) => {
                let mean = mean(taps.kernel, taps.point);
                Way::Parallel(parallel::Rows::new(taps, mean, family(taps.kernel, taps.point)))
            }
            Kind::Cells(cells) => {
                let family = family(cells.kernel, cells.point);
                Way::Placed(placed::Rows::new(cells, (mapping.col, mapping.row), family))
            }
            Kind::Shares(shares) => Way::Totals(totals::Totals::new(shares, mapping, &plane)),
            _ => Way::Nothing,
        };
        Resampler { plane, way }
    }

    /// Row `row` of the mapping's rectangle, `span` of its columns: their values, and in `valid` for each of them 1 if it is valid,
    /// else 0. A value that is not valid is unspecified; one that equals the nodata by chance stays valid. All slices are as long
    /// as the span.
    pub fn row(&mut self, row: usize, span: Range<usize>, values: &mut [f64], valid: &mut [u8]) {
        match &mut self.way {
            Way::Parallel(rows) => rows.row(&self.plane, row, span, values, valid),
            Way::Placed(rows) => rows.row(&self.plane, row, span, values, valid),
            Way::Totals(totals) => totals.row(row, span, values, valid),
            Way::Nothing => valid.fill(0),
        }
    }
}

/// The mean that a kernel is, if it is one.
fn mean(kernel: Kernel, point: Option<Point>) -> Option<Mean> {
    let least = point.map_or(0.0, |point| point.least);
    let is_mean = point.is_some() || matches!(kernel, Kernel::Average | Kernel::Rms);
    is_mean.then_some(Mean { squares: kernel == Kernel::Rms, least })
}

/// What makes a pixel of its taps.
fn family<S: Pixel>(kernel: Kernel, point: Option<Point>) -> Box<dyn Family<S>> {
    if let Some(mean) = mean(kernel, point) {
        return Box::new(mean);
    }
    match kernel {
        Kernel::Min => Box::new(Extreme { largest: false }),
        Kernel::Max => Box::new(Extreme { largest: true }),
        Kernel::Q1 => Box::new(Quantile::new(0.25)),
        Kernel::Med => Box::new(Quantile::new(0.5)),
        Kernel::Q3 => Box::new(Quantile::new(0.75)),
        Kernel::Mode => Box::new(Mode::default()),
        _ => Box::new(Sum),
    }
}

#[cfg(test)]
mod tests;
