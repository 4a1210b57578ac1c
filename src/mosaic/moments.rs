//! Mean and population standard deviation, in double precision.

use super::state::{Mosaic, cast};
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
        let run = start..start + values.len();
        let (count, mean) = (&mut self.count[run.clone()], &mut self.mean[run.clone()]);
        count.iter_mut().zip(valid).for_each(|(n, valid)| *n += u32::from(*valid));
        let values = values.iter().zip(valid);
        if self.squares.is_empty() {
            // The sum while it grows; divided once at the end, so that whole numbers stay exact.
            for (sum, (value, valid)) in mean.iter_mut().zip(values) {
                *sum += if *valid != 0 { value.to_f64() } else { 0.0 };
            }
            return;
        }
        for (((mean, squares), n), (value, valid)) in mean.iter_mut().zip(&mut self.squares[run]).zip(count).zip(values)
        {
            if *valid != 0 {
                let value = value.to_f64();
                let delta = value - *mean;
                *mean += delta / f64::from(*n);
                *squares += delta * (value - *mean);
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
