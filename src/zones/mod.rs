//! Zonal statistics: which pixels a polygon covers, by which share, and what their values come to.
//!
//! ```text
//! bytes or text  -- Shape -->  polygons  -- Placer -->  Zone  -- Coverage -->  spans of pixels  -- Summary -->  numbers
//! ```
//!
//! A [`Shape`] is what was read, a [`Zone`] its edges on the output grid. A [`Coverage`] is made once for a zone and a rectangle of
//! pixels, and serves every step and band; a [`Summary`] takes the values of one zone, step and band, in any order and in as many
//! parts as there are, and merges with others. Nobody here knows a raster, a file or SQL: the caller cuts the spans out of its
//! tiles.
//!
//! ```no_run
//! # use lazycogs::{crs::{Crs, LONLAT}, grid::Grid, zones::{Coverage, Placer, Rule, Shape, Span, Stat, Summary}};
//! # fn main() -> lazycogs::error::Result<()> {
//! # let (values, valid) = (vec![0u16; 100 * 100], vec![1u8; 100 * 100]);
//! let grid = Grid::new([500_000.0, 4_000_000.0, 501_000.0, 4_001_000.0], 10.0)?;
//! let placer = Placer::new(&LONLAT, &Crs::new("EPSG:32615")?, &grid)?;
//! let zone = placer.place(&Shape::from_text("POLYGON ((-93 36.141, -92.995 36.141, -92.995 36.144, -93 36.141))")?.polygons)?;
//! let stats = [Stat::Mean, Stat::parse("p90")?];
//! let mut summary = Summary::new(&stats);
//! if let Some(rect) = zone.rect(grid.rect()) {
//!     for row in Coverage::of(&zone, rect, Rule::Fractional { least: 0.0 })?.rows() {
//!         let at = |col: u64| (row.row * grid.width + col) as usize;
//!         for span in row.spans() {
//!             match span {
//!                 Span::Full(cols) => {
//!                     let run = at(cols.start)..at(cols.end);
//!                     summary.add_run(&values[run.clone()], &valid[run]);
//!                 }
//!                 Span::Part(col, shares) => {
//!                     let run = at(col)..at(col) + shares.len();
//!                     summary.add_part(&values[run.clone()], &valid[run], shares);
//!                 }
//!             }
//!         }
//!     }
//! }
//! let numbers = summary.finish(&stats, grid.affine().determinant().abs());
//! # Ok(())
//! # }
//! ```

mod coverage;
mod geometry;
mod place;
pub mod stats;
mod sweep;
mod zone;

pub use coverage::{Coverage, Row, Span};
pub use geometry::Shape;
pub use place::Placer;
pub use stats::{Stat, Summary};
pub use sweep::Rule;
pub use zone::Zone;

#[cfg(test)]
mod tests;
