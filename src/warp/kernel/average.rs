//! Weighted means of the valid pixels: `average` and `rms` over a box, and what point kernels do with the weights of their curve.

use super::taps::{Family, Plane, Taps};
use crate::pixels::Pixel;

/// `sum(w x) / sum(w)`, or `sqrt(sum(w x x) / sum(w))`.
#[derive(Debug, Clone, Copy)]
pub struct Mean {
    pub squares: bool,
    /// A sum of weights below this is none; the weights of a box have no least sum.
    pub least: f64,
}

impl Mean {
    /// What is added up of a value.
    #[inline]
    pub fn term(self, value: f64) -> f64 {
        if self.squares { value * value } else { value }
    }

    /// The result, from a mean of terms.
    #[inline]
    pub fn result(self, mean: f64) -> f64 {
        if self.squares { mean.sqrt() } else { mean }
    }
}

impl<S: Pixel> Family<S> for Mean {
    fn pixel(&mut self, plane: &Plane<S>, cols: Taps, rows: Taps) -> Option<f64> {
        let (mut sum, mut weights) = (0.0, 0.0);
        plane.each_valid(cols, rows, |value, weight| {
            sum += weight * self.term(value.to_f64());
            weights += weight;
        });
        (weights > 0.0 && weights >= self.least).then(|| self.result(sum / weights))
    }
}
