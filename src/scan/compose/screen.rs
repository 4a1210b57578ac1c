//! From the pixels of a mask to what it shows.

use std::sync::Arc;

use super::decode::decode;
use crate::cog::Nodata;
use crate::error::Result;
use crate::grid::Affine;
use crate::pixels::Pixels;
use crate::plan::Mask;
use crate::scan::shared::look::{Look, Lookup};
use crate::scan::shared::screen::Screen;
use crate::warp::{Mapping, Sampler, Window, mark_values};
use crate::{buffers, with_pixels};

/// Decodes a mask, and says of each window that looks at it what it shows; `None` where that is nothing. A pixel that the mask
/// does not cover, or of which it has no value, is hidden.
///
/// # Errors
/// A tile that does not decode.
pub fn screens(mask: &Mask, look: &Look) -> Result<Vec<Option<Arc<Screen>>>> {
    let raster = decode(&look.opened, &look.stored, &look.samples, None)?;
    let place_of = |sample: u16| look.samples.iter().position(|s| *s == sample);
    let Some(at) = place_of(look.sample) else { return Ok(look.lookups.iter().map(|_| None).collect()) };
    let alpha = look.opened.cog.alpha_for(look.sample).and_then(place_of).map(|at| raster.opaque(at));
    let pixels = &raster.samples[at];
    let mut visible = with_pixels!(pixels, values => mask.rule.visible(values));
    mark(pixels, look.nodata, &mut visible);
    for covers in alpha.as_deref().into_iter().chain(raster.mask_of(at)) {
        visible.iter_mut().zip(covers).for_each(|(shows, covers)| *shows &= u8::from(*covers != 0));
    }
    let whole = &look.stored.mapping;
    if mask.rule.grow > 0.0 {
        let transform = look.opened.level_transform(look.stored.plan.sets[0].level);
        visible = grown(&visible, whole.width as usize, &transform, mask.rule.grow);
    }
    raster.samples.into_iter().for_each(buffers::give);
    Ok(look.lookups.iter().map(|lookup| screen(lookup, whole, &visible)).collect())
}

fn mark(pixels: &Pixels, nodata: Option<Nodata>, visible: &mut [u8]) {
    with_pixels!(pixels, values => mark_values(values, visible, nodata));
}

/// Each pixel of a window takes what the mask's pixel under its centre says.
fn screen(lookup: &Lookup, whole: &Mapping, shows: &[u8]) -> Option<Arc<Screen>> {
    let (mapping, window) = (lookup.mapping.as_ref()?, lookup.window);
    let (width, height) = (window.width as usize, window.height as usize);
    let mut visible = vec![0; width * height];
    let pixels = Window { values: shows, mask: None, col: whole.col, row: whole.row, width: whole.width };
    let cols = mapping.rect.width as usize;
    // The mapping knows places within its own window, which is a part of the whole.
    let own = cut(pixels, mapping);
    let own = Window { values: &own, col: mapping.col, row: mapping.row, width: mapping.width, ..pixels };
    let sampler = Sampler::new(mapping, 0..cols, own, None);
    let (mut values, mut valid) = (vec![0; cols], vec![0; cols]);
    let (left, top) =
        (mapping.rect.col as usize - window.col as usize, mapping.rect.row as usize - window.row as usize);
    for row in 0..mapping.rect.height as usize {
        let found = sampler.row(row, 0..cols, &mut values, &mut valid);
        let line = &mut visible[(top + row) * width + left..][..cols];
        line.iter_mut().zip(found.iter().zip(&valid)).for_each(|(shows, (value, valid))| *shows = value & valid);
    }
    visible.contains(&1).then(|| Arc::new(Screen { window, visible }))
}

/// The part of a window that is a mapping's own.
fn cut(window: Window<u8>, mapping: &Mapping) -> Vec<u8> {
    let first = (mapping.col - window.col) as usize;
    let lines = window.values.chunks_exact(window.width as usize);
    let lines = lines.skip((mapping.row - window.row) as usize).take(mapping.height as usize);
    lines.flat_map(|line| &line[first..first + mapping.width as usize]).copied().collect()
}

/// Hides what is nearer than `radius`, in units of the transform, to a hidden pixel: between centres, what is just as far
/// included.
fn grown(visible: &[u8], width: usize, transform: &Affine, radius: f64) -> Vec<u8> {
    let height = visible.len() / width.max(1);
    let near = offsets(transform, radius, width, height);
    // Of each row, how many pixels before a place are hidden.
    let mut before = Vec::with_capacity((width + 1) * height);
    for row in visible.chunks_exact(width) {
        let mut hidden = 0_u32;
        before.push(hidden);
        before.extend(row.iter().map(|shows| {
            hidden += u32::from(shows ^ 1);
            hidden
        }));
    }
    let mut grown = visible.to_vec();
    for (row, line) in grown.chunks_exact_mut(width).enumerate() {
        for (down, (left, right)) in &near {
            let Some(other) = row.checked_add_signed(*down).filter(|other| *other < height) else { continue };
            let before = &before[other * (width + 1)..][..=width];
            for (col, shows) in line.iter_mut().enumerate() {
                let from = col.saturating_add_signed(*left).min(width);
                let to = col.saturating_add_signed(*right + 1).min(width);
                *shows &= u8::from(before[to] == before[from]);
            }
        }
    }
    grown
}

/// For each row within a radius, by how many rows it lies below, the first and the last column within it, relative to the centre.
fn offsets(transform: &Affine, radius: f64, width: usize, height: usize) -> Vec<(isize, (isize, isize))> {
    let Affine { a, b, d, e, .. } = *transform;
    // |(a c + b r, d c + e r)| <= radius, solved for c.
    let radius = radius * (1.0 + 1e-9);
    let squares = a * a + d * d;
    let most = height as isize;
    let within = |down: isize| {
        let r = down as f64;
        let half = (a * b + d * e) * r;
        let rest = (b * b + e * e) * r * r - radius * radius;
        // `min` and `max` would pass over NaN.
        let root = Some((half * half - squares * rest).sqrt()).filter(|root| !root.is_nan())?;
        let (first, last) = ((-half - root) / squares, (-half + root) / squares);
        let limit = width as f64;
        let (first, last) = (first.max(-limit).ceil(), last.min(limit).floor());
        (first <= last).then_some((down, (first as isize, last as isize)))
    };
    (-most..=most).filter_map(within).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_pixels_grow_by_a_circle() {
        let (width, height) = (9, 7);
        let transform = Affine { a: 20.0, b: 0.0, c: 0.0, d: 0.0, e: -20.0, f: 0.0 };
        let mut visible = vec![1; width * height];
        visible[3 * width + 4] = 0;
        visible[0] = 0;
        let turned = Affine { a: 12.0, b: 16.0, c: 0.0, d: 16.0, e: -12.0, f: 0.0 };
        let flat = Affine { a: 10.0, b: 0.0, c: 0.0, d: 0.0, e: 30.0, f: 0.0 };
        for transform in [transform, turned, flat] {
            for radius in [0.0, 19.9, 20.0, 28.3, 45.0, 60.0, 1e4] {
                let grown = grown(&visible, width, &transform, radius);
                for (at, shows) in grown.iter().enumerate() {
                    let (col, row) = (at % width, at / width);
                    let near = [(0, 0), (4, 3)].iter().any(|(c, r)| {
                        let (dc, dr) = (col as f64 - f64::from(*c), row as f64 - f64::from(*r));
                        let x = transform.a * dc + transform.b * dr;
                        let y = transform.d * dc + transform.e * dr;
                        x.hypot(y) <= radius + 1e-6
                    });
                    assert_eq!(*shows, u8::from(!near), "{transform:?} {radius} {col} {row}");
                }
            }
        }
    }
}
