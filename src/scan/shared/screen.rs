//! What the mask of an item shows of its bands.

use std::sync::Arc;

use crate::warp::{Mapping, Mask};

/// A window of a level of a band: of each of its pixels, whether the mask shows it.
#[derive(Debug)]
pub struct Screen {
    pub window: Window,
    /// Row-major; 1 where the pixel shows, 0 where it is hidden.
    pub visible: Vec<u8>,
}

/// First column and row in a level, width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    pub col: u32,
    pub row: u32,
    pub width: u32,
    pub height: u32,
}

impl Window {
    pub fn of(mapping: &Mapping) -> Window {
        let Mapping { col, row, width, height, .. } = *mapping;
        Window { col, row, width, height }
    }
}

/// A screen as one mapping looks at it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub screen: Arc<Screen>,
    /// Of the tiles that the mapping knows: whether something of them shows.
    pub tiles: Vec<bool>,
}

impl Shown {
    /// `tile` is the width and height of the level's tiles.
    pub fn of(screen: &Arc<Screen>, mapping: &Mapping, tile: (u32, u32)) -> Shown {
        let Window { col, row, width, height } = screen.window;
        let along = |start: u32, length: u32, side: u32| start / side..=(start + length - 1) / side;
        let lines = |first: u32, last: u32| (first.max(row) - row) as usize..(last.min(row + height) - row) as usize;
        let shows = |tile_row: u32, tile_col: u32| {
            let left = ((tile_col * tile.0).max(col) - col) as usize;
            let right = (((tile_col + 1) * tile.0).min(col + width) - col) as usize;
            lines(tile_row * tile.1, (tile_row + 1) * tile.1)
                .any(|line| screen.visible[line * width as usize..][left..right].contains(&1))
        };
        let rows = along(mapping.row, mapping.height, tile.1);
        let tiles = rows.flat_map(|r| along(mapping.col, mapping.width, tile.0).map(move |c| (r, c)));
        let tiles = tiles.zip(&mapping.touched).map(|((r, c), touched)| *touched && shows(r, c)).collect();
        Shown { screen: screen.clone(), tiles }
    }
}

impl Screen {
    /// As samplers take it.
    pub fn mask(&self) -> Mask<'_> {
        let Window { col, row, width, .. } = self.window;
        Mask { values: &self.visible, col, row, width }
    }

    pub fn memory(&self) -> u64 {
        self.visible.len() as u64
    }
}
