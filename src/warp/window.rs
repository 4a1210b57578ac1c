//! The source pixels that are decoded, and which of them are valid.

use crate::cog::Nodata;
use crate::pixels::Pixel;

/// Pixels of one sample of one level, row-major: the whole window of a mapping, or one tile of the level; or one value, where
/// all pixels of that are the same.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a, S> {
    pub values: &'a [S],
    pub mask: Option<Mask<'a>>,
    /// Column and row, in the level, of the first pixel.
    pub col: u32,
    pub row: u32,
    /// Pixels of one row; 0 where all pixels have one value.
    pub width: u32,
}

/// Which pixels of a level are valid: from an internal mask, an alpha band or a band of classes. It may cover more of the level
/// than the pixels that it goes with.
#[derive(Debug, Clone, Copy)]
pub struct Mask<'a> {
    /// Row-major, 0 where the pixel is invalid.
    pub values: &'a [u8],
    /// Column and row, in the level, of its first pixel.
    pub col: u32,
    pub row: u32,
    /// Pixels of one row.
    pub width: u32,
}

impl Mask<'_> {
    /// Its row at `row` of the level.
    pub fn line(&self, row: u32) -> &[u8] {
        let start = (row - self.row) as usize * self.width as usize;
        &self.values[start..start + self.width as usize]
    }
}

/// Excludes what is nodata or NaN.
pub fn check<S: Pixel>(values: &[S], valid: &mut [u8], nodata: Option<Nodata>) {
    let marks = valid.iter_mut().zip(values.iter());
    match nodata {
        // A floating-point nodata need not match to the last bit.
        Some(nodata) if S::DTYPE.is_float() => {
            marks.for_each(|(ok, value)| *ok &= u8::from(!value.is_nan() && !nodata.matches(*value)));
        }
        None if S::DTYPE.is_float() => marks.for_each(|(ok, value)| *ok &= u8::from(!value.is_nan())),
        Some(nodata) => {
            if let Some(nodata) = nodata.cast::<S>() {
                marks.for_each(|(ok, value)| *ok &= u8::from(*value != nodata));
            }
        }
        None => {}
    }
}

/// Whether a stored value is one, neither nodata nor NaN.
pub fn is_value<S: Pixel>(value: S, nodata: Option<Nodata>) -> bool {
    let mut valid = [1];
    check(&[value], &mut valid, nodata);
    valid == [1]
}
