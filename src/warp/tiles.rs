//! Which tiles of a source the positions of a mapping lie in.

use std::ops::Range;

/// An output pixel without a source pixel.
pub const OUTSIDE: u32 = u32::MAX;

/// The tiles under a window of a source. What it tells takes no memory but for a flag per tile, whose place is in the file's
/// header: the window itself may be as large as a header claims.
pub struct Tiles {
    /// First column and row of the window.
    window: (u32, u32),
    side: (u32, u32),
    first: (u32, u32),
    across: usize,
    down: usize,
}

impl Tiles {
    pub fn under(window: (u32, u32), (width, height): (u32, u32), side: (u32, u32)) -> Tiles {
        let first = (window.0 / side.0, window.1 / side.1);
        let count = |start: u32, length: u32, side: u32, first: u32| ((start + length - 1) / side - first + 1) as usize;
        Tiles {
            window,
            side,
            first,
            across: count(window.0, width, side.0, first.0),
            down: count(window.1, height, side.1, first.1),
        }
    }

    /// Whether each tile, row-major, holds a pixel whose column is one of `cols` and whose row one of `rows`. Both are relative to
    /// the window.
    pub fn crossed(&self, cols: &[u32], rows: &[u32]) -> Vec<bool> {
        let seen = |positions: &[u32], mut run: Run, count: usize| {
            let mut seen = vec![false; count];
            positions.iter().filter(|p| **p != OUTSIDE).for_each(|p| seen[run.tile_of(*p)] = true);
            seen
        };
        let (across, down) = (seen(cols, self.along(), self.across), seen(rows, self.downwards(), self.down));
        down.iter().flat_map(|r| across.iter().map(move |c| *r && *c)).collect()
    }

    /// As [`Tiles::crossed`], for pixels whose column and row are at the same place of `cols` and `rows`.
    pub fn touched(&self, cols: &[u32], rows: &[u32]) -> Vec<bool> {
        let mut touched = vec![false; self.across * self.down];
        let (mut along, mut downwards) = (self.along(), self.downwards());
        for (col, row) in cols.iter().zip(rows).filter(|(col, _)| **col != OUTSIDE) {
            touched[downwards.tile_of(*row) * self.across + along.tile_of(*col)] = true;
        }
        touched
    }

    /// As [`Tiles::crossed`], for pixels whose column is in one of `cols` and whose row in one of `rows`.
    pub fn crossed_spans(&self, cols: &[Range<u32>], rows: &[Range<u32>]) -> Vec<bool> {
        let seen = |spans: &[Range<u32>], run: &Run, count: usize| {
            let mut seen = vec![false; count];
            spans.iter().filter(|span| !span.is_empty()).for_each(|span| seen[run.tiles_of(span)].fill(true));
            seen
        };
        let (across, down) = (seen(cols, &self.along(), self.across), seen(rows, &self.downwards(), self.down));
        down.iter().flat_map(|r| across.iter().map(move |c| *r && *c)).collect()
    }

    /// A mark for each tile.
    pub fn none(&self) -> Vec<bool> {
        vec![false; self.across * self.down]
    }

    /// Marks the tiles that hold one of the columns `cols` and one of the rows `rows` of the level: each the first and the one
    /// behind the last.
    pub fn mark(&self, marks: &mut [bool], cols: (u32, u32), rows: (u32, u32)) {
        let (col, row) = self.window;
        self.mark_within(marks, cols.0 - col..cols.1 - col, rows.0 - row..rows.1 - row);
    }

    /// As [`Tiles::mark`], for columns and rows of the window.
    fn mark_within(&self, marks: &mut [bool], cols: Range<u32>, rows: Range<u32>) {
        for row in self.rows_of(&rows) {
            marks[row * self.across..][self.cols_of(&cols)].fill(true);
        }
    }

    /// The columns of tiles that columns of the window lie in; those of the first tile count as 0.
    pub fn cols_of(&self, cols: &Range<u32>) -> Range<usize> {
        self.along().tiles_of(cols)
    }

    /// As [`Tiles::cols_of`], for rows.
    pub fn rows_of(&self, rows: &Range<u32>) -> Range<usize> {
        self.downwards().tiles_of(rows)
    }

    fn along(&self) -> Run {
        Run { start: self.window.0, side: self.side.0, first: self.first.0, seen: 0, length: 0, tile: 0 }
    }

    fn downwards(&self) -> Run {
        Run { start: self.window.1, side: self.side.1, first: self.first.1, seen: 0, length: 0, tile: 0 }
    }
}

/// Tiles of positions along one axis. Neighbours mostly lie in one tile: only where they do not, there is something to divide.
struct Run {
    start: u32,
    side: u32,
    /// The tile that counts as 0.
    first: u32,
    /// The first position of the tile that was looked up last, the tile's length, and the tile.
    seen: u32,
    length: u32,
    tile: usize,
}

impl Run {
    fn tiles_of(&self, span: &Range<u32>) -> Range<usize> {
        let tile = |position: u32| ((self.start + position) / self.side - self.first) as usize;
        tile(span.start)..tile(span.end - 1) + 1
    }

    fn tile_of(&mut self, position: u32) -> usize {
        if position.wrapping_sub(self.seen) >= self.length {
            let tile = (self.start + position) / self.side;
            let begin = (tile * self.side).max(self.start);
            (self.seen, self.length) = (begin - self.start, (tile + 1) * self.side - begin);
            self.tile = (tile - self.first) as usize;
        }
        self.tile
    }
}
