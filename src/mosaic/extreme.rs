//! The highest and the lowest valid value.

use super::state::{Mosaic, cast};
use crate::buffers;
use crate::pixels::{DataType, Pixel, Pixels};

pub struct Extreme<W> {
    values: Vec<W>,
    set: Vec<u8>,
    /// Whether the new value (left) replaces the kept one (right).
    replaces: fn(&W, &W) -> bool,
}

impl<W: Pixel> Extreme<W> {
    pub fn highest(pixels: usize) -> Self {
        Self::new(pixels, |new, kept| new > kept)
    }

    pub fn lowest(pixels: usize) -> Self {
        Self::new(pixels, |new, kept| new < kept)
    }

    fn new(pixels: usize, replaces: fn(&W, &W) -> bool) -> Self {
        Extreme { values: buffers::take(pixels), set: buffers::zeros(pixels), replaces }
    }
}

impl<W: Pixel> Mosaic<W> for Extreme<W> {
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]) {
        let run = start..start + values.len();
        let (kept, set) = (&mut self.values[run.clone()], &mut self.set[run]);
        for (((kept, set), value), valid) in kept.iter_mut().zip(set).zip(values).zip(valid) {
            if *valid != 0 && (*set == 0 || (self.replaces)(value, kept)) {
                *kept = *value;
                *set = 1;
            }
        }
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        (cast(self.values, dtype), self.set)
    }
}
