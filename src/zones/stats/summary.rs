//! The values of one zone, step and band.

use super::Stat;
use super::extremes::Extremes;
use super::moments::Moments;
use super::shares::{Shares, Sorted};
use crate::pixels::Pixel;

/// What the wanted statistics need to know of the values seen so far: a few numbers, and the total share of each different value
/// where one of them asks for it. Values come in any order, and two summaries merge into that of all their values: but for the last
/// digits of sums in the order of the merge, nothing depends on it.
#[derive(Debug, Clone)]
pub struct Summary {
    moments: Moments,
    extremes: Option<Extremes>,
    shares: Option<Shares>,
}

/// Values that are looked at together: of short runs, as those of small zones are, few, since the room for them costs time, too.
const BLOCK: usize = 512;
const SHORT: usize = 16;

impl Summary {
    /// No values yet, of which `stats` will be asked for.
    pub fn new(stats: &[Stat]) -> Summary {
        let any = |of: fn(&Stat) -> bool| stats.iter().any(of);
        Summary {
            moments: Moments::new(any(|stat| matches!(stat, Stat::Stdev | Stat::Variance))),
            extremes: any(|stat| matches!(stat, Stat::Min | Stat::Max)).then(Extremes::default),
            shares: any(Stat::needs_shares).then(Shares::default),
        }
    }

    /// Takes one value by the share of its pixel that counts, 0 to 1. A value that is no number is missing.
    pub fn add(&mut self, value: f64, share: f64) {
        self.add_part(&[value], &[1], &[share]);
    }

    /// Takes values of pixels that count as a whole, equally many of both. A value whose `valid` is not 1, or that is no number, is
    /// missing.
    pub fn add_run<W: Pixel>(&mut self, values: &[W], valid: &[u8]) {
        match values.len() {
            ..=SHORT => self.take_run::<W, SHORT>(values, valid),
            _ => self.take_run::<W, BLOCK>(values, valid),
        }
    }

    fn take_run<W: Pixel, const N: usize>(&mut self, values: &[W], valid: &[u8]) {
        let mut dense = [0.0; N];
        for (values, valid) in values.chunks(N).zip(valid.chunks(N)) {
            let present = if are_all_present(values, valid) {
                dense.iter_mut().zip(values).for_each(|(to, value)| *to = value.to_f64());
                values.len()
            } else {
                let present = values.iter().zip(valid).filter(|(value, valid)| is_present(**value, **valid));
                dense.iter_mut().zip(present).map(|(to, (value, _))| *to = value.to_f64()).count()
            };
            let values = dense.get(..present).unwrap_or_default();
            self.moments.add(values);
            self.extremes.iter_mut().for_each(|extremes| extremes.add(values));
            self.shares.iter_mut().for_each(|shares| shares.add(values));
        }
    }

    /// As [`Summary::add_run`], each value by the share of its pixel that counts. One whose share is 0 is left out.
    pub fn add_part<W: Pixel>(&mut self, values: &[W], valid: &[u8], shares: &[f64]) {
        match values.len() {
            ..=SHORT => self.take_part::<W, SHORT>(values, valid, shares),
            _ => self.take_part::<W, BLOCK>(values, valid, shares),
        }
    }

    fn take_part<W: Pixel, const N: usize>(&mut self, values: &[W], valid: &[u8], shares: &[f64]) {
        let (mut dense, mut dense_shares) = ([0.0; N], [0.0; N]);
        for ((values, valid), shares) in values.chunks(N).zip(valid.chunks(N)).zip(shares.chunks(N)) {
            let pixels = values.iter().zip(valid).zip(shares);
            let present = pixels.filter(|((value, valid), share)| is_present(**value, **valid) && **share > 0.0);
            let places = dense.iter_mut().zip(&mut dense_shares);
            let set = |((to, to_share), ((value, _), share)): ((&mut f64, &mut f64), ((&W, _), &f64))| {
                (*to, *to_share) = (value.to_f64(), *share);
            };
            let present = places.zip(present).map(set).count();
            let (values, shares) =
                (dense.get(..present).unwrap_or_default(), dense_shares.get(..present).unwrap_or_default());
            self.moments.add_parts(values, shares);
            self.extremes.iter_mut().for_each(|extremes| extremes.add(values));
            self.shares.iter_mut().for_each(|of_values| of_values.add_parts(values, shares));
        }
    }

    /// Adds all values of another summary, made for the same statistics.
    pub fn merge(&mut self, other: &Summary) {
        self.moments.merge(&other.moments);
        if let (Some(extremes), Some(others)) = (&mut self.extremes, &other.extremes) {
            extremes.merge(others);
        }
        if let (Some(shares), Some(others)) = (&mut self.shares, &other.shares) {
            shares.merge(others);
        }
    }

    /// The statistics, in the order asked for: those that the summary was made for. Without a value `count`, `variety` and
    /// `covered_area` are 0 and all others are missing. `pixel_area` is in the unit that `covered_area` shall have.
    pub fn finish(&self, stats: &[Stat], pixel_area: f64) -> Vec<Option<f64>> {
        let sorted = self.shares.as_ref().filter(|_| stats.iter().any(Stat::needs_shares)).map(Shares::sorted);
        let (moments, sorted) = (&self.moments, sorted.as_ref());
        let value = |stat: &Stat| match *stat {
            Stat::Count => Some(moments.count()),
            Stat::Sum => moments.sum(),
            Stat::Mean => moments.mean(),
            Stat::Min => self.extremes.as_ref().and_then(Extremes::min),
            Stat::Max => self.extremes.as_ref().and_then(Extremes::max),
            Stat::Stdev => moments.variance().map(f64::sqrt),
            Stat::Variance => moments.variance(),
            Stat::Quantile(quantile) => sorted.and_then(|sorted| sorted.quantile(quantile)),
            Stat::Majority => sorted.and_then(Sorted::majority),
            Stat::Minority => sorted.and_then(Sorted::minority),
            Stat::Variety => sorted.map(Sorted::variety),
            Stat::CoveredArea => Some(moments.count() * pixel_area),
        };
        stats.iter().map(value).collect()
    }

    /// Bytes of memory beside the struct itself.
    pub fn memory(&self) -> usize {
        self.shares.as_ref().map_or(0, Shares::memory)
    }
}

fn is_present<W: Pixel>(value: W, valid: u8) -> bool {
    valid == 1 && !value.is_nan()
}

/// Without a branch for each value, so that the compiler looks at many at once.
fn are_all_present<W: Pixel>(values: &[W], valid: &[u8]) -> bool {
    valid.iter().fold(true, |all, valid| all & (*valid == 1))
        && !values.iter().fold(false, |any, value| any | value.is_nan())
}
