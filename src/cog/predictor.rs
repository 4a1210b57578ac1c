//! Undoes the differencing that TIFF applies before compression.

use super::codec::{Compression, corrupt};
use crate::error::Result;

/// Undoes the horizontal predictor (2) in rows of native-endian integers: each value was stored as the difference to the
/// same sample of the pixel to its left, modulo the type.
///
/// `values` are whole rows of `row_len` values, `samples` of them per pixel. TIFF 6.0, section 14.
pub fn undo_horizontal<T: Word>(values: &mut [T], row_len: usize, samples: usize) {
    for row in values.chunks_exact_mut(row_len.max(1)) {
        match samples {
            1 => T::running_sum(row),
            2 => sum_pixels::<T, 2>(row),
            3 => sum_pixels::<T, 3>(row),
            4 => sum_pixels::<T, 4>(row),
            _ => sum_strided(row, samples),
        }
    }
}

/// With the number of samples known, the sums stay in registers.
fn sum_pixels<T: Word, const N: usize>(row: &mut [T]) {
    let mut sums = [T::default(); N];
    for pixel in row.as_chunks_mut::<N>().0 {
        for (value, sum) in pixel.iter_mut().zip(&mut sums) {
            *sum = sum.plus(*value);
            *value = *sum;
        }
    }
}

fn sum_strided<T: Word>(row: &mut [T], samples: usize) {
    for i in samples..row.len() {
        row[i] = row[i].plus(row[i - samples]);
    }
}

/// An unsigned integer that the horizontal predictor works on.
pub trait Word: bytemuck::Pod + Default {
    fn plus(self, other: Self) -> Self;
    /// Replaces each value by the sum of all up to it.
    fn running_sum(row: &mut [Self]) {
        sum_pixels::<Self, 1>(row);
    }
}

macro_rules! impl_word {
    ($($T:ty, $lanes:literal;)*) => {$(
        impl Word for $T {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            /// Sums blocks of one vector register in log2 steps, so that only one addition per block waits for the
            /// block before.
            fn running_sum(row: &mut [Self]) {
                const LANES: usize = $lanes;
                let (blocks, rest) = row.as_chunks_mut::<LANES>();
                let mut carry: $T = 0;
                for block in blocks {
                    let mut sums = *block;
                    let mut step = 1;
                    while step < LANES {
                        let mut shifted = [0; LANES];
                        shifted[step..].copy_from_slice(&sums[..LANES - step]);
                        for (sum, value) in sums.iter_mut().zip(shifted) {
                            *sum = sum.wrapping_add(value);
                        }
                        step *= 2;
                    }
                    for (out, sum) in block.iter_mut().zip(sums) {
                        *out = sum.wrapping_add(carry);
                    }
                    carry = carry.wrapping_add(sums[LANES - 1]);
                }
                for value in rest {
                    carry = carry.wrapping_add(*value);
                    *value = carry;
                }
            }
        }
    )*};
}

impl_word! {
    u8, 16;
    u16, 8;
    u32, 4;
}

impl Word for u64 {
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

/// Undoes the floating-point predictor (3): the bytes of a row were sorted by significance (all most significant bytes
/// first), then differenced bytewise. Gives little-endian values of `bytes_per_value` bytes, whatever the file's order.
///
/// Adobe Photoshop TIFF Technical Note 3.
pub fn undo_floating_point(bytes: &mut [u8], row_len: usize, samples: usize, bytes_per_value: usize) -> Result<()> {
    let values = row_len / bytes_per_value.max(1);
    if values * bytes_per_value != row_len || row_len == 0 {
        return Err(corrupt(Compression::None, "its rows are no whole numbers of floating-point values"));
    }
    let mut planes = vec![0; row_len];
    for row in bytes.chunks_exact_mut(row_len) {
        undo_horizontal(row, row_len, samples);
        planes.copy_from_slice(row);
        match bytes_per_value {
            2 => interleave::<2>(&planes, row),
            3 => interleave::<3>(&planes, row),
            4 => interleave::<4>(&planes, row),
            _ => interleave::<8>(&planes, row),
        }
    }
    Ok(())
}

/// From `N` planes, most significant first, to little-endian values.
fn interleave<const N: usize>(planes: &[u8], row: &mut [u8]) {
    let values = planes.len() / N;
    for (significance, plane) in planes.chunks_exact(values.max(1)).take(N).enumerate() {
        for (value, byte) in row.as_chunks_mut::<N>().0.iter_mut().zip(plane) {
            value[N - 1 - significance] = *byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn horizontal<T: Word>(values: &mut [T], row_len: usize, samples: usize, minus: fn(T, T) -> T) {
        for row in values.chunks_exact_mut(row_len) {
            for i in (samples..row.len()).rev() {
                row[i] = minus(row[i], row[i - samples]);
            }
        }
    }

    proptest! {
        #[test]
        fn horizontal_differences_come_back(seed: u64, pixels in 1usize..70, samples in 1usize..6, rows in 1usize..4) {
            let row_len = pixels * samples;
            let words: Vec<u64> =
                (0..row_len * rows).map(|i| seed.wrapping_mul(i as u64 * 2 + 1).rotate_left(i as u32)).collect();
            macro_rules! check {
                ($($T:ty),*) => {$({
                    let original: Vec<$T> = words.iter().map(|w| *w as $T).collect();
                    let mut values = original.clone();
                    horizontal(&mut values, row_len, samples, |a, b| a.wrapping_sub(b));
                    undo_horizontal(&mut values, row_len, samples);
                    prop_assert_eq!(values, original);
                })*};
            }
            check!(u8, u16, u32, u64);
        }

        #[test]
        fn floating_point_bytes_come_back(seed: u64, pixels in 1usize..40, samples in 1usize..4) {
            for width in [2, 3, 4, 8] {
                let row_len = pixels * samples * width;
                let original: Vec<u8> =
                    (0..row_len * 2).map(|i| (seed.wrapping_mul(i as u64 * 2 + 1) >> 40) as u8).collect();
                let mut stored = original.clone();
                for (row, source) in stored.chunks_exact_mut(row_len).zip(original.chunks_exact(row_len)) {
                    let values = row_len / width;
                    for (i, byte) in row.iter_mut().enumerate() {
                        *byte = source[(i % values) * width + width - 1 - i / values];
                    }
                }
                horizontal(&mut stored, row_len, samples, u8::wrapping_sub);
                undo_floating_point(&mut stored, row_len, samples, width).unwrap();
                prop_assert_eq!(&stored, &original);
            }
        }
    }
}
