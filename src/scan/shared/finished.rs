//! One band of a finished output tile.

use crate::pixels::Pixels;

/// The pixels of a band.
#[derive(Debug)]
pub enum Finished {
    /// Values and validity (1 or 0), row-major.
    Pixels(Pixels, Vec<u8>),
    /// No item gave a pixel: none has a value, or all have the value 0 (a count).
    Untouched { zero: bool },
}
