//! Totals that are kept: each source pixel is dealt out over the output pixels by the shares of its area.

use std::ops::Range;

use super::taps::{Family, Plane, Taps};
use crate::grid::Rect;
use crate::pixels::Pixel;

/// The sum of the shares under an output pixel.
pub struct Sum;

impl<S: Pixel> Family<S> for Sum {
    fn pixel(&mut self, plane: &Plane<S>, cols: Taps, rows: Taps) -> Option<f64> {
        let mut sum = None;
        plane.each_valid(cols, rows, |value, share| *sum.get_or_insert(0.0) += share * value.to_f64());
        sum
    }
}

/// A quadrilateral by its corners, in turn. In output pixels.
pub type Quad = [(f64, f64); 4];

/// A share that is not wider than this is none: where edges coincide, it is what coordinates are not known better than. In output
/// pixels.
pub const SLIVER: f64 = 2e-7;

/// Twice the area, by the shoelace formula, about the first corner.
fn area(corners: &[(f64, f64)]) -> f64 {
    let Some((x0, y0)) = corners.first() else { return 0.0 };
    let cross = |pair: &[(f64, f64)]| {
        let [(ax, ay), (bx, by)] = [pair[0], pair[1]];
        (ax - x0) * (by - y0) - (bx - x0) * (ay - y0)
    };
    corners.windows(2).map(cross).sum::<f64>().abs()
}

/// Shares of the area of quadrilaterals that fall into output pixels.
#[derive(Default)]
pub struct Clip {
    strip: Vec<(f64, f64)>,
    cell: Vec<(f64, f64)>,
    half: Vec<(f64, f64)>,
}

impl Clip {
    /// Calls `take` with column, row and share for each pixel of `rect` that a convex quadrilateral reaches into.
    pub fn shares(&mut self, quad: &Quad, rect: Rect, mut take: impl FnMut(u64, u64, f64)) {
        let whole = area(quad);
        if !(whole > 0.0 && whole.is_finite()) {
            return;
        }
        let Some((top, bottom)) = pixels(quad.map(|p| p.1), rect.row..rect.row_end()) else { return };
        let Some((left, right)) = pixels(quad.map(|p| p.0), rect.col..rect.col_end()) else { return };
        for row in top..bottom {
            between(quad, |p| (p.1, p.0), row as f64, &mut self.half, &mut self.strip);
            for col in left..right {
                between(&self.strip, |p| (p.1, p.0), col as f64, &mut self.half, &mut self.cell);
                let part = area(&self.cell);
                if part > 0.0 {
                    take(col, row, part / whole);
                }
            }
        }
    }
}

/// From the first pixel of a range that coordinates reach into to the one behind the last.
pub fn pixels(coordinates: [f64; 4], range: Range<u64>) -> Option<(u64, u64)> {
    let low = coordinates.into_iter().fold(f64::INFINITY, f64::min);
    let high = coordinates.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let first = (low + SLIVER).floor();
    let end = (high - SLIVER).ceil().max(first + 1.0);
    let (first, end) = (first.max(range.start as f64), end.min(range.end as f64));
    (first < end).then_some((first as u64, end as u64))
}

/// The part of a convex polygon whose first coordinate lies in `low..low + 1`, with the coordinates swapped: the other comes first.
/// `turn` gives the coordinate to cut at, and the other.
fn between(
    polygon: &[(f64, f64)],
    turn: impl Fn(&(f64, f64)) -> (f64, f64),
    low: f64,
    half: &mut Vec<(f64, f64)>,
    part: &mut Vec<(f64, f64)>,
) {
    half.clear();
    half.extend(polygon.iter().map(turn));
    part.clear();
    cut(half, part, |at| at - low);
    half.clear();
    cut(part, half, |at| low + 1.0 - at);
    part.clear();
    part.append(half);
}

/// Sutherland and Hodgman: the part of a polygon where `inside` of the first coordinate is not negative.
fn cut(polygon: &[(f64, f64)], part: &mut Vec<(f64, f64)>, inside: impl Fn(f64) -> f64) {
    let Some(mut from) = polygon.last().copied() else { return };
    for to in polygon.iter().copied() {
        let (a, b) = (inside(from.0), inside(to.0));
        if (a >= 0.0) != (b >= 0.0) {
            let t = a / (a - b);
            part.push((from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1)));
        }
        if b >= 0.0 {
            part.push(to);
        }
        from = to;
    }
}
