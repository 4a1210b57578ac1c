//! The number of valid observations. A pixel that no item saw has the value 0, which is a value.

use super::state::{Mosaic, cast};
use crate::pixels::{DataType, Pixel, Pixels};

pub struct Count {
    count: Vec<u32>,
}

impl Count {
    pub fn new(pixels: usize) -> Self {
        Count { count: vec![0; pixels] }
    }
}

impl<W: Pixel> Mosaic<W> for Count {
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]) {
        for (count, valid) in self.count[start..start + values.len()].iter_mut().zip(valid) {
            *count += u32::from(*valid);
        }
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        let valid = vec![1; self.count.len()];
        (cast(self.count, dtype), valid)
    }
}
