//! Rows of an output grid that is parallel to the source.

use std::ops::Range;

use crate::pixels::Pixel;
use crate::warp::axis::Parallel;
use crate::warp::kernel::Kernel;
use crate::warp::kernel::average::Mean;
use crate::warp::kernel::point::Point;
use crate::warp::kernel::taps::{Family, Plane, Taps};
use crate::warp::linear::{Linear, Terms};
use crate::warp::tiles::OUTSIDE;

/// Where more than this part of a pixel's weight is missing, the rest is added up by itself: as a difference it would be noise.
const MOST_MISSING: f64 = 0.5;

pub struct Rows<'a, S> {
    taps: &'a Parallel,
    /// For kernels that are sums.
    sums: Option<Sums>,
    family: Box<dyn Family<S>>,
}

struct Sums {
    linear: Linear,
    /// What becomes of a sum; it stays one where there is none.
    mean: Option<Mean>,
    missing: Vec<f64>,
}

impl<'a, S: Pixel> Rows<'a, S> {
    pub fn new(taps: &'a Parallel, mean: Option<Mean>, family: Box<dyn Family<S>>) -> Self {
        let terms = Terms { squares: mean.is_some_and(|mean| mean.squares), counts_missing: taps.fallback.is_some() };
        let sums = (mean.is_some() || taps.kernel == Kernel::Sum).then(|| {
            let linear = Linear::new(terms, taps.rows.most_taps());
            Sums { linear, mean, missing: Vec::new() }
        });
        Rows { taps, sums, family }
    }

    pub fn row(&mut self, plane: &Plane<S>, row: usize, span: Range<usize>, values: &mut [f64], valid: &mut [u8]) {
        let taps = self.taps;
        let rows = taps.rows.taps(row);
        if rows.weights.is_empty() {
            valid.fill(0);
            return;
        }
        self.candidates(plane, row, span.clone(), valid);
        let Some(Sums { linear, mean, missing }) = &mut self.sums else {
            return each(span, values, valid, |_, i, _| self.family.pixel(plane, taps.cols.taps(i), rows));
        };
        missing.resize(span.len(), 0.0);
        let any = linear.row(plane, (&taps.cols, span.clone()), rows, values, missing);
        let (across, down) = (taps.cols.totals(span.clone()), taps.rows.total(row));
        let whole = |taps: Taps| taps.weights.len() == Point::CUBIC_TAPS;
        let all_whole = taps.fallback.is_none() || (whole(rows) && span.clone().all(|i| whole(taps.cols.taps(i))));
        if !any && all_whole {
            if let Some(mean) = mean {
                values.iter_mut().zip(across).for_each(|(v, across)| *v = mean.result(*v / (across * down)));
            }
            return;
        }
        each(span, values, valid, |k, i, sum| {
            let (total, missing) = (across[k] * down, if any { missing[k] } else { 0.0 });
            let cols = taps.cols.taps(i);
            match &taps.fallback {
                Some((near, lines)) if missing != 0.0 || !whole(cols) || !whole(rows) => {
                    let mut bilinear = Mean { squares: false, least: Point::BILINEAR.least };
                    bilinear.pixel(plane, near.taps(i), lines.taps(row))
                }
                None if missing.abs() > MOST_MISSING * total => self.family.pixel(plane, cols, rows),
                Some(_) => Some(sum / total),
                None => Some(mean.map_or(sum, |mean| mean.result(sum / (total - missing)))),
            }
        });
    }

    /// Marks those that have taps, and whose centre is valid where the kernel asks for that.
    fn candidates(&self, plane: &Plane<S>, row: usize, span: Range<usize>, valid: &mut [u8]) {
        let Parallel { point, cols, rows, .. } = self.taps;
        if point.is_none() {
            valid.iter_mut().zip(span).for_each(|(ok, i)| *ok = u8::from(!cols.taps(i).weights.is_empty()));
            return;
        }
        let line = rows.centre(row) as usize;
        let whole = plane.is_whole();
        for (ok, i) in valid.iter_mut().zip(span) {
            let centre = cols.centre(i);
            *ok = u8::from(centre != OUTSIDE && (whole || plane.is_valid(centre as usize, line)));
        }
    }
}

/// Gives `pixel` the place within the row, the column and the value of each candidate, and takes what it becomes.
fn each(
    span: Range<usize>,
    values: &mut [f64],
    valid: &mut [u8],
    mut pixel: impl FnMut(usize, usize, f64) -> Option<f64>,
) {
    for (k, ((value, ok), i)) in values.iter_mut().zip(valid).zip(span).enumerate() {
        if *ok != 0 {
            let result = pixel(k, i, *value);
            *ok = u8::from(result.is_some());
            *value = result.unwrap_or_default();
        }
    }
}
