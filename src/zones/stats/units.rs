//! Sums that do not depend on their order.

/// A sum of shares, in whole numbers of 2^-48 pixels, of which a [`Coverage`](crate::zones::Coverage) is made: it is exact, so that
/// ties of majority and quantiles are the same however a grid is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Units(pub u128);

const ONE: f64 = (1u64 << 48) as f64;

impl Units {
    pub fn whole(pixels: usize) -> Units {
        Units((pixels as u128) << 48)
    }

    /// The nearest one. A share below 0 or that is no number is 0.
    pub fn of(share: f64) -> Units {
        Units(u128::from((share * ONE + 0.5) as u64))
    }

    pub fn pixels(self) -> f64 {
        self.0 as f64 / ONE
    }
}

impl std::ops::AddAssign for Units {
    fn add_assign(&mut self, other: Units) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl std::iter::Sum for Units {
    fn sum<I: Iterator<Item = Units>>(units: I) -> Units {
        units.fold(Units::default(), |mut sum, units| {
            sum += units;
            sum
        })
    }
}

/// A sum of floats that keeps what each addition loses (Neumaier 1974, "Rundungsfehleranalyse einiger Verfahren zur Summation
/// endlicher Summen").
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    pub fn merge(&mut self, other: &Sum) {
        self.add(other.sum);
        self.lost += other.lost;
    }

    pub fn value(&self) -> f64 {
        // Beside an infinite sum what was lost is no number.
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

/// The sum of what `of` makes of each value, in lanes, which the compiler adds up side by side.
pub fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().map(|value| of(*value)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    lanes.into_iter().sum::<f64>() + rest
}
