//! The source pixels that one output pixel is made of.

use std::borrow::Cow;

use crate::buffers;
use crate::cog::Nodata;
use crate::pixels::Pixel;
use crate::warp::window::{Window, check};

/// Neighbours along one axis: the first, as a column or row of the window, and the weight of each.
#[derive(Debug, Clone, Copy)]
pub struct Taps<'t> {
    pub first: usize,
    pub weights: &'t [f64],
}

/// What a kernel makes of the source pixels under an output pixel.
pub trait Family<S: Pixel>: Send {
    /// `None` where it is missing.
    fn pixel(&mut self, plane: &Plane<S>, cols: Taps, rows: Taps) -> Option<f64>;
}

/// The pixels of a window, each valid or missing.
pub struct Plane<'a, S: Pixel> {
    values: Cow<'a, [S]>,
    width: usize,
    /// 0 for each pixel that is missing; `None` where none is.
    valid: Option<Vec<u8>>,
}

impl<'a, S: Pixel> Plane<'a, S> {
    /// The window of a mapping, whose size is given.
    pub fn new(window: Window<'a, S>, (width, height): (u32, u32), nodata: Option<Nodata>) -> Plane<'a, S> {
        let (width, height) = (width as usize, height as usize);
        let values = match window.width {
            0 => vec![window.values.first().copied().unwrap_or_default(); width * height].into(),
            _ => Cow::Borrowed(window.values),
        };
        let mut valid: Option<Vec<u8>> = None;
        let mut marks = vec![0; width];
        for (row, line) in values.chunks_exact(width).enumerate() {
            match &window.mask {
                Some(mask) => {
                    let first = (window.col - mask.col) as usize;
                    let line = &mask.line(window.row + row as u32)[first..first + width];
                    marks.iter_mut().zip(line).for_each(|(ok, m)| *ok = u8::from(*m != 0));
                }
                None => marks.fill(1),
            }
            check(line, &mut marks, nodata);
            if valid.is_none() && marks.contains(&0) {
                let mut all: Vec<u8> = buffers::take(width * height);
                all.fill(1);
                valid = Some(all);
            }
            if let Some(valid) = &mut valid {
                valid[row * width..(row + 1) * width].copy_from_slice(&marks);
            }
        }
        Plane { values, width, valid }
    }

    pub fn is_whole(&self) -> bool {
        self.valid.is_none()
    }

    pub fn is_valid(&self, col: usize, row: usize) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid[row * self.width + col] != 0)
    }

    /// `len` values of a row, and which of them are valid where any pixel of the window is not.
    pub fn line(&self, row: usize, col: usize, len: usize) -> (&[S], Option<&[u8]>) {
        let start = row * self.width + col;
        (&self.values[start..start + len], self.valid.as_ref().map(|valid| &valid[start..start + len]))
    }

    /// `N` values of a row, if all of them are valid.
    pub fn whole_line<const N: usize>(&self, row: usize, col: usize) -> Option<[S; N]> {
        let (values, valid) = self.line(row, col, N);
        let whole = valid.is_none_or(|valid| !valid.contains(&0));
        whole.then(|| values.try_into().ok()).flatten()
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Gives `take` the value and the weight of each valid pixel under the taps, row by row.
    pub fn each_valid(&self, cols: Taps, rows: Taps, mut take: impl FnMut(S, f64)) {
        for (row, down) in (rows.first..).zip(rows.weights) {
            let (values, valid) = self.line(row, cols.first, cols.weights.len());
            let pixels = values.iter().zip(cols.weights);
            match valid {
                None => pixels.for_each(|(value, along)| take(*value, along * down)),
                Some(valid) => {
                    let valid = pixels.zip(valid).filter(|(_, ok)| **ok != 0);
                    valid.for_each(|((value, along), _)| take(*value, along * down));
                }
            }
        }
    }
}

impl<S: Pixel> Drop for Plane<'_, S> {
    fn drop(&mut self) {
        if let Some(valid) = self.valid.take() {
            buffers::give(u8::wrap(valid));
        }
    }
}
