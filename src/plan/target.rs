//! What a call gives out: the tiles of a grid, all of them or those that are wanted.

use std::ops::Range;

use crate::grid::{Rect, Tiling};

/// The output tiles of every step, row by row. Nobody else asks which tiles a grid has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    tiling: Tiling,
    /// The tiles that are wanted, in order; `None` for all.
    wanted: Option<Vec<OutputTile>>,
}

/// An output tile, by its row and column among the tiles of the grid; or the part of it that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputTile {
    pub row: u64,
    pub col: u64,
    pub rect: Rect,
}

impl Target {
    /// All tiles of a grid.
    pub fn grid(tiling: Tiling) -> Target {
        Target { tiling, wanted: None }
    }

    /// Parts of tiles of a grid, each tile once, by row and then column.
    pub fn parts(tiling: Tiling, wanted: impl IntoIterator<Item = OutputTile>) -> Target {
        Target { tiling, wanted: Some(wanted.into_iter().collect()) }
    }

    /// Tiles of one step.
    pub fn len(&self) -> u64 {
        self.wanted.as_ref().map_or(self.tiling.across() * self.tiling.down(), |wanted| wanted.len() as u64)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixels of one step.
    pub fn pixels(&self) -> u64 {
        match &self.wanted {
            None => self.tiling.width * self.tiling.height,
            Some(wanted) => wanted.iter().map(|tile| tile.rect.pixels() as u64).sum(),
        }
    }

    /// Pixels of the largest tile.
    pub fn largest(&self) -> usize {
        match &self.wanted {
            None => self.tiling.rect(0, 0).pixels(),
            Some(wanted) => wanted.iter().map(|tile| tile.rect.pixels()).max().unwrap_or_default(),
        }
    }

    /// Side of a tile that the edge of the grid does not cut.
    pub fn side(&self) -> u64 {
        self.tiling.size
    }

    /// The tile at a position; `None` behind the last.
    pub fn tile(&self, position: u64) -> Option<OutputTile> {
        match &self.wanted {
            None => {
                let at = || (position / self.tiling.across(), position % self.tiling.across());
                let (row, col) = (position < self.len()).then(at)?;
                Some(OutputTile { row, col, rect: self.tiling.rect(row, col) })
            }
            Some(wanted) => wanted.get(usize::try_from(position).ok()?).copied(),
        }
    }

    /// The position of a tile by its row and column, where tiles are wanted.
    pub fn position(&self, row: u64, col: u64) -> Option<usize> {
        self.wanted.as_ref()?.binary_search_by_key(&(row, col), |tile| (tile.row, tile.col)).ok()
    }

    /// How many tiles have pixels between two columns and between two rows of the grid, fractions which may lie anywhere, and the last
    /// row of them.
    pub fn under(&self, (left, right): (f64, f64), (top, bottom): (f64, f64)) -> (u64, u64) {
        // A pixel is taken where its centre falls.
        let tiles = |low: f64, high: f64, length: u64| -> Range<u64> {
            let (first, end) = ((low - 0.5).ceil().max(0.0), (high - 0.5).ceil().min(length as f64));
            let size = self.tiling.size;
            if first < end { first as u64 / size..(end as u64 - 1) / size + 1 } else { 0..0 }
        };
        let (cols, rows) = (tiles(left, right, self.tiling.width), tiles(top, bottom, self.tiling.height));
        let Some(wanted) = &self.wanted else {
            return ((cols.end - cols.start) * (rows.end - rows.start), rows.end.saturating_sub(1));
        };
        rows.fold((0, 0), |(count, last), row| {
            let at = |col: u64| wanted.partition_point(|tile| (tile.row, tile.col) < (row, col));
            match at(cols.end) - at(cols.start) {
                0 => (count, last),
                more => (count + more as u64, row),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 3 rows of 4 tiles.
    const TILING: Tiling = Tiling { width: 70, height: 50, size: 20 };

    fn all(target: &Target) -> Vec<OutputTile> {
        (0..target.len()).filter_map(|at| target.tile(at)).collect()
    }

    fn tiles(wanted: impl IntoIterator<Item = (u64, u64)>) -> Target {
        let mut wanted: Vec<(u64, u64)> = wanted.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let tile = |(row, col)| OutputTile { row, col, rect: TILING.rect(row, col) };
        Target::parts(TILING, wanted.into_iter().map(tile))
    }

    #[test]
    fn wanted_tiles_come_in_order_and_have_their_own_size() {
        let target = tiles([(2, 3), (0, 1), (1, 0)]);
        let places: Vec<_> = all(&target).iter().map(|tile| (tile.row, tile.col)).collect();
        assert_eq!(places, [(0, 1), (1, 0), (2, 3)]);
        assert_eq!(target.tile(3), None);
        assert_eq!((target.position(1, 0), target.position(1, 1)), (Some(1), None));
        assert_eq!(target.tile(2).unwrap().rect, Rect { col: 60, row: 40, width: 10, height: 10 });
        assert_eq!((target.len(), target.pixels(), target.largest()), (3, 900, 400));
        let part = OutputTile { row: 0, col: 0, rect: Rect { col: 3, row: 4, width: 5, height: 2 } };
        let target = Target::parts(TILING, [part]);
        assert_eq!((target.pixels(), target.largest(), target.tile(0)), (10, 10, Some(part)));
    }

    #[test]
    fn all_wanted_tiles_are_the_grid() {
        let (grid, tiles) = (Target::grid(TILING), tiles((0..3).flat_map(|r| (0..4).map(move |c| (r, c)))));
        assert_eq!(all(&grid), all(&tiles));
        assert_eq!(grid.tile(12), None);
        assert_eq!((grid.len(), grid.pixels(), grid.largest()), (tiles.len(), tiles.pixels(), tiles.largest()));
    }

    proptest! {
        #[test]
        fn tiles_under_a_box_are_those_with_a_centre_in_it(
            left in -30f64..100.0, width in 0f64..90.0, top in -30f64..80.0, height in 0f64..70.0,
            wanted in prop::option::of(prop::collection::vec((0u64..3, 0u64..4), 0..12)),
        ) {
            let target = wanted.map_or(Target::grid(TILING), tiles);
            let (right, bottom) = (left + width, top + height);
            let inside = |start: u64, end: u64, low: f64, high: f64| {
                (start..end).any(|i| (low..high).contains(&(i as f64 + 0.5)))
            };
            let meets = |tile: &OutputTile| {
                let rect = tile.rect;
                inside(rect.col, rect.col_end(), left, right) && inside(rect.row, rect.row_end(), top, bottom)
            };
            let met: Vec<_> = all(&target).into_iter().filter(meets).collect();
            let (count, last) = target.under((left, right), (top, bottom));
            prop_assert_eq!(count, met.len() as u64);
            if let Some(tile) = met.last() {
                prop_assert_eq!(last, tile.row);
            }
        }
    }
}
