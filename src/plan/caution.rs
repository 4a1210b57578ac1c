//! What is to be known of a read before one believes its pixels.

use crate::crs::{Crs, caution};
use crate::error::Result;
use crate::grid::{Grid, Rect};

/// A warning where the places of the pixels of `rect` in a source are uncertain: looked at in its corners and its middle.
///
/// # Errors
/// No transformation between the two CRSs.
pub fn of_places(grid: &Grid, crs: &Crs, rect: Rect, source: &Crs) -> Result<Option<String>> {
    let along = |start: u64, length: u64, part: u64| start + (length - 1) * part / 2;
    let point = |(col, row)| (grid.x(along(rect.col, rect.width, col)), grid.y(along(rect.row, rect.height, row)));
    let points = [(0, 0), (2, 0), (1, 1), (0, 2), (2, 2)].map(point);
    caution(crs, source, &points)
}
