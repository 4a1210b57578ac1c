//! The pixels under the box of an output pixel, along one axis.

/// A box that ends this near to a pixel's edge ends there.
const NEAR: f64 = 1e-10;

/// Appends the weights of the pixels of `0..size` that lie between two positions: 1 for each that lies there wholly, for the first and
/// the last the part that does, and 1 where there is only one. Gives the first.
#[inline]
pub fn boxed(a: f64, b: f64, size: u32, weights: &mut Vec<f64>) -> Option<u32> {
    let (first, end) = pixels(a, b, size)?;
    if end - first == 1.0 {
        weights.push(1.0);
    } else {
        overlaps(a, b, (first, end), weights);
    }
    Some(first as u32)
}

/// As [`boxed`], but the weight of a single pixel, too, is the part of it.
#[inline]
pub fn shared(a: f64, b: f64, size: u32, weights: &mut Vec<f64>) -> Option<u32> {
    let (first, end) = pixels(a, b, size)?;
    overlaps(a, b, (first, end), weights);
    Some(first as u32)
}

/// The first pixel, and the one behind the last.
#[inline]
pub fn pixels(a: f64, b: f64, size: u32) -> Option<(f64, f64)> {
    let (low, high) = (a.min(b), a.max(b));
    let first = (low + NEAR).floor();
    let end = (high - NEAR).ceil().max(first + 1.0);
    let (first, end) = (first.max(0.0), end.min(f64::from(size)));
    (a.is_finite() && b.is_finite() && first < end).then_some((first, end))
}

#[inline]
fn overlaps(a: f64, b: f64, (first, end): (f64, f64), weights: &mut Vec<f64>) {
    let (low, high) = (a.min(b).max(first), a.max(b).min(end));
    let mut pixel = first;
    while pixel < end {
        weights.push(high.min(pixel + 1.0) - low.max(pixel));
        pixel += 1.0;
    }
}
