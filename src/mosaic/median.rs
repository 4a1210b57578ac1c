//! The median: of an even number of values the mean of the two in the middle.

use super::{Mosaic, cast};
use crate::pixels::{DataType, Pixel, Pixels};

/// Every value of every pixel, as layers: an item's value goes to the first layer in which its pixel is free.
pub struct Median<W> {
    layers: Vec<Vec<W>>,
    count: Vec<u32>,
}

impl<W: Pixel> Median<W> {
    pub fn new(pixels: usize) -> Self {
        Median { layers: Vec::new(), count: vec![0; pixels] }
    }
}

impl<W: Pixel> Mosaic<W> for Median<W> {
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]) {
        for (i, (value, valid)) in values.iter().zip(valid).enumerate() {
            if *valid == 0 {
                continue;
            }
            let at = start + i;
            let layer = self.count[at] as usize;
            if layer == self.layers.len() {
                self.layers.push(vec![W::default(); self.count.len()]);
            }
            self.layers[layer][at] = *value;
            self.count[at] += 1;
        }
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        let mut stack: Vec<W> = Vec::with_capacity(self.layers.len());
        let medians: Vec<f64> = self
            .count
            .iter()
            .enumerate()
            .map(|(at, n)| {
                stack.clear();
                stack.extend(self.layers[..*n as usize].iter().map(|layer| layer[at]));
                median(&mut stack)
            })
            .collect();
        (cast(medians, dtype), self.count.iter().map(|n| u8::from(*n > 0)).collect())
    }
}

/// NaN never gets here, so all values can be compared.
fn median<W: Pixel>(values: &mut [W]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    let order = |a: &W, b: &W| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
    // Few observations are the rule, and insertion beats selection for them.
    if values.len() <= 32 {
        for i in 1..values.len() {
            let mut j = i;
            while j > 0 && values[j] < values[j - 1] {
                values.swap(j, j - 1);
                j -= 1;
            }
        }
    } else {
        values.sort_unstable_by(order);
    }
    let high = values[middle].to_f64();
    if values.len() % 2 == 1 { high } else { (values[middle - 1].to_f64() + high) / 2.0 }
}
