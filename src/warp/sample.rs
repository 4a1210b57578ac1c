//! Source pixels brought to output pixels, row by row.

use super::mapping::{Kind, Mapping, OUTSIDE};
use crate::cog::Nodata;
use crate::pixels::Pixel;

/// The pixels of a mapping's window, row-major, of one sample of one level.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a, S> {
    pub values: &'a [S],
    /// From an internal mask or an alpha band: 0 where the pixel is invalid.
    pub mask: Option<&'a [u8]>,
}

/// Takes the values of output rows from a window and tells which of them are valid.
pub struct Sampler<'a, S> {
    mapping: &'a Mapping,
    window: Window<'a, S>,
    nodata: Option<Nodata>,
}

impl<'a, S: Pixel> Sampler<'a, S> {
    pub fn new(mapping: &'a Mapping, window: Window<'a, S>, nodata: Option<Nodata>) -> Self {
        Sampler { mapping, window, nodata }
    }

    /// Row `row` of the mapping's rectangle: values, and for each of them 1 if it is valid, else 0. A value that is not
    /// valid is unspecified. Both slices are as long as the rectangle is wide.
    pub fn row(&self, row: usize, values: &mut [S], valid: &mut [u8]) {
        self.place(row, values, valid);
        self.check(values, valid);
    }

    /// As [`Sampler::row`], but valid is what the mask does not exclude, whatever the value.
    pub fn place(&self, row: usize, values: &mut [S], valid: &mut [u8]) {
        match &self.mapping.kind {
            Kind::Aligned { cols, rows } => match rows.get(row) {
                Some(&source) if source != OUTSIDE => self.aligned(source as usize, cols, values, valid),
                _ => valid.fill(0),
            },
            Kind::Scattered { places } => {
                let width = self.mapping.rect.width as usize;
                self.scattered(&places[row * width..(row + 1) * width], values, valid);
            }
            Kind::Oversized => valid.fill(0),
        }
    }

    /// Excludes what is nodata or NaN.
    fn check(&self, values: &[S], valid: &mut [u8]) {
        let marks = valid.iter_mut().zip(values.iter());
        match self.nodata {
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

    fn aligned(&self, source: usize, cols: &[u32], values: &mut [S], valid: &mut [u8]) {
        let width = self.mapping.width as usize;
        let line = &self.window.values[source * width..(source + 1) * width];
        let mask = self.window.mask.map(|m| &m[source * width..(source + 1) * width]);
        // Columns in a row of their own are copied at the speed of memory.
        let copies = cols.len() == width && cols.first() == Some(&0) && cols.last() == Some(&(self.mapping.width - 1));
        if copies {
            values.copy_from_slice(line);
            match mask {
                Some(mask) => valid.iter_mut().zip(mask).for_each(|(ok, m)| *ok = u8::from(*m != 0)),
                None => valid.fill(1),
            }
            return;
        }
        for ((value, ok), col) in values.iter_mut().zip(valid.iter_mut()).zip(cols) {
            let inside = *col != OUTSIDE;
            let at = if inside { *col as usize } else { 0 };
            *value = line[at];
            *ok = u8::from(inside && mask.is_none_or(|m| m[at] != 0));
        }
    }

    fn scattered(&self, places: &[u32], values: &mut [S], valid: &mut [u8]) {
        let source = self.window.values;
        for ((value, ok), place) in values.iter_mut().zip(valid.iter_mut()).zip(places) {
            let inside = *place != OUTSIDE;
            let at = if inside { *place as usize } else { 0 };
            *value = source[at];
            *ok = u8::from(inside && self.window.mask.is_none_or(|m| m[at] != 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Rect;

    fn mapping(cols: Vec<u32>, rows: Vec<u32>) -> Mapping {
        let rect = Rect { col: 0, row: 0, width: cols.len() as u64, height: rows.len() as u64 };
        Mapping { rect, col: 0, row: 0, width: 3, height: 2, touched: vec![true], kind: Kind::Aligned { cols, rows } }
    }

    fn row<S: Pixel>(m: &Mapping, w: Window<S>, nodata: Option<Nodata>, row: usize) -> Vec<Option<S>> {
        let mut values = vec![S::default(); m.rect.width as usize];
        let mut valid = vec![9; values.len()];
        Sampler::new(m, w, nodata).row(row, &mut values, &mut valid);
        values.into_iter().zip(valid).map(|(v, ok)| (ok == 1).then_some(v)).collect()
    }

    #[test]
    fn outside_nodata_and_mask_are_not_valid() {
        let window = Window { values: &[1u8, 2, 3, 4, 5, 6][..], mask: None };
        let copy = mapping(vec![0, 1, 2], vec![1, OUTSIDE]);
        assert_eq!(row(&copy, window, Nodata::parse("5", crate::pixels::DataType::UInt8), 0), [Some(4), None, Some(6)]);
        assert_eq!(row(&copy, window, None, 1), [None, None, None]);
        let spread = mapping(vec![0, 0, OUTSIDE, 2], vec![0]);
        assert_eq!(row(&spread, window, None, 0), [Some(1), Some(1), None, Some(3)]);
        let masked = Window { mask: Some(&[255, 0, 1, 1, 1, 1]), ..window };
        assert_eq!(row(&copy, masked, None, 1), [None; 3]);
        assert_eq!(row(&mapping(vec![0, 1, 2], vec![0]), masked, None, 0), [Some(1), None, Some(3)]);
    }

    #[test]
    fn nan_is_never_valid() {
        let window = Window { values: &[f32::NAN, -1.0, 0.0, 0.0, 0.0, 0.0][..], mask: None };
        assert_eq!(row(&mapping(vec![0, 1, 2], vec![0]), window, None, 0), [None, Some(-1.0), Some(0.0)]);
    }
}
