//! The first valid value.

use super::state::{Mosaic, cast};
use crate::buffers;
use crate::pixels::{DataType, Pixel, Pixels};

pub struct First<W> {
    values: Vec<W>,
    set: Vec<u8>,
    missing: usize,
}

impl<W: Pixel> First<W> {
    pub fn new(pixels: usize) -> Self {
        // Values may be those of an earlier use: only what is set is ever looked at.
        First { values: buffers::take(pixels), set: buffers::zeros(pixels), missing: pixels }
    }
}

impl<W: Pixel> Mosaic<W> for First<W> {
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]) {
        let run = start..start + values.len();
        let (kept, set) = (&mut self.values[run.clone()], &mut self.set[run]);
        // Most rows are new and whole: copying them is several times faster than choosing pixel by pixel.
        let untouched = set.iter().fold(0, |all, s| all | s) == 0;
        if untouched && valid.iter().fold(1, |all, v| all & v) == 1 {
            kept.copy_from_slice(values);
            set.fill(1);
            self.missing -= values.len();
            return;
        }
        let mut added = 0;
        for (((kept, set), value), valid) in kept.iter_mut().zip(set).zip(values).zip(valid) {
            let takes = *valid & (*set ^ 1);
            *kept = if takes != 0 { *value } else { *kept };
            *set |= *valid;
            added += usize::from(takes);
        }
        self.missing -= added;
    }

    fn close(&mut self, closed: &[u8]) {
        self.set.copy_from_slice(closed);
        self.missing = closed.iter().filter(|closed| **closed == 0).count();
    }

    fn is_done(&self) -> bool {
        self.missing == 0
    }

    fn settled(&self) -> Option<&[u8]> {
        (self.missing < self.set.len()).then_some(&self.set)
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        (cast(self.values, dtype), self.set)
    }
}
