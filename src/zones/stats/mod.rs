//! What the values of a zone come to: names and rules are exactextract's, but for the quantiles.
//!
//! A statistic is made of states, one file each, that take values in any order and merge: [`moments`], [`extremes`], [`shares`].
//! A new one on these states is a name in [`NAMES`] and a line in [`Summary::finish`].

mod extremes;
mod moments;
mod shares;
mod summary;
mod units;

pub use summary::Summary;

use crate::error::{Error, Result};

/// A statistic. Each is a DOUBLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stat {
    /// Sum of the shares of the valid pixels.
    Count,
    /// Sum of the values, each by its share.
    Sum,
    /// `Sum / Count`.
    Mean,
    Min,
    Max,
    /// Of the population: the squared differences from the mean, each by its share, by `Count`; its square root.
    Stdev,
    Variance,
    /// The smallest value up to which the shares come to at least this part of them all.
    Quantile(Quantile),
    /// The value of the largest total share; of several the largest one.
    Majority,
    /// The value of the smallest total share; of several the smallest one.
    Minority,
    /// Number of different values.
    Variety,
    /// Area of the valid pixels within the zone, in squared units of the grid's CRS.
    CoveredArea,
}

/// A part of the whole, in 10^-8: as decimals are written, so that ties fall where the reader expects them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quantile(u32);

impl Quantile {
    const MEDIAN: Quantile = Quantile(Self::ALL / 2);
    const ALL: u32 = 100_000_000;

    /// Reads a percentage, 0 to 100 with up to six decimals.
    fn parse(text: &str) -> Option<Quantile> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || whole.len() > 3 || decimals.len() > 6 {
            return None;
        }
        let parts = whole.parse::<u32>().ok()? * 1_000_000 + format!("{decimals:0<6}").parse::<u32>().ok()?;
        (parts <= Self::ALL).then_some(Quantile(parts))
    }

    /// The least part of a total that reaches the quantile.
    fn of(self, total: u128) -> u128 {
        let (part, all) = (u128::from(self.0), u128::from(Self::ALL));
        total / all * part + (total % all * part).div_ceil(all)
    }
}

const NAMES: [(&str, Stat); 12] = [
    ("count", Stat::Count),
    ("sum", Stat::Sum),
    ("mean", Stat::Mean),
    ("min", Stat::Min),
    ("max", Stat::Max),
    ("stdev", Stat::Stdev),
    ("variance", Stat::Variance),
    ("median", Stat::Quantile(Quantile::MEDIAN)),
    ("majority", Stat::Majority),
    ("minority", Stat::Minority),
    ("variety", Stat::Variety),
    ("covered_area", Stat::CoveredArea),
];

impl Stat {
    /// Whether the total share of each different value must be known.
    fn needs_shares(&self) -> bool {
        matches!(self, Stat::Quantile(_) | Stat::Majority | Stat::Minority | Stat::Variety)
    }

    /// Reads a name: one of [`NAMES`], or a percentile from `p0` to `p100` with up to six decimals.
    ///
    /// # Errors
    /// Another name; the message lists them all.
    pub fn parse(name: &str) -> Result<Stat> {
        let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, stat)| *stat);
        let percentile = || name.strip_prefix('p').and_then(Quantile::parse).map(Stat::Quantile);
        named.or_else(percentile).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            Error::Argument(format!(
                "unknown statistic '{name}'; use one of {names}, or a percentile from p0 to p100, such as p10 or p99.5"
            ))
        })
    }
}

#[cfg(test)]
mod tests;
