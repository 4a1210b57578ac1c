//! Weighted sums of whole rows, for grids that are parallel: source rows are added up first, along which plain loops run, then the
//! columns of the sum.

use std::ops::Range;

use super::axis::Axis;
use super::kernel::taps::{Plane, Taps};
use crate::pixels::Pixel;

/// Source rows at hand: more than a short kernel takes, and few enough to stay in the cache.
const LINES: usize = 16;

/// What is added up.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub squares: bool,
    /// What is missing is counted, whatever its weight.
    pub counts_missing: bool,
}

/// Adds up the rows of a plane.
pub struct Linear {
    terms: Terms,
    /// A ring: row n of the window is at n modulo its length.
    lines: Vec<Line>,
    /// The span that was asked for last, and the columns of the window under it.
    seen: Option<(Range<usize>, Range<usize>)>,
    sum: Vec<f64>,
    missing: Vec<f64>,
}

/// A source row, ready to be added up.
#[derive(Default)]
struct Line {
    row: Option<usize>,
    /// 0 where a pixel is missing.
    values: Vec<f64>,
    /// 1 where a pixel is missing; not filled where none is.
    missing: Vec<f64>,
    is_whole: bool,
}

impl Linear {
    /// For rows of one mapping that take up to `taps` source rows.
    pub fn new(terms: Terms, taps: usize) -> Linear {
        let lines = (0..taps.clamp(1, LINES)).map(|_| Line::default()).collect();
        Linear { terms, lines, seen: None, sum: Vec::new(), missing: Vec::new() }
    }

    /// The sums of an output row, for `span` of `cols`, and in `missing` the sums of the weights of what is missing. Gives whether
    /// anything is.
    pub fn row<S: Pixel>(
        &mut self,
        plane: &Plane<S>,
        (cols, span): (&Axis, Range<usize>),
        rows: Taps,
        sums: &mut [f64],
        missing: &mut [f64],
    ) -> bool {
        let known = self.seen.as_ref().filter(|(seen, _)| *seen == span).map(|(_, window)| window.clone());
        let Some(window) = known.or_else(|| cols.window_of(span.clone())) else {
            sums.fill(0.0);
            return false;
        };
        self.seen = Some((span.clone(), window.clone()));
        self.add_up(plane, window.clone(), rows);
        gather(&self.sum, cols, span.clone(), window.start, sums);
        let any = self.missing.iter().any(|m| *m != 0.0);
        match (any, self.terms.counts_missing) {
            (false, _) => {}
            (true, false) => gather(&self.missing, cols, span, window.start, missing),
            (true, true) => {
                for (out, i) in missing.iter_mut().zip(span) {
                    let Taps { first, weights } = cols.taps(i);
                    let from = first.wrapping_sub(window.start).min(self.missing.len());
                    *out = self.missing[from..].iter().take(weights.len()).sum();
                }
            }
        }
        any
    }

    /// Adds up the source rows, within columns of the window.
    fn add_up<S: Pixel>(&mut self, plane: &Plane<S>, window: Range<usize>, rows: Taps) {
        for sums in [&mut self.sum, &mut self.missing] {
            sums.clear();
            sums.resize(window.len(), 0.0);
        }
        let ring = self.lines.len();
        for (row, weight) in (rows.first..).zip(rows.weights) {
            let line = &mut self.lines[row % ring];
            if line.row != Some(row) {
                line.fill(plane, row, self.terms.squares);
            }
            let add = |sums: &mut [f64], values: &[f64], weight: f64| {
                sums.iter_mut().zip(&values[window.clone()]).for_each(|(sum, value)| *sum += weight * value);
            };
            add(&mut self.sum, &line.values, *weight);
            if !line.is_whole {
                add(&mut self.missing, &line.missing, if self.terms.counts_missing { 1.0 } else { *weight });
            }
        }
    }
}

impl Line {
    fn fill<S: Pixel>(&mut self, plane: &Plane<S>, row: usize, squares: bool) {
        let (values, valid) = plane.line(row, 0, plane.width());
        self.row = Some(row);
        self.values.clear();
        self.values.extend(values.iter().map(|value| value.to_f64()));
        if squares {
            self.values.iter_mut().for_each(|value| *value *= *value);
        }
        self.is_whole = valid.is_none_or(|valid| !valid.contains(&0));
        if let Some(valid) = valid.filter(|_| !self.is_whole) {
            self.missing.clear();
            self.missing.extend(valid.iter().map(|ok| f64::from(1 - *ok)));
            self.values.iter_mut().zip(valid).filter(|(_, ok)| **ok == 0).for_each(|(value, _)| *value = 0.0);
        }
    }
}

/// For each of `span` of `cols` the weighted sum of `line`, which begins at column `start` of the window.
fn gather(line: &[f64], cols: &Axis, span: Range<usize>, start: usize, out: &mut [f64]) {
    for (out, i) in out.iter_mut().zip(span) {
        let Taps { first, weights } = cols.taps(i);
        let values = &line[first.wrapping_sub(start).min(line.len())..];
        *out = weights.iter().zip(values).map(|(weight, value)| weight * value).sum();
    }
}
