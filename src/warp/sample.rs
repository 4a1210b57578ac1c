//! Source pixels brought to output pixels, row by row.

use std::ops::Range;

use super::mapping::{Kind, Mapping};
use super::tiles::OUTSIDE;
use super::window::{Window, check};
use crate::cog::Nodata;
use crate::pixels::Pixel;

/// Takes the values of output rows from a window and tells which of them are valid.
pub struct Sampler<'a, S> {
    mapping: &'a Mapping,
    window: Window<'a, S>,
    nodata: Option<Nodata>,
    cols: Range<usize>,
    /// The columns are neighbours in the source, too: what is taken is a run of the window.
    run: bool,
}

impl<'a, S: Pixel> Sampler<'a, S> {
    /// A sampler of the columns `cols` of the mapping's rectangle. The window holds every pixel that the mapping takes for
    /// them in the rows that will be asked for; for a scattered mapping it is that of the mapping.
    pub fn new(mapping: &'a Mapping, cols: Range<usize>, window: Window<'a, S>, nodata: Option<Nodata>) -> Self {
        let run = match &mapping.kind {
            Kind::Aligned { cols: places, .. } => {
                let places = &places[cols.clone()];
                places.first().is_some_and(|c| *c != OUTSIDE) && places.windows(2).all(|w| w[0].wrapping_add(1) == w[1])
            }
            _ => false,
        };
        Sampler { mapping, window, nodata, cols, run }
    }

    /// Row `row` of the mapping's rectangle, `span` of the sampler's columns: their values, and in `valid` for each of them 1 if
    /// it is valid, else 0. A value that is not valid is unspecified. All slices are as long as the span.
    pub fn row<'s>(&'s self, row: usize, span: Range<usize>, values: &'s mut [S], valid: &mut [u8]) -> &'s [S] {
        let values = self.place(row, span, values, valid);
        check(values, valid, self.nodata);
        values
    }

    /// As [`Sampler::row`], but valid is what the mask does not exclude, whatever the value.
    pub fn place<'s>(&'s self, row: usize, span: Range<usize>, values: &'s mut [S], valid: &mut [u8]) -> &'s [S] {
        let taken = self.cols.start + span.start..self.cols.start + span.end;
        if self.window.width == 0 {
            self.uniform(row, taken, values, valid);
            return values;
        }
        match &self.mapping.kind {
            Kind::Aligned { cols, rows } => match rows.get(row) {
                Some(&source) if source != OUTSIDE => {
                    return self.aligned(source, &cols[taken], values, valid);
                }
                _ => valid.fill(0),
            },
            Kind::Scattered { places } => {
                let start = row * self.mapping.rect.width as usize;
                self.scattered(&places[start + taken.start..start + taken.end], values, valid);
            }
            _ => valid.fill(0),
        }
        values
    }

    fn aligned<'s>(&'s self, source: u32, cols: &[u32], values: &'s mut [S], valid: &mut [u8]) -> &'s [S] {
        let Window { col, row, width, .. } = self.window;
        let line = (self.mapping.row + source - row) as usize * width as usize;
        // A tile may begin to the right of the mapping's window, or to the left of it.
        let place = |c: u32| (self.mapping.col + c - col) as usize;
        if self.run {
            let first = cols.first().map_or(0, |c| place(*c));
            valid.fill(1);
            self.hide(source, cols, valid);
            return &self.window.values[line + first..line + first + cols.len()];
        }
        let line = &self.window.values[line..line + width as usize];
        for ((value, ok), c) in values.iter_mut().zip(valid.iter_mut()).zip(cols) {
            let inside = *c != OUTSIDE;
            *value = line[if inside { place(*c) } else { 0 }];
            *ok = u8::from(inside);
        }
        self.hide(source, cols, valid);
        values
    }

    /// Excludes what the mask does, of the columns `cols` of the mapping's row `source`.
    fn hide(&self, source: u32, cols: &[u32], valid: &mut [u8]) {
        let Some(mask) = &self.window.mask else { return };
        let line = mask.line(self.mapping.row + source);
        let place = |c: u32| (self.mapping.col + c - mask.col) as usize;
        if self.run {
            let first = cols.first().map_or(0, |c| place(*c));
            valid.iter_mut().zip(&line[first..first + cols.len()]).for_each(|(ok, m)| *ok = u8::from(*m != 0));
            return;
        }
        for (ok, c) in valid.iter_mut().zip(cols).filter(|(_, c)| **c != OUTSIDE) {
            *ok = u8::from(line[place(*c)] != 0);
        }
    }

    /// A row of a window whose pixels all have one value.
    fn uniform(&self, row: usize, taken: Range<usize>, values: &mut [S], valid: &mut [u8]) {
        values.fill(self.window.values.first().copied().unwrap_or_default());
        let inside = |places: &[u32], valid: &mut [u8]| {
            valid.iter_mut().zip(places).for_each(|(ok, place)| *ok = u8::from(*place != OUTSIDE));
        };
        match &self.mapping.kind {
            Kind::Aligned { cols, rows } => match rows.get(row) {
                Some(&source) if source != OUTSIDE => {
                    inside(&cols[taken.clone()], valid);
                    self.hide(source, &cols[taken], valid);
                }
                _ => valid.fill(0),
            },
            Kind::Scattered { places } => {
                let start = row * self.mapping.rect.width as usize;
                let places = &places[start + taken.start..start + taken.end];
                inside(places, valid);
                self.hide_places(places, valid);
            }
            _ => valid.fill(0),
        }
    }

    fn scattered(&self, places: &[u32], values: &mut [S], valid: &mut [u8]) {
        let source = self.window.values;
        for ((value, ok), place) in values.iter_mut().zip(valid.iter_mut()).zip(places) {
            let inside = *place != OUTSIDE;
            *value = source[if inside { *place as usize } else { 0 }];
            *ok = u8::from(inside);
        }
        self.hide_places(places, valid);
    }

    /// Excludes what the mask does, of places in the mapping's window.
    fn hide_places(&self, places: &[u32], valid: &mut [u8]) {
        let Some(mask) = &self.window.mask else { return };
        let Mapping { col, row, width, .. } = *self.mapping;
        let marks = valid.iter_mut().zip(places).filter(|(_, place)| **place != OUTSIDE);
        if (mask.col, mask.row, mask.width) == (col, row, width) {
            marks.for_each(|(ok, place)| *ok = u8::from(mask.values[*place as usize] != 0));
        } else {
            marks.for_each(|(ok, place)| {
                let line = mask.line(row + place / width);
                *ok = u8::from(line[(col + place % width - mask.col) as usize] != 0);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Rect;
    use crate::warp::window::Mask;

    fn mapping(cols: Vec<u32>, rows: Vec<u32>) -> Mapping {
        let rect = Rect { col: 0, row: 0, width: cols.len() as u64, height: rows.len() as u64 };
        Mapping { rect, col: 0, row: 0, width: 3, height: 2, touched: vec![true], kind: Kind::Aligned { cols, rows } }
    }

    fn row<S: Pixel>(m: &Mapping, w: Window<S>, nodata: Option<Nodata>, row: usize) -> Vec<Option<S>> {
        let mut values = vec![S::default(); m.rect.width as usize];
        let mut valid = vec![9; values.len()];
        let sampler = Sampler::new(m, 0..values.len(), w, nodata);
        let span = 0..valid.len();
        let values = sampler.row(row, span, &mut values, &mut valid).to_vec();
        values.into_iter().zip(valid).map(|(v, ok)| (ok == 1).then_some(v)).collect()
    }

    #[test]
    fn outside_nodata_and_mask_are_not_valid() {
        let window = Window { values: &[1u8, 2, 3, 4, 5, 6][..], mask: None, col: 0, row: 0, width: 3 };
        let copy = mapping(vec![0, 1, 2], vec![1, OUTSIDE]);
        assert_eq!(row(&copy, window, Nodata::parse("5", crate::pixels::DataType::UInt8), 0), [Some(4), None, Some(6)]);
        assert_eq!(row(&copy, window, None, 1), [None, None, None]);
        let spread = mapping(vec![0, 0, OUTSIDE, 2], vec![0]);
        assert_eq!(row(&spread, window, None, 0), [Some(1), Some(1), None, Some(3)]);
        let same = Window { values: &[8u8][..], width: 0, ..window };
        assert_eq!(row(&spread, same, None, 0), [Some(8), Some(8), None, Some(8)]);
        assert_eq!(row(&copy, same, None, 1), [None; 3]);
        assert_eq!(row(&copy, same, Nodata::parse("8", crate::pixels::DataType::UInt8), 0), [None; 3]);
        let mask = Mask { values: &[255, 0, 1, 1, 1, 1], col: 0, row: 0, width: 3 };
        let masked = Window { mask: Some(mask), ..window };
        assert_eq!(row(&copy, masked, None, 1), [None; 3]);
        assert_eq!(row(&mapping(vec![0, 1, 2], vec![0]), masked, None, 0), [Some(1), None, Some(3)]);
        let same = Window { width: 0, values: &[8u8], ..masked };
        assert_eq!(row(&spread, same, None, 0), [Some(8), Some(8), None, Some(8)]);
        assert_eq!(row(&mapping(vec![2, 1, 0], vec![0]), same, None, 0), [Some(8), None, Some(8)]);
    }

    #[test]
    fn a_mask_may_cover_more_than_the_pixels() {
        // The tile of columns 4 and 5, rows 2 and 3, under a mask of columns 2 to 5, rows 1 to 3.
        let mask = Mask { values: &[0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0], col: 2, row: 1, width: 4 };
        let tile = Window { values: &[1u8, 2, 3, 4], mask: Some(mask), col: 4, row: 2, width: 2 };
        let rect = Rect { col: 0, row: 0, width: 2, height: 2 };
        let run = Kind::Aligned { cols: vec![0, 1], rows: vec![0, 1] };
        let spread = Kind::Aligned { cols: vec![1, 0], rows: vec![1, OUTSIDE] };
        let places = Kind::Scattered { places: vec![0, 1, 3, OUTSIDE] };
        for (kind, first, second) in [
            (run, [None, Some(2)], [Some(3), None]),
            (spread, [None, Some(3)], [None; 2]),
            (places, [None, Some(2)], [None; 2]),
        ] {
            let m = Mapping { rect, col: 4, row: 2, width: 2, height: 2, touched: vec![true], kind };
            assert_eq!((row(&m, tile, None, 0), row(&m, tile, None, 1)), (first.to_vec(), second.to_vec()));
        }
    }

    #[test]
    fn nan_is_never_valid() {
        let window = Window { values: &[f32::NAN, -1.0, 0.0, 0.0, 0.0, 0.0][..], mask: None, col: 0, row: 0, width: 3 };
        assert_eq!(row(&mapping(vec![0, 1, 2], vec![0]), window, None, 0), [None, Some(-1.0), Some(0.0)]);
    }
}
