//! Values by their rank, without weights: `min`, `max`, `med`, `q1`, `q3`.

use super::taps::{Family, Plane, Taps};
use crate::pixels::Pixel;

/// The smallest or the largest value.
pub struct Extreme {
    pub largest: bool,
}

impl<S: Pixel> Family<S> for Extreme {
    fn pixel(&mut self, plane: &Plane<S>, cols: Taps, rows: Taps) -> Option<f64> {
        let mut found: Option<S> = None;
        plane.each_valid(cols, rows, |value, _| {
            let better = found.is_none_or(|found| if self.largest { value > found } else { value < found });
            found = if better { Some(value) } else { found };
        });
        found.map(S::to_f64)
    }
}

/// Of n values, sorted, that of rank `ceil(q n)`, counted from 1: of an even number the lower of the two in the middle.
pub struct Quantile<S> {
    q: f64,
    values: Vec<S>,
}

impl<S> Quantile<S> {
    pub fn new(q: f64) -> Quantile<S> {
        Quantile { q, values: Vec::new() }
    }
}

impl<S: Pixel> Family<S> for Quantile<S> {
    fn pixel(&mut self, plane: &Plane<S>, cols: Taps, rows: Taps) -> Option<f64> {
        self.values.clear();
        plane.each_valid(cols, rows, |value, _| self.values.push(value));
        let rank = ((self.q * self.values.len() as f64).ceil() as usize).saturating_sub(1);
        if rank >= self.values.len() {
            return None;
        }
        // NaN is missing before any kernel.
        let order = |a: &S, b: &S| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
        let (_, found, _) = self.values.select_nth_unstable_by(rank, order);
        Some(found.to_f64())
    }
}
