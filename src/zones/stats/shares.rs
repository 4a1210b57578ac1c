//! median, pNN, majority, minority and variety: how much of each value there is.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Quantile;
use super::units::Units;

/// The total share of each value, by the bits of the value. Memory grows with the number of different values.
#[derive(Debug, Clone, Default)]
pub struct Shares(HashMap<u64, Units, RandomState>);

impl Shares {
    /// Takes values of whole pixels.
    pub fn add(&mut self, values: &[f64]) {
        // Equal neighbours, as in maps of classes, are looked up once.
        for run in values.chunk_by(|a, b| a == b) {
            if let Some(value) = run.first() {
                *self.of(*value) += Units::whole(run.len());
            }
        }
    }

    /// Takes values by their shares.
    pub fn add_parts(&mut self, values: &[f64], shares: &[f64]) {
        for (value, share) in values.iter().zip(shares) {
            *self.of(*value) += Units::of(*share);
        }
    }

    fn of(&mut self, value: f64) -> &mut Units {
        // -0 is 0.
        self.0.entry((value + 0.0).to_bits()).or_default()
    }

    pub fn merge(&mut self, other: &Shares) {
        for (value, share) in &other.0 {
            *self.0.entry(*value).or_default() += *share;
        }
    }

    /// Bytes of memory beside the struct itself.
    pub fn memory(&self) -> usize {
        // One more byte a place is the table's own.
        self.0.capacity() * (size_of::<(u64, Units)>() + 1)
    }

    /// By value, the smallest first.
    pub fn sorted(&self) -> Sorted {
        let mut shares: Vec<(f64, Units)> =
            self.0.iter().map(|(value, share)| (f64::from_bits(*value), *share)).collect();
        shares.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        Sorted(shares)
    }
}

/// Different values and their total shares, the smallest value first.
#[derive(Debug)]
pub struct Sorted(Vec<(f64, Units)>);

impl Sorted {
    pub fn variety(&self) -> f64 {
        self.0.len() as f64
    }

    pub fn quantile(&self, quantile: Quantile) -> Option<f64> {
        let total: Units = self.0.iter().map(|(_, share)| *share).sum();
        let (wanted, mut reached) = (quantile.of(total.0), Units::default());
        let found = self.0.iter().find(|(_, share)| {
            reached += *share;
            reached.0 >= wanted
        });
        found.map(|(value, _)| *value)
    }

    /// Of several with the largest share the last, which is the largest.
    pub fn majority(&self) -> Option<f64> {
        self.0.iter().max_by_key(|(_, share)| *share).map(|(value, _)| *value)
    }

    /// Of several with the smallest share the first, which is the smallest.
    pub fn minority(&self) -> Option<f64> {
        self.0.iter().min_by_key(|(_, share)| *share).map(|(value, _)| *value)
    }
}
