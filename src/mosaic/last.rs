//! The last valid value, where items come in their order: beside bands of other methods.

use super::state::{Mosaic, cast};
use crate::buffers;
use crate::pixels::{DataType, Pixel, Pixels};

pub struct Last<W> {
    values: Vec<W>,
    set: Vec<u8>,
}

impl<W: Pixel> Last<W> {
    pub fn new(pixels: usize) -> Self {
        // Values may be those of an earlier use: only what is set is ever looked at.
        Last { values: buffers::take(pixels), set: buffers::zeros(pixels) }
    }
}

impl<W: Pixel> Mosaic<W> for Last<W> {
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]) {
        let run = start..start + values.len();
        let kept = self.values[run.clone()].iter_mut().zip(&mut self.set[run]);
        for ((kept, set), (value, valid)) in kept.zip(values.iter().zip(valid)) {
            *kept = if *valid != 0 { *value } else { *kept };
            *set |= *valid;
        }
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        (cast(self.values, dtype), self.set)
    }
}
