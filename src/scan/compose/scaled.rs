//! Stored numbers as the values that they stand for, before a kernel takes them: a sum of values is not a value of the sum.

use crate::buffers;
use crate::pixels::{Pixel, Pixels};
use crate::plan::Meaning;
use crate::warp::{Mapping, Mask, Resampler, Window, mark_values};

/// The pixels of a window in the terms of their scale and offset, and which of them are valid.
pub struct Scaled {
    values: Vec<f64>,
    valid: Vec<u8>,
}

impl Scaled {
    /// Of the whole window of a mapping.
    pub fn of<S: Pixel>(mapping: &Mapping, window: &Window<S>, meaning: Meaning) -> Scaled {
        let (scale, offset) = meaning.scale.unwrap_or((1.0, 0.0));
        let mut values: Vec<f64> = buffers::take(window.values.len());
        values.iter_mut().zip(window.values).for_each(|(to, value)| *to = value.to_f64() * scale + offset);
        let mut valid = vec![1; values.len()];
        if let Some(mask) = &window.mask {
            let first = (mapping.col - mask.col) as usize;
            let width = mapping.width as usize;
            for (row, valid) in valid.chunks_exact_mut(width).enumerate() {
                let line = (mapping.row - mask.row) as usize + row;
                valid.copy_from_slice(&mask.values[line * mask.width as usize + first..][..width]);
            }
        }
        mark_values(window.values, &mut valid, meaning.nodata);
        Scaled { values, valid }
    }

    /// A resampler of these.
    pub fn resampler<'a>(&'a self, mapping: &'a Mapping) -> Resampler<'a, f64> {
        let Mapping { col, row, width, .. } = *mapping;
        let mask = Some(Mask { values: &self.valid, col, row, width });
        Resampler::new(mapping, Window { values: &self.values, mask, col, row, width }, None)
    }
}

impl Drop for Scaled {
    fn drop(&mut self) {
        buffers::give(Pixels::Float64(std::mem::take(&mut self.values)));
    }
}
