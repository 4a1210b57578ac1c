//! Strips: blocks as wide as the image, which are tiles to everybody else. The last one holds only the rows that are left.

use super::codec::Compression;
use super::ifd::{Ifd, Tag};
use super::{Level, side_of};
use crate::error::{Error, Result};

/// An uncompressed strip of more bytes than this is read in pieces.
const CUT_ABOVE: u64 = 1 << 20;
/// Bytes of a piece; one row, if that has more.
const PIECE: u64 = 256 << 10;
/// Pieces of all strips together: they cost memory, which only what a file holds may do.
const MOST_PIECES: u64 = 1 << 16;

/// Rows of one strip. Without the tag, and with the largest number in it, there is one strip.
///
/// # Errors
/// Strips without rows.
pub fn rows_per_strip(ifd: &Ifd, height: u32) -> Result<u32> {
    match ifd.uint(Tag::RowsPerStrip)? {
        Some(0) => Err(Error::Corrupt("tag RowsPerStrip is 0".into())),
        Some(rows) => Ok(u32::try_from(rows).map_or(height, |rows| rows.min(height))),
        None => Ok(height),
    }
}

impl Level {
    /// Cuts large uncompressed strips into pieces of whole rows, which can be found in the file without reading what lies before
    /// them. Strips that do not hold all of their rows stay as they are: they are an error where they are read.
    pub(super) fn cut_strips(&mut self) {
        let (rows, row_bytes) = (u64::from(self.tile_height), (self.row_bytes() as u64).max(1));
        let large = row_bytes.saturating_mul(rows) > CUT_ABOVE;
        if !(self.striped && large && self.compression == Compression::None && self.strips_are_whole()) {
            return;
        }
        let pieces = (MOST_PIECES / (self.offsets.len() as u64).max(1)).max(1);
        let piece = (PIECE / row_bytes).max(1).max(rows.div_ceil(pieces));
        // The pieces of several strips must have the same height everywhere.
        let (cut, piece) = match self.tiles_down() {
            1 => (rows.div_ceil(piece), piece),
            _ => (1..=rows / piece).rev().find(|cut| rows % cut == 0).map_or((1, rows), |cut| (cut, rows / cut)),
        };
        if let (Ok(cut), Ok(piece)) = (u32::try_from(cut), side_of(piece)) {
            (self.cut, self.tile_height) = (cut, piece);
        }
    }

    /// Whether each strip that is stored has the bytes of its rows.
    fn strips_are_whole(&self) -> bool {
        let whole = |(strip, count): (usize, &u32)| {
            let wanted = u64::from(self.tile_rows(strip)) * self.row_bytes() as u64;
            *count == 0 || u64::from(*count) >= wanted.min(u64::from(u32::MAX))
        };
        self.byte_counts.iter().enumerate().all(whole)
    }

    /// Where a piece of a strip lies; `None` where the strip is not stored.
    pub(super) fn piece_range(&self, index: usize) -> Option<std::ops::Range<u64>> {
        let (down, cut) = (self.tiles_down() as usize, self.cut as usize);
        let (plane, row) = (index / down, index % down);
        let strip = plane * down.div_ceil(cut) + row / cut;
        let (offset, count) = (*self.offsets.get(strip)?, *self.byte_counts.get(strip)?);
        let row_bytes = self.row_bytes() as u64;
        let start = offset.saturating_add((row % cut) as u64 * u64::from(self.tile_height) * row_bytes);
        let end = start.saturating_add(u64::from(self.tile_rows(index)) * row_bytes);
        (offset != 0 && count != 0).then_some(start..end)
    }
}
