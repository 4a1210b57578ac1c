//! The median: of an even number of values the mean of the two in the middle.

use rayon::prelude::*;

use super::state::Mosaic;
use crate::buffers;
use crate::pixels::{DataType, Pixel, Pixels};
use crate::with_type;

/// Pixels that are sorted side by side: the values of one layer fill a few registers.
const LANES: usize = 64;
/// Pixels that one thread takes at a time; a multiple of [`LANES`].
const SHARE: usize = 1 << 14;
/// With more values than this, sorting each pixel by itself takes fewer steps than the network.
const MOST_IN_NETWORK: usize = 128;

/// Every value of every pixel, as layers: an item's value goes to the first layer in which its pixel is free.
pub struct Median<W: Pixel> {
    layers: Vec<Vec<W>>,
    count: Vec<u32>,
}

impl<W: Pixel> Median<W> {
    pub fn new(pixels: usize) -> Self {
        Median { layers: Vec::new(), count: vec![0; pixels] }
    }

    /// Values may be those of an earlier use: only as many of a pixel as it has are ever looked at.
    fn add_layer(&mut self) {
        self.layers.push(buffers::take(self.count.len()));
    }
}

impl<W: Pixel> Drop for Median<W> {
    fn drop(&mut self) {
        self.layers.drain(..).for_each(|layer| buffers::give(W::wrap(layer)));
    }
}

impl<W: Pixel> Mosaic<W> for Median<W> {
    fn feed(&mut self, start: usize, values: &[W], valid: &[u8]) {
        let run = start..start + values.len();
        let count = &mut self.count[run.clone()];
        let layer = count.first().copied().unwrap_or(0);
        // Most rows are whole and lie on whole ones.
        let even = count.iter().fold(0, |other, n| other | (n ^ layer)) == 0;
        if even && valid.iter().fold(1, |all, v| all & v) == 1 {
            count.fill(layer + 1);
            if layer as usize == self.layers.len() {
                self.add_layer();
            }
            return self.layers[layer as usize][run].copy_from_slice(values);
        }
        for (i, (value, valid)) in values.iter().zip(valid).enumerate() {
            if *valid == 0 {
                continue;
            }
            let at = start + i;
            let layer = self.count[at] as usize;
            if layer == self.layers.len() {
                self.add_layer();
            }
            self.layers[layer][at] = *value;
            self.count[at] += 1;
        }
    }

    fn finish(self: Box<Self>, dtype: DataType) -> (Pixels, Vec<u8>) {
        let pixels = with_type!(dtype, T => {
            let mut medians: Vec<T> = buffers::take(self.count.len());
            medians.par_chunks_mut(SHARE).enumerate().for_each(|(i, out)| {
                let mut columns = Vec::new();
                for (j, out) in out.chunks_mut(LANES).enumerate() {
                    self.block(i * SHARE + j * LANES, &mut columns, out);
                }
            });
            T::wrap(medians)
        });
        (pixels, self.count.iter().map(|n| u8::from(*n > 0)).collect())
    }
}

impl<W: Pixel> Median<W> {
    /// The medians of the pixels from `start` on, as many as `out` takes. `columns` is scratch.
    fn block<T: Pixel>(&self, start: usize, columns: &mut Vec<[W; LANES]>, out: &mut [T]) {
        let run = start..start + out.len();
        let count = &self.count[run.clone()];
        let most = count.iter().copied().max().unwrap_or(0) as usize;
        if most > MOST_IN_NETWORK {
            return self.one_by_one(start, out);
        }
        columns.resize(most, [W::default(); LANES]);
        // What a pixel does not have comes last.
        let last = W::from_f64_saturating(f64::INFINITY);
        for (n, (column, layer)) in columns.iter_mut().zip(&self.layers).enumerate() {
            for ((value, from), count) in column.iter_mut().zip(&layer[run.clone()]).zip(count) {
                *value = if n < *count as usize { *from } else { last };
            }
        }
        sort(columns);
        for ((i, out), n) in out.iter_mut().enumerate().zip(count) {
            *out = middle(*n as usize, |n| columns[n][i]);
        }
    }

    fn one_by_one<T: Pixel>(&self, start: usize, out: &mut [T]) {
        let mut stack: Vec<W> = Vec::new();
        for (at, out) in (start..).zip(out) {
            let n = self.count[at] as usize;
            stack.clear();
            stack.extend(self.layers[..n].iter().map(|layer| layer[at]));
            // NaN never gets here, so all values can be compared.
            stack.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
            *out = middle(n, |n| stack[n]);
        }
    }
}

/// The median of `n` sorted values.
fn middle<W: Pixel, T: Pixel>(n: usize, at: impl Fn(usize) -> W) -> T {
    let at = |n: usize| at(n).to_f64();
    match n {
        0 => T::default(),
        _ if n % 2 == 1 => T::from_f64_saturating(at(n / 2)),
        _ => T::from_f64_saturating((at(n / 2 - 1) + at(n / 2)) / 2.0),
    }
}

/// Sorts each lane, by merge exchange (Batcher 1968, "Sorting networks and their applications"; Knuth, The Art of
/// Computer Programming 3, algorithm 5.2.2M): which values are compared does not depend on them, so all lanes go together.
fn sort<W: Pixel>(columns: &mut [[W; LANES]]) {
    let n = columns.len();
    let top = n.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            for i in (0..n.saturating_sub(d)).filter(|i| i & p == r) {
                exchange(columns, i, i + d);
            }
            if q == p {
                break;
            }
            (d, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
}

/// Puts the smaller values into column `low`.
fn exchange<W: Pixel>(columns: &mut [[W; LANES]], low: usize, high: usize) {
    let (front, back) = columns.split_at_mut(high);
    for (a, b) in front[low].iter_mut().zip(&mut back[0]) {
        let (x, y) = (*a, *b);
        *a = if y < x { y } else { x };
        *b = if y < x { x } else { y };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_sorts_any_number_of_columns() {
        // A network sorts everything if it sorts zeros and ones (Knuth, 5.3.4, theorem Z).
        for n in 0..12u32 {
            for first in (0..1u32 << n).step_by(LANES) {
                let lane = |column: u32| std::array::from_fn(|i| ((first + i as u32) >> column & 1) as u8);
                let mut columns: Vec<[u8; LANES]> = (0..n).map(lane).collect();
                sort(&mut columns);
                assert!((0..LANES).all(|i| columns.is_sorted_by_key(|column| column[i])), "{n} columns");
            }
        }
    }

    #[test]
    fn pixels_with_more_and_fewer_values_lie_side_by_side() {
        for n in [5, 40, 200] {
            let mut median = Box::new(Median::<u16>::new(n));
            for item in 0..n {
                let values: Vec<u16> = (0..n).map(|pixel| ((item * 7919 + pixel) % 1000) as u16).collect();
                let valid: Vec<u8> = (0..n).map(|pixel| u8::from(item < pixel)).collect();
                median.feed(0, &values, &valid);
            }
            let expected: Vec<f32> = (0..n)
                .map(|pixel| {
                    let mut seen: Vec<usize> = (0..pixel).map(|item| (item * 7919 + pixel) % 1000).collect();
                    seen.sort_unstable();
                    if seen.is_empty() { 0.0 } else { (seen[(pixel - 1) / 2] + seen[pixel / 2]) as f32 / 2.0 }
                })
                .collect();
            let (pixels, valid) = median.finish(DataType::Float32);
            assert_eq!(pixels, Pixels::Float32(expected));
            assert!(valid.iter().enumerate().all(|(pixel, ok)| *ok == u8::from(pixel > 0)));
        }
    }
}
