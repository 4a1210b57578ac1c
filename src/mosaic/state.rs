//! What every mosaic method is.

use crate::pixels::{DataType, Pixel, Pixels};

/// What a method keeps for one band of one output tile. Values arrive in the order of the items, each pixel at most
/// once per item.
pub trait Mosaic<W: Pixel>: Send {
    /// Takes the values of the pixels from `start` on (row-major within the tile); only those whose `valid` is 1 count.
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]);
    /// Says before the first values of which pixels none will be asked for: those where `closed` is 1. They count as settled, and their
    /// values are unspecified.
    fn close(&mut self, _closed: &[u8]) {}
    /// Whether further items cannot change anything any more.
    fn is_done(&self) -> bool {
        false
    }
    /// 1 for each pixel that no further item can change; `None` if there is none yet, or never.
    fn settled(&self) -> Option<&[u8]> {
        None
    }
    /// The result as `dtype`, and 1 for each pixel that has a value.
    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>);
}

/// `values` as `dtype`; saturates, never wraps.
pub fn cast<W: Pixel>(values: Vec<W>, dtype: DataType) -> Pixels {
    if W::DTYPE == dtype {
        return W::wrap(values);
    }
    crate::with_type!(dtype, T => T::wrap(values.into_iter().map(|v| T::from_f64_saturating(v.to_f64())).collect()))
}
