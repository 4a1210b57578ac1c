//! Windows that are much finer than the output, brought to its grid as soon as they are decoded.

use super::decode::decode;
use super::scaled::Scaled;
use crate::cog::opened::Opened;
use crate::error::Result;
use crate::items::Asset;
use crate::pixels::{Pixel, Pixels};
use crate::plan::{Cube, Meaning};
use crate::scan::shared::memory::Reservation;
use crate::scan::shared::part::OnGrid;
use crate::scan::shared::raster::Raster;
use crate::warp::{Kernel, Mapping, Mask, Resampler, Sampler, Window};
use crate::{buffers, with_type};

/// Decodes a window and brings its pixels to the output grid at once, which takes less memory than a window much finer than it. The
/// result goes with [`Mapping::identity`]; with a kernel it is sampled, as float64. `decoding` is given back when the window is decoded.
///
/// # Errors
/// As [`decode`].
pub fn decode_on_grid(cube: &Cube, asset: &Asset, job: OnGrid, decoding: Option<Reservation>) -> Result<Raster> {
    let OnGrid { opened, stored, samples, kernel } = job;
    let mut raster = decode(opened, stored, samples, stored.tiles_shown())?;
    drop(decoding);
    if let Some(screen) = stored.screen() {
        raster.hide(&screen.visible);
    }
    if kernel == Kernel::Nearest {
        return Ok(placed(raster, &stored.mapping));
    }
    let meaning = |sample| cube.meaning(sample, opened, asset);
    Ok(sampled(&raster, &stored.mapping, opened, samples, meaning))
}

/// A mask over the whole window of a mapping.
pub fn of_window<'m>(mapping: &Mapping, values: &'m [u8]) -> Mask<'m> {
    Mask { values, col: mapping.col, row: mapping.row, width: mapping.width }
}

/// Brings the pixels of a window to the output grid.
pub fn placed(raster: Raster, mapping: &Mapping) -> Raster {
    let (width, height) = (mapping.rect.width as usize, mapping.rect.height as usize);
    let mut masks = vec![vec![0; width * height]; raster.masks.len().max(1)];
    let place = |(position, pixels): (usize, &Pixels), mask: &mut [u8]| {
        with_type!(pixels.dtype(), T => {
            let mut placed: Vec<T> = buffers::take(width * height);
            let mut scratch = vec![T::default(); width];
            let sampler = Sampler::new(mapping, 0..width, window_of::<T>(pixels, mapping, raster.mask_of(position)), None);
            for (row, (values, valid)) in placed.chunks_mut(width).zip(mask.chunks_mut(width)).enumerate() {
                values.copy_from_slice(sampler.place(row, 0..width, &mut scratch, valid));
            }
            T::wrap(placed)
        })
    };
    let last = masks.len() - 1;
    let samples = raster.samples.iter().enumerate().map(|at| place(at, &mut masks[at.0.min(last)])).collect();
    raster.samples.into_iter().for_each(buffers::give);
    Raster { samples, masks }
}

fn window_of<'a, T: Pixel>(pixels: &'a Pixels, mapping: &Mapping, mask: Option<&'a [u8]>) -> Window<'a, T> {
    let mask = mask.map(|mask| of_window(mapping, mask));
    let values = T::slice(pixels).unwrap_or_default();
    Window { values, mask, col: mapping.col, row: mapping.row, width: mapping.width }
}

/// One buffer and one mask for each sample; an alpha band has become the mask of the others.
fn sampled(
    raster: &Raster,
    mapping: &Mapping,
    opened: &Opened,
    samples: &[u16],
    meaning: impl Fn(u16) -> Meaning,
) -> Raster {
    let (width, height) = (mapping.rect.width as usize, mapping.rect.height as usize);
    let opaque = raster.opaque_for(opened, samples);
    let (mut placed, mut masks) = (Vec::with_capacity(samples.len()), Vec::with_capacity(samples.len()));
    for (at, (sample, pixels)) in samples.iter().zip(&raster.samples).enumerate() {
        let alpha = opaque.as_deref().filter(|_| opened.cog.alpha_for(*sample).is_some());
        let mask = alpha.or_else(|| raster.mask_of(at));
        let (mut values, mut valid) = (buffers::take(width * height), vec![0; width * height]);
        with_type!(pixels.dtype(), T => {
            let (window, meaning) = (window_of::<T>(pixels, mapping, mask), meaning(*sample));
            if meaning.scale.is_some() {
                all_rows(Scaled::of(mapping, &window, meaning).resampler(mapping), width, &mut values, &mut valid);
            } else {
                all_rows(Resampler::new(mapping, window, meaning.nodata), width, &mut values, &mut valid);
            }
        });
        placed.push(Pixels::Float64(values));
        masks.push(valid);
    }
    Raster { samples: placed, masks }
}

fn all_rows<S: Pixel>(mut resampler: Resampler<S>, width: usize, values: &mut [f64], valid: &mut [u8]) {
    for (row, (values, valid)) in values.chunks_mut(width).zip(valid.chunks_mut(width)).enumerate() {
        resampler.row(row, 0..width, values, valid);
    }
}
