//! What an output tile takes of a source, as data.

use super::axis::Parallel;
use super::cells::Cells;
use super::exact::Source;
use super::shares::Shares;
use crate::buffers;
use crate::grid::Rect;
use crate::pixels::Pixels;

/// The source pixels that a part of the output takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// The part of the output that may have a source pixel at all.
    pub rect: Rect,
    /// The smallest window of the level that holds all source pixels: first column and row, width, height.
    pub col: u32,
    pub row: u32,
    pub width: u32,
    pub height: u32,
    /// The source's tiles under the window, row-major: whether the mapping takes a pixel of each.
    pub touched: Vec<bool>,
    pub kind: Kind,
}

/// Positions within the window, or [`OUTSIDE`].
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A column for each column of `rect` and a row for each of its rows.
    Aligned { cols: Vec<u32>, rows: Vec<u32> },
    /// For each pixel of `rect`, row-major, its place in the row-major window.
    Scattered { places: Vec<u32> },
    /// The window is too large to count its pixels; only parts of the mapping can be used.
    Oversized,
    /// Taps of a kernel, for each column and for each row.
    Parallel(Box<Parallel>),
    /// Where the pixels lie, of which a kernel finds its taps.
    Cells(Box<Cells>),
    /// Where source pixels lie, which are dealt out.
    Shares(Box<Shares>),
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Kind::Scattered { places } = &mut self.kind {
            buffers::give(Pixels::UInt32(std::mem::take(places)));
        }
    }
}

impl Mapping {
    /// The mapping of pixels that are on the output grid already, one to one.
    pub fn identity(rect: Rect) -> Mapping {
        let (width, height) = (rect.width as u32, rect.height as u32);
        let kind = Kind::Aligned { cols: (0..width).collect(), rows: (0..height).collect() };
        Mapping { rect, col: 0, row: 0, width, height, touched: Vec::new(), kind }
    }

    /// A window of a level, pixel by pixel: all tiles under it.
    pub fn of_window(source: &Source, rect: Rect) -> Mapping {
        let [col, row, width, height] = [rect.col, rect.row, rect.width, rect.height].map(|side| side as u32);
        let count = |start: u32, length: u32, tile: u32| ((start + length - 1) / tile - start / tile + 1) as usize;
        let touched = vec![true; count(col, width, source.tile.0) * count(row, height, source.tile.1)];
        let kind = Kind::Aligned { cols: (0..width).collect(), rows: (0..height).collect() };
        Mapping { rect, col, row, width, height, touched, kind }
    }

    /// Whether its pixels are those of a [`Resampler`](super::Resampler), not of a [`Sampler`](super::Sampler).
    pub fn is_resampled(&self) -> bool {
        matches!(self.kind, Kind::Parallel(_) | Kind::Cells(_) | Kind::Shares(_))
    }

    /// Bytes that it holds.
    pub fn memory(&self) -> u64 {
        let places = match &self.kind {
            Kind::Aligned { cols, rows } => 4 * (cols.len() + rows.len()),
            Kind::Scattered { places } => 4 * places.len(),
            Kind::Oversized => 0,
            Kind::Parallel(taps) => taps.memory(),
            Kind::Cells(cells) => cells.memory(),
            Kind::Shares(shares) => shares.memory(),
        };
        (size_of::<Mapping>() + self.touched.len() + places) as u64
    }

    /// Pixels of the window.
    pub fn window_pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}
