//! Where a source can still add something: output pixels that are not settled, and the source tiles they take their values
//! from.

use std::ops::Range;

use super::axis::Axis;
use super::mapping::{Kind, Mapping};
use super::tiles::{OUTSIDE, Tiles};
use crate::grid::Rect;

impl Mapping {
    /// Where row `row` of the mapping starts in the output tile at `rect`.
    pub fn start_of(&self, rect: Rect, row: usize) -> usize {
        let within = (self.rect.row - rect.row) as usize + row;
        within * rect.width as usize + (self.rect.col - rect.col) as usize
    }

    /// As [`Mapping::touched`], but only the source tiles that give a pixel to the output tile at `rect` where `settled` is 0.
    /// `tile` is the width and height of the source's tiles.
    pub fn open_tiles(&self, rect: Rect, tile: (u32, u32), settled: &[u8]) -> Vec<bool> {
        let (c0, r0) = (self.col / tile.0, self.row / tile.1);
        let across = ((self.col + self.width - 1) / tile.0 - c0 + 1) as usize;
        let mut open = vec![false; self.touched.len()];
        let line = |row: usize| &settled[self.start_of(rect, row)..][..self.rect.width as usize];
        match &self.kind {
            Kind::Aligned { cols, rows } => {
                let runs = runs(cols, self.col, tile.0);
                for (row, source) in rows.iter().enumerate().filter(|(_, source)| **source != OUTSIDE) {
                    let first = ((self.row + source) / tile.1 - r0) as usize * across;
                    for (tile_col, run) in &runs {
                        let open = &mut open[first + (tile_col - c0) as usize];
                        *open = *open || line(row)[run.clone()].contains(&0);
                    }
                }
            }
            Kind::Scattered { places } => {
                // Neighbours mostly come from one line of one tile: its places need no further look.
                let (mut seen, mut run) = (0, 0);
                for (row, places) in places.chunks_exact(self.rect.width as usize).enumerate() {
                    for (place, set) in places.iter().zip(line(row)) {
                        if *set != 0 || *place == OUTSIDE || place.wrapping_sub(seen) < run {
                            continue;
                        }
                        let (col, row) = (self.col + place % self.width, self.row + place / self.width);
                        let tile_col = col / tile.0;
                        open[(row / tile.1 - r0) as usize * across + (tile_col - c0) as usize] = true;
                        let first = (tile_col * tile.0).max(self.col);
                        let end = ((tile_col + 1) * tile.0).min(self.col + self.width);
                        (seen, run) = (place - (col - first), end - first);
                    }
                }
            }
            Kind::Parallel(taps) => {
                let tiles = Tiles::under((self.col, self.row), (self.width, self.height), tile);
                let runs = runs_of_taps(&taps.cols, &tiles);
                for (row, down) in taps.rows.spans() {
                    for tile_row in tiles.rows_of(&down) {
                        for (tile_col, run) in &runs {
                            let open = &mut open[tile_row * across + tile_col];
                            *open = *open || line(row)[run.clone()].contains(&0);
                        }
                    }
                }
            }
            Kind::Cells(cells) => {
                let tiles = Tiles::under((self.col, self.row), (self.width, self.height), tile);
                let is_open = |part: Rect| {
                    let col = (part.col - self.rect.col) as usize;
                    let first = (part.row - self.rect.row) as usize;
                    let mut rows = first..first + part.height as usize;
                    rows.any(|row| line(row)[col..col + part.width as usize].contains(&0))
                };
                cells.mark_open(&tiles, &mut open, is_open);
                open.iter_mut().zip(&self.touched).for_each(|(open, touched)| *open &= touched);
            }
            Kind::Shares(_) | Kind::Oversized => open.copy_from_slice(&self.touched),
        }
        open
    }

    /// As [`Mapping::open_tiles`], for several bands at once; `None`, which is all that are touched, where nothing of a band is
    /// settled.
    pub fn open_in_any<'s>(
        &self,
        rect: Rect,
        tile: (u32, u32),
        settled: impl IntoIterator<Item = Option<&'s [u8]>>,
    ) -> Option<Vec<bool>> {
        let mut open = vec![false; self.touched.len()];
        for settled in settled {
            open.iter_mut().zip(self.open_tiles(rect, tile, settled?)).for_each(|(open, here)| *open |= here);
        }
        Some(open)
    }
}

/// Runs of neighbours that have taps in the same tile along one axis: the tile, counted from the first, and which of them.
fn runs_of_taps(axis: &Axis, tiles: &Tiles) -> Vec<(usize, Range<usize>)> {
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for (i, span) in axis.spans() {
        for tile in tiles.cols_of(&span) {
            match runs.iter_mut().rev().find(|(here, _)| *here == tile) {
                Some((_, run)) if run.end == i => run.end += 1,
                _ => runs.push((tile, i..i + 1)),
            }
        }
    }
    runs
}

/// Runs of positions, relative to `start`, that lie in the same tile along one axis: the tile, and which positions.
pub fn runs(positions: &[u32], start: u32, tile: u32) -> Vec<(u32, Range<usize>)> {
    let mut runs: Vec<(u32, Range<usize>)> = Vec::new();
    for (i, position) in positions.iter().enumerate().filter(|(_, p)| **p != OUTSIDE) {
        let here = (start + position) / tile;
        match runs.last_mut() {
            Some((tile, run)) if *tile == here && run.end == i => run.end += 1,
            _ => runs.push((here, i..i + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_end_at_tiles_and_gaps() {
        assert_eq!(runs(&[0, 1, 2, 3], 6, 8), [(0, 0..2), (1, 2..4)]);
        assert_eq!(runs(&[3, OUTSIDE, 3, 0], 0, 2), [(1, 0..1), (1, 2..3), (0, 3..4)]);
        assert_eq!(runs(&[OUTSIDE], 0, 2), []);
    }

    proptest! {
        /// Whatever the kind of a mapping, a tile is open if and only if a pixel of it goes to where nothing is settled.
        #[test]
        fn open_tiles_hold_what_is_not_settled(
            cols in proptest::collection::vec(0u32..9, 1..12),
            rows in proptest::collection::vec(0u32..7, 1..9),
            (col, row) in (0u32..5, 0u32..5),
            settled in proptest::collection::vec(0u8..2, 14 * 11),
        ) {
            let position = |p: &u32, size: u32| if *p + 1 == size { OUTSIDE } else { *p };
            let cols: Vec<u32> = cols.iter().map(|c| position(c, 9)).collect();
            let rows: Vec<u32> = rows.iter().map(|r| position(r, 7)).collect();
            let (rect, tile) = (Rect { col: 10, row: 20, width: 14, height: 11 }, (3, 2));
            let inner = Rect { col: 11, row: 22, width: cols.len() as u64, height: rows.len() as u64 };
            let across = (col + 7) / 3 - col / 3 + 1;
            let down = (row + 5) / 2 - row / 2 + 1;
            let place = |r: u32, c: u32| if r == OUTSIDE || c == OUTSIDE { OUTSIDE } else { r * 8 + c };
            let places = rows.iter().flat_map(|r| cols.iter().map(|c| place(*r, *c))).collect();
            let mut wanted = vec![false; (across * down) as usize];
            for (i, r) in rows.iter().enumerate() {
                for (j, c) in cols.iter().enumerate().filter(|(_, c)| *r != OUTSIDE && **c != OUTSIDE) {
                    if settled[(i + 2) * 14 + j + 1] == 0 {
                        wanted[(((row + r) / 2 - row / 2) * across + (col + c) / 3 - col / 3) as usize] = true;
                    }
                }
            }
            for kind in [Kind::Scattered { places }, Kind::Aligned { cols, rows }] {
                let touched = vec![true; wanted.len()];
                let mapping = Mapping { rect: inner, col, row, width: 8, height: 6, touched, kind };
                prop_assert_eq!(&mapping.open_tiles(rect, tile, &settled), &wanted);
            }
        }
    }
}
