//! The pixels of a source window.

use crate::cog::opened::Opened;
use crate::pixels::Pixels;

/// One buffer per sample asked for, and their masks.
#[derive(Debug)]
pub struct Raster {
    pub samples: Vec<Pixels>,
    /// None, one for all samples, or one for each: 0 where the pixel is invalid.
    pub masks: Vec<Vec<u8>>,
    /// A kernel has brought it to the output grid.
    pub sampled: bool,
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

    /// Hides the pixels where `visible` is 0.
    pub fn hide(&mut self, visible: &[u8]) {
        if self.masks.is_empty() {
            self.masks.push(visible.to_vec());
            return;
        }
        for mask in &mut self.masks {
            mask.iter_mut().zip(visible).for_each(|(mask, visible)| *mask &= visible);
        }
    }

    /// The mask that an alpha band is for the others, where `samples`, which these are, have one.
    pub fn opaque_for(&self, opened: &Opened, samples: &[u16]) -> Option<Vec<u8>> {
        let alpha = samples.iter().find_map(|sample| opened.cog.alpha_for(*sample))?;
        samples.iter().position(|sample| *sample == alpha).map(|at| self.opaque(at))
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
