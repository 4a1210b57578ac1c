//! min and max: of every pixel that the zone covers, however little of it.

#[derive(Debug, Clone, Copy)]
pub struct Extremes {
    min: f64,
    max: f64,
}

impl Default for Extremes {
    fn default() -> Self {
        Extremes { min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Extremes {
    pub fn add(&mut self, values: &[f64]) {
        // In lanes, so that comparisons need not wait for each other.
        const LANES: usize = 8;
        let (mut mins, mut maxs) = ([self.min; LANES], [self.max; LANES]);
        for chunk in values.chunks(LANES) {
            for ((min, max), value) in mins.iter_mut().zip(&mut maxs).zip(chunk) {
                *min = if value < min { *value } else { *min };
                *max = if value > max { *value } else { *max };
            }
        }
        self.min = mins.into_iter().fold(self.min, f64::min);
        self.max = maxs.into_iter().fold(self.max, f64::max);
    }

    pub fn merge(&mut self, other: &Extremes) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub fn min(&self) -> Option<f64> {
        self.is_some().then_some(self.min)
    }

    pub fn max(&self) -> Option<f64> {
        self.is_some().then_some(self.max)
    }

    fn is_some(&self) -> bool {
        self.min <= self.max
    }
}
