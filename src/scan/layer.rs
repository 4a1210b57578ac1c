//! One band of one output tile while it is made.

use crate::cog::Nodata;
use crate::grid::Rect;
use crate::mosaic::{Method, Mosaic};
use crate::pixels::{DataType, Pixel, Pixels};
use crate::plan::Band;
use crate::warp::{Kind, Mapping, OUTSIDE, Sampler, Window};
use crate::with_type;

/// A mosaic whose working type is known only at run time.
pub struct Layer {
    state: Box<dyn State>,
}

trait State: Send {
    fn feed(&mut self, rect: Rect, mapping: &Mapping, pixels: &Pixels, mask: Option<&[u8]>, nodata: Option<Nodata>);
    fn is_done(&self) -> bool;
    fn settled(&self) -> Option<&[u8]>;
    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>);
}

struct Typed<W: Pixel>(Box<dyn Mosaic<W>>);

impl Layer {
    pub fn new(method: Method, band: &Band, pixels: usize) -> Layer {
        let work = method.work_dtype(band.source_dtype, band.dtype);
        let state: Box<dyn State> = with_type!(work, W => Box::new(Typed::<W>(method.start::<W>(pixels))));
        Layer { state }
    }

    /// Feeds the pixels of a window, which `mapping` brings to the tile at `rect`.
    pub fn feed(
        &mut self,
        rect: Rect,
        mapping: &Mapping,
        pixels: &Pixels,
        mask: Option<&[u8]>,
        nodata: Option<Nodata>,
    ) {
        self.state.feed(rect, mapping, pixels, mask, nodata);
    }

    pub fn is_done(&self) -> bool {
        self.state.is_done()
    }

    /// 1 for each pixel that no further item changes; `None` if that is never known.
    pub fn settled(&self) -> Option<&[u8]> {
        self.state.settled()
    }

    pub fn all_settled(layers: &[Layer]) -> Vec<Option<Vec<u8>>> {
        layers.iter().map(|l| l.settled().filter(|s| s.contains(&1)).map(<[u8]>::to_vec)).collect()
    }

    pub fn finish(self, dtype: DataType) -> (Pixels, Vec<u8>) {
        self.state.finish(dtype)
    }
}

/// Whether `mapping` reaches a pixel of the tile at `rect` that is not settled.
pub fn adds(mapping: &Mapping, rect: Rect, settled: &[u8]) -> bool {
    let width = mapping.rect.width as usize;
    (0..mapping.rect.height as usize).any(|row| {
        let start = start_of(mapping, rect, row);
        let open = settled[start..start + width].iter().enumerate().filter(|(_, s)| **s == 0).map(|(i, _)| i);
        match &mapping.kind {
            Kind::Aligned { cols, rows } => rows[row] != OUTSIDE && open.into_iter().any(|i| cols[i] != OUTSIDE),
            Kind::Scattered { places } => open.into_iter().any(|i| places[row * width + i] != OUTSIDE),
            Kind::Oversized => open.into_iter().next().is_some(),
        }
    })
}

/// Where row `row` of the mapping starts in the tile at `rect`.
fn start_of(mapping: &Mapping, rect: Rect, row: usize) -> usize {
    let within = (mapping.rect.row - rect.row) as usize + row;
    within * rect.width as usize + (mapping.rect.col - rect.col) as usize
}

impl<W: Pixel> State for Typed<W> {
    fn feed(&mut self, rect: Rect, mapping: &Mapping, pixels: &Pixels, mask: Option<&[u8]>, nodata: Option<Nodata>) {
        with_type!(pixels.dtype(), S => {
            if let Some(values) = S::slice(pixels) {
                let window = Window { values, mask };
                feed_rows::<S, W>(self.0.as_mut(), rect, mapping, &Sampler::new(mapping, window, nodata));
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

fn feed_rows<S: Pixel, W: Pixel>(mosaic: &mut dyn Mosaic<W>, rect: Rect, mapping: &Mapping, sampler: &Sampler<S>) {
    let width = mapping.rect.width as usize;
    let mut values = vec![S::default(); width];
    let mut valid = vec![0; width];
    let mut cast: Vec<W> = Vec::new();
    for row in 0..mapping.rect.height as usize {
        sampler.row(row, &mut values, &mut valid);
        let start = start_of(mapping, rect, row);
        match bytemuck_same::<S, W>(&values) {
            Some(same) => mosaic.feed(start, same, &valid),
            None => {
                cast.clear();
                cast.extend(values.iter().map(|v| W::from_f64_saturating(round_for::<W>(v.to_f64()))));
                mosaic.feed(start, &cast, &valid);
            }
        }
    }
}

/// Fractions become the nearest integer, not the one towards zero.
fn round_for<W: Pixel>(value: f64) -> f64 {
    if W::DTYPE.is_float() { value } else { value.round_ties_even() }
}

/// The values themselves where the two types are one.
fn bytemuck_same<S: Pixel, W: Pixel>(values: &[S]) -> Option<&[W]> {
    (S::DTYPE == W::DTYPE).then(|| bytemuck::cast_slice(values))
}
