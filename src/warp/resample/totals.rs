//! Totals on an output grid that is not parallel to the source.

use std::ops::Range;

use crate::pixels::Pixel;
use crate::warp::kernel::sum::Clip;
use crate::warp::kernel::taps::Plane;
use crate::warp::mapping::Mapping;
use crate::warp::shares::Shares;

/// The totals of a mapping's rectangle.
pub struct Totals {
    sums: Vec<f64>,
    /// 1 where a valid pixel has a share.
    valid: Vec<u8>,
    width: usize,
}

impl Totals {
    /// Deals out all pixels of a window.
    pub fn new<S: Pixel>(shares: &Shares, mapping: &Mapping, plane: &Plane<S>) -> Totals {
        let (width, height) = (mapping.rect.width as usize, mapping.rect.height as usize);
        let mut totals = Totals { sums: vec![0.0; width * height], valid: vec![0; width * height], width };
        let mut clip = Clip::default();
        shares.each([mapping.col, mapping.row, mapping.width, mapping.height], |col, row, corners| {
            let (col, row) = ((col - mapping.col) as usize, (row - mapping.row) as usize);
            if !plane.is_valid(col, row) {
                return;
            }
            let value = plane.line(row, col, 1).0[0].to_f64();
            clip.shares(corners, mapping.rect, |col, row, share| {
                let at = ((row - mapping.rect.row) * mapping.rect.width + col - mapping.rect.col) as usize;
                totals.sums[at] += share * value;
                totals.valid[at] = 1;
            });
        });
        totals
    }

    pub fn row(&self, row: usize, span: Range<usize>, values: &mut [f64], valid: &mut [u8]) {
        let run = row * self.width + span.start..row * self.width + span.end;
        values.copy_from_slice(&self.sums[run.clone()]);
        valid.copy_from_slice(&self.valid[run]);
    }
}
