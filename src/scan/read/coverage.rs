//! How many items `first` should ask for at once: as many as it takes, by their footprints, to cover what is still open; several
//! times over where many items have left it open, so that holes in all of them do not take a round trip for each.
//!
//! Footprints only decide what is asked for together; whether an item can still add a pixel is decided by its real
//! pixels' places, and what is missing after one wave is asked for in the next.

use std::sync::Arc;

use crate::crs::transformer;
use crate::error::Result;
use crate::grid::Rect;
use crate::items::Item;
use crate::plan::Cube;

/// Cells along one side of a tile.
const SIDE: usize = 8;
/// No wave is larger, however small the footprints.
const LARGEST_WAVE: usize = 32;

pub struct Coverage {
    /// Longitude and latitude of the centre of each cell; `None` where it has none.
    centres: Vec<Option<(f64, f64)>>,
    open: Vec<bool>,
    /// How often the waves so far covered what was open.
    layers: u16,
}

impl Coverage {
    pub fn new(cube: &Cube, rect: Rect) -> Result<Coverage> {
        let affine = cube.request.grid.affine();
        let along = |start: u64, length: u64, i: usize| start as f64 + length as f64 * (i as f64 + 0.5) / SIDE as f64;
        let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = (0..SIDE * SIDE)
            .map(|i| affine.apply(along(rect.col, rect.width, i % SIDE), along(rect.row, rect.height, i / SIDE)))
            .unzip();
        transformer(cube.crs(), &cube.crs().lonlat()?)?.transform(&mut xs, &mut ys);
        let centres = xs.into_iter().zip(ys).map(|(x, y)| x.is_finite().then_some((x, y))).collect();
        Ok(Coverage { centres, open: vec![true; SIDE * SIDE], layers: 0 })
    }

    /// How many of `items`, from the first on, to read together: at least one.
    pub fn wave(&mut self, items: &[Arc<Item>]) -> usize {
        // Waves grow by half: then little is read that the holes did not need.
        let layers = (self.layers / 2).max(1);
        self.layers = self.layers.saturating_add(layers);
        let mut wanted: Vec<u16> = self.open.iter().map(|open| if *open { layers } else { 0 }).collect();
        for (n, item) in items.iter().enumerate().take(LARGEST_WAVE) {
            let held: Vec<usize> = (0..self.centres.len())
                .filter(|cell| self.centres[*cell].is_none_or(|(lon, lat)| item.place.covers(lon, lat)))
                .collect();
            let adds = held.iter().any(|cell| wanted[*cell] > 0);
            // An item that holds no centre is too small for the cells to tell: it is read with the others.
            if n > 0 && !adds && !held.is_empty() {
                return n;
            }
            held.iter().for_each(|cell| wanted[*cell] = wanted[*cell].saturating_sub(1));
            if wanted.iter().all(|times| *times == 0) {
                return n + 1;
            }
        }
        items.len().min(LARGEST_WAVE)
    }

    /// Takes note of what the mosaics have settled: 1 for each pixel that no item can change any more, for each band.
    pub fn settle(&mut self, settled: &[Option<Vec<u8>>], rect: Rect) {
        let (width, height) = (rect.width as usize, rect.height as usize);
        self.open.fill(false);
        for settled in settled {
            let Some(set) = settled else { return self.open.fill(true) };
            for (row, line) in set.chunks(width).enumerate() {
                let cell_row = row * SIDE / height;
                for cell_col in 0..SIDE {
                    let cols = cell_col * width / SIDE..(cell_col + 1) * width / SIDE;
                    self.open[cell_row * SIDE + cell_col] |= line[cols].contains(&0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    #[test]
    fn waves_grow_while_covering_items_leave_holes() {
        let place = Place::new(Some([0.0, 0.0, 1.0, 1.0]), None, None).unwrap();
        let item = Item { id: "a".into(), order: 0, time: 0, step: 0, place, assets: Vec::new(), fault: None };
        let item = Arc::new(item);
        let items: Vec<_> = std::iter::repeat_n(item, 40).collect();
        let mut coverage = Coverage { centres: vec![Some((0.5, 0.5))], open: vec![true], layers: 0 };
        let (mut next, mut waves) = (0, Vec::new());
        while next < items.len() {
            waves.push(coverage.wave(&items[next..]));
            next += waves.last().unwrap();
        }
        assert_eq!(waves, [1, 1, 1, 1, 2, 3, 4, 6, 9, 12]);
        coverage.open.fill(false);
        assert_eq!(coverage.wave(&items), 1, "nothing is open");
    }
}
