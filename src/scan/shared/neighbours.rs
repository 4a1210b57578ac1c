//! Decoded tiles that several output tiles of a scan need, kept from the first of them to the last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::cache::{Decoded, TileKey};
use crate::cog::Level;
use crate::cog::opened::Opened;
use crate::error::Result;
use crate::mutex::lock;
use crate::plan::Cube;

/// Those of one scan.
pub struct NeighbourTiles {
    cube: Arc<Cube>,
    capacity: u64,
    kept: Mutex<Tiles>,
}

#[derive(Default)]
struct Tiles {
    tiles: HashMap<TileKey, Kept>,
    bytes: u64,
}

struct Kept {
    tile: Arc<Decoded>,
    uses: u64,
    /// The last row of output tiles that may ask for it.
    last: Row,
}

/// A row of output tiles: position of the step, and row. They come in this order.
pub type Row = (u64, u64);

/// Who needs a source tile: how many output tiles, and the last row of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Users {
    pub count: u64,
    pub last: u64,
}

impl std::fmt::Debug for NeighbourTiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NeighbourTiles({} bytes)", self.capacity)
    }
}

impl NeighbourTiles {
    pub fn new(cube: Arc<Cube>, capacity: u64) -> NeighbourTiles {
        NeighbourTiles { cube, capacity, kept: Mutex::default() }
    }

    /// A tile that another output tile has decoded; the last use takes it away.
    pub fn take(&self, key: &TileKey) -> Option<Arc<Decoded>> {
        self.kept().take(key)
    }

    /// Keeps a tile that the row `now` has used for its other users. Where there is no room, those go for which the time has
    /// passed; if that is not enough the new one is not kept, since the others will be asked for sooner.
    pub fn put(&self, key: TileKey, tile: &Arc<Decoded>, users: Users, now: Row) {
        if users.count > 1 {
            self.kept().put(key, tile, users, now, self.capacity);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Tiles> {
        lock(&self.kept)
    }

    /// The output tiles that a tile of a level is likely to give pixels to: those that the bounding box of its image meets.
    ///
    /// # Errors
    /// No transformation to the grid's CRS.
    pub fn users(&self, opened: &Opened, level: usize, image: &Level, (row, col): (u32, u32)) -> Result<Users> {
        let (left, top) = (col * image.tile_width, row * image.tile_height);
        let right = (left + image.tile_width).min(image.width);
        let bottom = (top + image.tile_height).min(image.height);
        let Some([c0, r0, c1, r1]) = self.cube.levels.on_grid(opened, level, [left, top, right, bottom])? else {
            return Ok(Users { count: 0, last: 0 });
        };
        let (count, last) = self.cube.target.under((c0, c1), (r0, r1));
        Ok(Users { count, last })
    }
}

impl Tiles {
    fn take(&mut self, key: &TileKey) -> Option<Arc<Decoded>> {
        let kept = self.tiles.get_mut(key)?;
        kept.uses -= 1;
        match kept.uses {
            0 => self.remove(key),
            _ => Some(kept.tile.clone()),
        }
    }

    fn put(&mut self, key: TileKey, tile: &Arc<Decoded>, users: Users, now: Row, capacity: u64) {
        self.remove(&key);
        if tile.bytes() > capacity {
            // Larger than all the room there is, but dear to decode again for every output tile: it is kept alone.
            self.tiles.clear();
            self.bytes = 0;
        }
        if self.bytes + tile.bytes() > capacity {
            self.tiles.retain(|_, kept| kept.last >= now);
            self.bytes = self.tiles.values().map(|kept| kept.tile.bytes()).sum();
        }
        if self.bytes + tile.bytes() <= capacity || self.tiles.is_empty() {
            self.bytes += tile.bytes();
            self.tiles.insert(key, Kept { tile: tile.clone(), uses: users.count - 1, last: (now.0, users.last) });
        }
    }

    fn remove(&mut self, key: &TileKey) -> Option<Arc<Decoded>> {
        let Kept { tile, .. } = self.tiles.remove(key)?;
        self.bytes -= tile.bytes();
        Some(tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Pixels;

    #[test]
    fn a_tile_stays_until_its_last_use_or_its_time_has_passed() {
        let tile = || Arc::new(Decoded(Pixels::UInt8(vec![1; 100])));
        let key = |index| (1, 0, false, index);
        let mut tiles = Tiles::default();
        tiles.put(key(0), &tile(), Users { count: 3, last: 5 }, (2, 4), 250);
        tiles.put(key(1), &tile(), Users { count: 2, last: 4 }, (2, 4), 250);
        tiles.put(key(2), &tile(), Users { count: 2, last: 5 }, (2, 4), 250);
        assert!(tiles.take(&key(2)).is_none(), "there was no room");
        assert!(tiles.take(&key(0)).is_some() && tiles.take(&key(0)).is_some());
        assert!(tiles.take(&key(0)).is_none(), "two other users have had it");
        assert_eq!(tiles.bytes, 100);
        tiles.put(key(3), &tile(), Users { count: 2, last: 5 }, (2, 5), 150);
        assert!(tiles.take(&key(1)).is_none(), "row 5 has come, row 4 was the last to ask for it");
        assert!(tiles.take(&key(3)).is_some());
        assert_eq!((tiles.bytes, tiles.tiles.len()), (0, 0));
    }
}
