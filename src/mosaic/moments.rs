//! Mean and population standard deviation, in double precision.

use super::{Mosaic, cast};
use crate::pixels::{DataType, Pixel, Pixels};

/// Running mean and, for the deviation, the sum of squared differences from it (Welford 1962, "Note on a method for
/// calculating corrected sums of squares and products"), which does not cancel as the sum of squares would.
pub struct Moments {
    count: Vec<u32>,
    mean: Vec<f64>,
    /// Empty for the mean alone.
    squares: Vec<f64>,
}

impl Moments {
    pub fn mean(pixels: usize) -> Self {
        Moments { count: vec![0; pixels], mean: vec![0.0; pixels], squares: Vec::new() }
    }

    pub fn stdev(pixels: usize) -> Self {
        Moments { squares: vec![0.0; pixels], ..Self::mean(pixels) }
    }
}

impl<W: Pixel> Mosaic<W> for Moments {
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]) {
        for (i, (value, valid)) in values.iter().zip(valid).enumerate() {
            if *valid == 0 {
                continue;
            }
            let (at, value) = (start + i, value.to_f64());
            self.count[at] += 1;
            if self.squares.is_empty() {
                // The sum while it grows; divided once at the end, so that whole numbers stay exact.
                self.mean[at] += value;
            } else {
                let delta = value - self.mean[at];
                self.mean[at] += delta / f64::from(self.count[at]);
                self.squares[at] += delta * (value - self.mean[at]);
            }
        }
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        let Moments { count, mut mean, squares } = *self;
        if squares.is_empty() {
            mean.iter_mut().zip(&count).for_each(|(sum, n)| *sum /= f64::from((*n).max(1)));
        } else {
            for ((out, squares), n) in mean.iter_mut().zip(squares).zip(&count) {
                *out = (squares / f64::from((*n).max(1))).sqrt();
            }
        }
        (cast(mean, dtype), count.into_iter().map(|n| u8::from(n > 0)).collect())
    }
}
