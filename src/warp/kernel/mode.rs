//! The value that covers most of the box.

use std::cmp::Ordering;

use super::taps::{Family, Plane, Taps};
use crate::pixels::Pixel;

/// The value with the largest total weight; of several, the smallest. GDAL looks only at values that it meets twice.
pub struct Mode<S> {
    /// Each value with its weight so far.
    totals: Vec<(S, f64)>,
}

/// Totals that differ by less are equal: coordinates are not known better.
const TIE: f64 = 1e-7;
/// A box of more pixels is sorted, so that looking for a value in the list does not take longer the more there are.
const FEW: usize = 64;

impl<S> Default for Mode<S> {
    fn default() -> Self {
        Mode { totals: Vec::new() }
    }
}

impl<S: Pixel> Family<S> for Mode<S> {
    fn pixel(&mut self, plane: &Plane<S>, cols: Taps, rows: Taps) -> Option<f64> {
        let totals = &mut self.totals;
        totals.clear();
        if cols.weights.len() * rows.weights.len() <= FEW {
            plane.each_valid(cols, rows, |value, weight| match totals.iter_mut().find(|(known, _)| *known == value) {
                Some((_, total)) => *total += weight,
                None => totals.push((value, weight)),
            });
        } else {
            plane.each_valid(cols, rows, |value, weight| totals.push((value, weight)));
            // Stable, so that the weights of a value are added up in the order of the source's pixels, as above.
            totals.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
            totals.dedup_by(|next, first| {
                let same = next.0 == first.0;
                first.1 += if same { next.1 } else { 0.0 };
                same
            });
        }
        let largest = totals.iter().fold(0.0_f64, |largest, (_, total)| largest.max(*total));
        let ties = totals.iter().filter(|(_, total)| *total >= largest - TIE).map(|(value, _)| *value);
        ties.reduce(|a, b| if b < a { b } else { a }).map(S::to_f64)
    }
}
