//! From a part of the output, a source and a kernel to a mapping.

use super::axis::{Extent, Parallel};
use super::cells::Cells;
use super::exact::{Exact, Lattice, Round, Source};
use super::kernel::Kernel;
use super::kernel::point::Point;
use super::mapping::{Kind, Mapping};
use super::nearest::nearest;
use super::shares::Shares;
use crate::crs::{Crs, transformer, way_back};
use crate::error::Result;
use crate::grid::{Grid, Rect};
use crate::store::counters::{COUNTERS, add};

impl Mapping {
    /// Maps the pixels of `rect` to `source`; `None` if none of them meets it.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    pub fn new(grid: &Grid, grid_crs: &Crs, rect: Rect, source: &Source, kernel: Kernel) -> Result<Option<Mapping>> {
        let lattice = Lattice::of_grid(grid, grid_crs);
        let Some(inverse) = source.transform.inverse() else { return Ok(None) };
        if kernel == Kernel::Nearest {
            return nearest(lattice, rect, source);
        }
        let point = match kernel.is_point() {
            true => Point::of(kernel, Kernel::scale(grid, grid_crs, source)?),
            false => None,
        };
        let to_source = transformer(grid_crs, &source.crs)?;
        if to_source.is_identity() && source.transform.is_axis_aligned() {
            let found = Parallel::new(lattice, rect, source, kernel, point);
            return Ok(
                found.map(|(taps, rect, window, touched)| made(Kind::Parallel(Box::new(taps)), rect, window, touched))
            );
        }
        add(&COUNTERS.mappings, 1);
        add(&COUNTERS.pixels_mapped, rect.pixels() as u64);
        if kernel == Kernel::Sum {
            let Some(inverse) = lattice.affine.inverse() else { return Ok(None) };
            let to_grid = way_back(grid_crs, &source.crs)?;
            let exact = Exact { from: source.transform, to_source: &to_grid, inverse, round: None };
            let turn = grid_crs.turn().map(|turn| turn / grid.resolution);
            let found = Shares::new(&exact, turn, rect, source);
            return Ok(
                found.map(|(shares, window, touched)| made(Kind::Shares(Box::new(shares)), rect, window, touched))
            );
        }
        let exact = Exact { from: lattice.affine, to_source: &to_source, inverse, round: Round::of(source) };
        let found = Cells::new(&exact, rect, source, kernel, point);
        Ok(found.map(|(cells, rect, window, touched)| made(Kind::Cells(Box::new(cells)), rect, window, touched)))
    }

    /// Maps the pixels `rect` of the level `from` to those of the level `to` that hold their centres; `None` if none of them
    /// meets it. Both may have any affine and any CRS.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    pub fn between(from: &Source, rect: Rect, to: &Source) -> Result<Option<Mapping>> {
        nearest(Lattice::of_level(from), rect, to)
    }
}

fn made(kind: Kind, rect: Rect, [col, row, width, height]: Extent, touched: Vec<bool>) -> Mapping {
    Mapping { rect, col, row, width, height, touched, kind }
}
