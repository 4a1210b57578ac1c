//! The pixels of a source window.

use crate::pixels::Pixels;

/// One buffer per sample asked for, and their masks.
#[derive(Debug)]
pub struct Raster {
    pub samples: Vec<Pixels>,
    /// None, one for all samples, or one for each: 0 where the pixel is invalid.
    pub masks: Vec<Vec<u8>>,
}

impl Raster {
    /// Bytes of its buffers.
    pub fn memory(&self) -> u64 {
        let samples: usize = self.samples.iter().map(|pixels| pixels.as_bytes().len()).sum();
        (samples + self.masks.iter().map(Vec::len).sum::<usize>()) as u64
    }

    /// The mask of the sample at a position.
    pub fn mask_of(&self, position: usize) -> Option<&[u8]> {
        self.masks.get(position).or(self.masks.first()).map(Vec::as_slice)
    }

    /// The mask that the sample at a position, an alpha band, is for the others.
    pub fn opaque(&self, position: usize) -> Vec<u8> {
        let mut opaque = self.samples[position].nonzero();
        if let Some(mask) = self.mask_of(position) {
            opaque.iter_mut().zip(mask).for_each(|(opaque, mask)| *opaque &= mask);
        }
        opaque
    }
}
