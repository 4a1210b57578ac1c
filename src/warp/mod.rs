//! From a source window to the output grid.
//!
//! A [`Mapping`] says which source pixel every output pixel takes, a [`Window`] holds the source pixels, and
//! [`Sampler`] brings the two together row by row.

mod axis;
mod build;
mod cells;
mod exact;
pub mod kernel;
mod linear;
mod mapping;
mod nearest;
mod open;
mod resample;
mod sample;
mod shares;
mod surface;
mod tiles;
mod window;

pub use exact::Source;
pub use kernel::Kernel;
pub use mapping::{Kind, Mapping};
pub use open::runs;
pub use resample::Resampler;
pub use sample::Sampler;
pub use tiles::OUTSIDE;
pub use window::{Mask, Window, check as mark_values, is_value};

use crate::crs::{Crs, transformer};
use crate::error::Result;
use crate::grid::{Affine, Grid};

/// A level up to this much coarser than the output pixel still qualifies: projections stretch a little.
const LEVEL_TOLERANCE: f64 = 1.02;

/// Side of a pixel as the square root of its area, in units of the transform.
pub fn pixel_size(transform: &Affine) -> f64 {
    transform.determinant().abs().sqrt()
}

/// Side, in units of the source's CRS, of the output pixel at fractional grid position (`col`, `row`): the square root
/// of the area it covers there, from its two diagonals' images. `None` where it has no image.
pub fn target_size(grid: &Grid, grid_crs: &Crs, source_crs: &Crs, col: f64, row: f64) -> Result<Option<f64>> {
    let to_source = transformer(grid_crs, source_crs)?;
    let affine = grid.affine();
    let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = [(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)]
        .iter()
        .map(|(dc, dr)| affine.apply(col + dc, row + dr))
        .unzip();
    to_source.transform(&mut xs, &mut ys);
    let (ux, uy, vx, vy) = (xs[1] - xs[0], ys[1] - ys[0], xs[3] - xs[2], ys[3] - ys[2]);
    let size = (ux * vy - uy * vx).abs().sqrt();
    Ok((size.is_finite() && size > 0.0).then_some(size))
}

/// The coarsest of the levels, given by their pixel sizes from fine to coarse, that is not coarser than `target`;
/// level 0 where none qualifies.
pub fn choose_level(sizes: impl IntoIterator<Item = f64>, target: f64) -> usize {
    sizes
        .into_iter()
        .enumerate()
        .filter(|(_, size)| *size <= target * LEVEL_TOLERANCE)
        .map(|(i, _)| i)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarsest_level_that_is_fine_enough() {
        let levels = [10.0, 20.0, 40.0, 80.0];
        for (target, level) in [(5.0, 0), (10.0, 0), (15.0, 0), (20.0, 1), (30.0, 1), (79.8, 3), (78.0, 2), (200.0, 3)]
        {
            assert_eq!(choose_level(levels, target), level, "{target}");
        }
        assert_eq!(choose_level([10.0], 200.0), 0);
    }

    #[test]
    fn a_rotated_grid_has_the_same_pixel_area() {
        // At 45 degrees east a polar stereographic grid is turned against the meridians.
        let polar = Crs::new("EPSG:3995").unwrap();
        let grid = Grid::new([-2_000_000.0, -2_000_000.0, 2_000_000.0, 2_000_000.0], 1000.0).unwrap();
        let size = target_size(&grid, &polar, &Crs::new("EPSG:3413").unwrap(), 3000.0, 3000.0).unwrap().unwrap();
        assert!((size - 1000.0).abs() < 20.0, "{size}");
    }
}
