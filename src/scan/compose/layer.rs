//! One band of one output tile while it is made.

use std::ops::Range;
use std::sync::Arc;

use super::scaled::Scaled;
use crate::cog::Nodata;
use crate::grid::Rect;
use crate::mosaic::{Method, Mosaic};
use crate::pixels::{DataType, Pixel, Pixels};
use crate::plan::{Band, Meaning};
use crate::scan::shared::finished::Finished;
use crate::store::counters::{COUNTERS, add};
use crate::warp::{Mapping, Mask, Resampler, Sampler, Window, is_value};
use crate::{with_pixels, with_type};

/// A mosaic whose working type is known only at run time. It takes no memory before the first pixels come.
pub struct Layer {
    method: Method,
    work: DataType,
    reversed: bool,
    pixels: usize,
    /// 1 where nobody wants the pixel.
    closed: Option<Arc<Vec<u8>>>,
    state: Option<Box<dyn State>>,
}

/// Pixels of one sample of a source, and where they go.
pub struct Patch<'a> {
    /// The output tile.
    pub rect: Rect,
    pub mapping: &'a Mapping,
    /// Rows and columns of the mapping's rectangle that take their values from these pixels.
    pub rows: Range<usize>,
    pub cols: Range<usize>,
    /// A window as [`Window`] describes it, with its first column and row in the level and its width.
    pub pixels: &'a Pixels,
    pub mask: Option<Mask<'a>>,
    pub first: (u32, u32),
    /// 0 where all pixels have one value.
    pub width: u32,
    /// A kernel has made the values.
    pub sampled: bool,
}

impl<'a> Patch<'a> {
    /// The whole window of a mapping.
    pub fn whole(rect: Rect, mapping: &'a Mapping, pixels: &'a Pixels, mask: Option<&'a [u8]>) -> Patch<'a> {
        let (rows, cols) = (0..mapping.rect.height as usize, 0..mapping.rect.width as usize);
        let (first, width) = ((mapping.col, mapping.row), mapping.width);
        let mask = mask.map(|values| Mask { values, col: first.0, row: first.1, width });
        Patch { rect, mapping, rows, cols, pixels, mask, first, width, sampled: false }
    }

    /// Whether all its pixels are one value that is none: a tile that is not stored.
    fn is_void(&self, nodata: Option<Nodata>) -> bool {
        self.width == 0 && with_pixels!(self.pixels, values => values.first().is_some_and(|v| !is_value(*v, nodata)))
    }
}

trait State: Send {
    fn feed(&mut self, patch: &Patch, closed: Option<&[u8]>, meaning: Meaning);
    fn is_done(&self) -> bool;
    fn settled(&self) -> Option<&[u8]>;
    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>);
}

struct Typed<W: Pixel>(Box<dyn Mosaic<W>>);

impl Layer {
    /// Of `pixels` pixels, whose items come from the last to the first where they are `reversed`.
    /// Pixels where `closed` is 1 are not wanted.
    pub fn new(band: &Band, reversed: bool, pixels: usize, closed: Option<Arc<Vec<u8>>>) -> Layer {
        Layer { method: band.method, work: band.work_dtype(), reversed, pixels, closed, state: None }
    }

    /// Feeds the pixels of a patch.
    pub fn feed(&mut self, patch: &Patch, meaning: Meaning) {
        if patch.is_void(meaning.nodata) {
            return;
        }
        let Layer { method, work, reversed, pixels, .. } = *self;
        let closed = self.closed.as_deref().map(Vec::as_slice);
        let start = || {
            with_type!(work, W => {
                let mut mosaic = method.start::<W>(pixels, reversed);
                closed.into_iter().for_each(|closed| mosaic.close(closed));
                Box::new(Typed::<W>(mosaic)) as Box<dyn State>
            })
        };
        self.state.get_or_insert_with(start).feed(patch, closed, meaning);
    }

    pub fn is_untouched(&self) -> bool {
        self.state.is_none()
    }

    pub fn is_done(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.is_done())
    }

    /// 1 for each pixel that no further item changes, or that nobody wants; `None` if there is none yet, or never.
    pub fn settled(&self) -> Option<&[u8]> {
        let closed = self.closed.as_deref().map(Vec::as_slice);
        self.state.as_ref().and_then(|state| state.settled()).or(closed)
    }

    pub fn all_settled(layers: &[Layer]) -> Vec<Option<Vec<u8>>> {
        layers.iter().map(|l| l.settled().map(<[u8]>::to_vec)).collect()
    }

    pub fn finish(self, dtype: DataType) -> Finished {
        match self.state {
            Some(state) => {
                let (pixels, mut valid) = state.finish(dtype);
                for closed in self.closed.iter() {
                    valid.iter_mut().zip(closed.iter()).for_each(|(valid, closed)| *valid &= closed ^ 1);
                }
                Finished::Pixels(pixels, valid)
            }
            None => Finished::Untouched { zero: self.method.counts() },
        }
    }
}

impl<W: Pixel> State for Typed<W> {
    fn feed(&mut self, patch: &Patch, closed: Option<&[u8]>, meaning: Meaning) {
        with_type!(patch.pixels.dtype(), S => {
            if let Some(values) = S::slice(patch.pixels) {
                let ((col, row), width) = (patch.first, patch.width);
                let window = Window { values, mask: patch.mask, col, row, width };
                if patch.mapping.is_resampled() {
                    if meaning.scale.is_some() {
                        let scaled = Scaled::of(patch.mapping, &window, meaning);
                        return feed_resampled::<f64, W>(self.0.as_mut(), (patch, closed), scaled.resampler(patch.mapping));
                    }
                    let resampler = Resampler::new(patch.mapping, window, meaning.nodata);
                    return feed_resampled::<S, W>(self.0.as_mut(), (patch, closed), resampler);
                }
                let sampler = Sampler::new(patch.mapping, patch.cols.clone(), window, meaning.nodata);
                feed_rows::<S, W>(self.0.as_mut(), (patch, closed), &sampler, meaning.scale);
            }
        });
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn settled(&self) -> Option<&[u8]> {
        self.0.settled()
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        self.0.finish(dtype)
    }
}

/// `scale` is the scale and offset to apply.
fn feed_rows<S: Pixel, W: Pixel>(
    mosaic: &mut dyn Mosaic<W>,
    (patch, closed): (&Patch, Option<&[u8]>),
    sampler: &Sampler<S>,
    scale: Option<(f64, f64)>,
) {
    let mut values = vec![S::default(); patch.cols.len()];
    let mut valid = vec![0; patch.cols.len()];
    let mut cast: Vec<W> = Vec::new();
    let mut sampled = 0;
    for row in patch.rows.clone() {
        let start = patch.mapping.start_of(patch.rect, row) + patch.cols.start;
        let Some(span) = open_span(mosaic.settled().or(closed), start, patch.cols.len()) else { continue };
        let (start, valid) = (start + span.start, &mut valid[..span.len()]);
        sampled += valid.len() as u64;
        let values = sampler.row(row, span, &mut values[..valid.len()], valid);
        cast.clear();
        match (same_type::<S, W>(values), scale) {
            (Some(same), None) => {
                mosaic.feed(start, same, valid);
                continue;
            }
            (_, None) if patch.sampled => cast.extend(values.iter().map(|v| from_kernel::<W>(v.to_f64()))),
            (_, None) => cast.extend(values.iter().map(|v| W::from_f64_saturating(round_for::<W>(v.to_f64())))),
            (_, Some((scale, offset))) => {
                cast.extend(values.iter().map(|v| W::from_f64_saturating(v.to_f64() * scale + offset)));
            }
        }
        mosaic.feed(start, &cast, valid);
    }
    add(&COUNTERS.pixels_sampled, sampled);
}

/// As [`feed_rows`], where the values are those of a kernel over the window.
fn feed_resampled<S: Pixel, W: Pixel>(
    mosaic: &mut dyn Mosaic<W>,
    (patch, closed): (&Patch, Option<&[u8]>),
    mut resampler: Resampler<S>,
) {
    let mut values = vec![0.0; patch.cols.len()];
    let mut valid = vec![0; patch.cols.len()];
    let mut cast: Vec<W> = Vec::with_capacity(values.len());
    let mut sampled = 0;
    for row in patch.rows.clone() {
        let start = patch.mapping.start_of(patch.rect, row) + patch.cols.start;
        let Some(span) = open_span(mosaic.settled().or(closed), start, patch.cols.len()) else { continue };
        let (start, len) = (start + span.start, span.len());
        sampled += len as u64;
        resampler.row(row, span, &mut values[..len], &mut valid[..len]);
        cast.clear();
        cast.extend(values[..len].iter().map(|value| from_kernel::<W>(*value)));
        mosaic.feed(start, &cast, &valid[..len]);
    }
    add(&COUNTERS.pixels_sampled, sampled);
}

/// Halves go up, also below zero.
fn from_kernel<W: Pixel>(value: f64) -> W {
    W::from_f64_saturating(if W::DTYPE.is_float() { value } else { (value + 0.5).floor() })
}

/// From the first to behind the last of `len` pixels from `start` on that is not settled; `None` if all of them are.
fn open_span(settled: Option<&[u8]>, start: usize, len: usize) -> Option<Range<usize>> {
    let Some(settled) = settled else { return Some(0..len) };
    let line = &settled[start..start + len];
    Some(line.iter().position(|set| *set == 0)?..line.iter().rposition(|set| *set == 0)? + 1)
}

/// Fractions become the nearest integer, not the one towards zero.
fn round_for<W: Pixel>(value: f64) -> f64 {
    if W::DTYPE.is_float() { value } else { value.round_ties_even() }
}

/// The values themselves where the two types are one.
fn same_type<S: Pixel, W: Pixel>(values: &[S]) -> Option<&[W]> {
    (S::DTYPE == W::DTYPE).then(|| bytemuck::cast_slice(values))
}
