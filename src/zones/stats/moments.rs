//! count, sum, mean, variance and stdev.

use super::units::{Sum, Units, sum};

/// Count and sum of values, and, where it is wanted, the sum of squared differences from the mean. Blocks of values are put
/// together pairwise (Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances"); with
/// one value a block, that is West's one-pass update.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    count: Units,
    sum: Sum,
    spread: Option<Spread>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    mean: f64,
    squares: f64,
}

impl Moments {
    pub fn new(with_variance: bool) -> Self {
        Moments { spread: with_variance.then(Spread::default), ..Self::default() }
    }

    /// Takes values of whole pixels.
    pub fn add(&mut self, values: &[f64]) {
        let Some(first) = values.first() else { return };
        let (count, total) = (values.len() as f64, sum(values, |v| v));
        if let Some(spread) = &mut self.spread {
            // From the first value on: of equal ones nothing is left.
            let mean = first + sum(values, |v| v - first) / count;
            let squares = sum(values, |v| (v - mean) * (v - mean));
            spread.add(self.count.pixels(), Spread { mean, squares }, count);
        }
        self.count += Units::whole(values.len());
        self.sum.add(total);
    }

    /// Takes values by their shares.
    pub fn add_parts(&mut self, values: &[f64], shares: &[f64]) {
        let Some(first) = values.first() else { return };
        let units: Units = shares.iter().map(|share| Units::of(*share)).sum();
        let by_share =
            |of: &dyn Fn(f64) -> f64| -> f64 { values.iter().zip(shares).map(|(v, share)| share * of(*v)).sum() };
        if let Some(spread) = self.spread.as_mut().filter(|_| units > Units::default()) {
            let mean = first + by_share(&|v| v - first) / units.pixels();
            let squares = by_share(&|v| (v - mean) * (v - mean));
            spread.add(self.count.pixels(), Spread { mean, squares }, units.pixels());
        }
        self.count += units;
        self.sum.add(by_share(&|v| v));
    }

    pub fn merge(&mut self, other: &Moments) {
        if let (Some(spread), Some(others)) = (&mut self.spread, &other.spread) {
            spread.add(self.count.pixels(), *others, other.count.pixels());
        }
        self.count += other.count;
        self.sum.merge(&other.sum);
    }

    pub fn count(&self) -> f64 {
        self.count.pixels()
    }

    fn is_empty(&self) -> bool {
        self.count == Units::default()
    }

    pub fn sum(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum.value())
    }

    pub fn mean(&self) -> Option<f64> {
        self.sum().map(|sum| sum / self.count())
    }

    pub fn variance(&self) -> Option<f64> {
        self.spread.filter(|_| !self.is_empty()).map(|spread| spread.squares / self.count())
    }
}

impl Spread {
    fn add(&mut self, count: f64, other: Spread, others: f64) {
        if others == 0.0 {
            return;
        }
        let (all, apart) = (count + others, other.mean - self.mean);
        self.mean += apart * (others / all);
        self.squares += other.squares + apart * apart * (count * (others / all));
    }
}
