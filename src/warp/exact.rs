//! Where the pixels of one raster lie in another, exactly.

use super::tiles::OUTSIDE;
use crate::crs::{Crs, Lease};
use crate::grid::{Affine, Grid, Rect};

/// A centre on the edge between two source pixels takes the right or lower one, also where rounding puts it a hair
/// before the edge. In source pixels.
pub const TIE: f64 = 1e-7;

/// Cells are looked at in blocks of this side, to pass over what does not meet the source at all.
const BLOCK: u64 = 512;

/// One level of one COG, as far as its geometry goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub crs: Crs,
    /// Pixel corner of the level to CRS.
    pub transform: Affine,
    pub width: u32,
    pub height: u32,
    /// Size of its tiles: a mapping tells which of them it touches.
    pub tile: (u32, u32),
}

impl Source {
    /// Whether its columns and rows run along those of a grid in `crs`.
    pub fn is_parallel_to(&self, crs: &Crs) -> bool {
        self.crs.same_as(crs) && self.transform.is_axis_aligned()
    }
}

/// Pixels in a CRS, in rows and columns without an end: those of the output grid, or those of a level.
#[derive(Debug, Clone, Copy)]
pub struct Lattice<'a> {
    pub affine: Affine,
    pub crs: &'a Crs,
}

impl<'a> Lattice<'a> {
    pub fn of_grid(grid: &Grid, crs: &'a Crs) -> Lattice<'a> {
        Lattice { affine: grid.affine(), crs }
    }

    pub fn of_level(source: &'a Source) -> Lattice<'a> {
        Lattice { affine: source.transform, crs: &source.crs }
    }

    /// x at a fractional column of one that is axis-aligned: `.5` is a centre.
    #[inline]
    pub fn x(&self, col: f64) -> f64 {
        self.affine.a * col + self.affine.c
    }

    /// y at a fractional row of one that is axis-aligned.
    #[inline]
    pub fn y(&self, row: f64) -> f64 {
        self.affine.e * row + self.affine.f
    }
}

/// Columns of a source whose x is a longitude in degrees: 360 degrees on, there is the same place again. The output may
/// count from -180 where the source counts from 0, or run on beyond 180.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Columns in 360 degrees.
    pub turn: f64,
    centre: f64,
}

impl Round {
    pub fn of(source: &Source) -> Option<Round> {
        let turn = source.crs.turn()? / source.transform.a.abs();
        let upright = source.transform.is_axis_aligned() && turn.is_finite();
        upright.then_some(Round { turn, centre: f64::from(source.width) / 2.0 })
    }

    /// The column of the same place within half a turn of the source's centre.
    #[inline]
    pub fn near(self, col: f64) -> f64 {
        let turns = ((col + TIE - self.centre) / self.turn + 0.5).floor();
        // Untouched where it is near already; nowhere stays nowhere.
        if turns == 0.0 || !turns.is_finite() { col } else { col - turns * self.turn }
    }
}

/// The source pixel that holds a fractional position.
#[inline]
pub fn index(position: f64, size: u32) -> u32 {
    let position = position + TIE;
    if position >= 0.0 && position < f64::from(size) { position as u32 } else { OUTSIDE }
}

/// The exact transformation from the pixels of a lattice to those of a source.
pub struct Exact<'a> {
    pub from: Affine,
    pub to_source: &'a Lease,
    pub inverse: Affine,
    pub round: Option<Round>,
}

impl Exact<'_> {
    /// Turns fractional columns and rows into fractional source columns and rows, in place.
    pub fn apply(&self, cols: &mut [f64], rows: &mut [f64]) {
        for (c, r) in cols.iter_mut().zip(rows.iter_mut()) {
            (*c, *r) = self.from.apply(*c, *r);
        }
        self.to_source.transform(cols, rows);
        for (c, r) in cols.iter_mut().zip(rows.iter_mut()) {
            (*c, *r) = self.inverse.apply(*c, *r);
        }
        if let Some(round) = self.round {
            cols.iter_mut().for_each(|c| *c = round.near(*c));
        }
    }
}

/// The bounding rectangle of the blocks of `rect` that may meet the source. A block is passed over only if the images
/// of a lattice of its points, with half their extent around them, all lie beside the source.
pub fn near_source(exact: &Exact, rect: Rect, source: &Source) -> Option<Rect> {
    const POINTS: u64 = 5;
    let mut near: Option<(u64, u64, u64, u64)> = None;
    for row in (rect.row..rect.row_end()).step_by(BLOCK as usize) {
        for col in (rect.col..rect.col_end()).step_by(BLOCK as usize) {
            let (col_end, row_end) = ((col + BLOCK).min(rect.col_end()), (row + BLOCK).min(rect.row_end()));
            let along =
                |start: u64, end: u64, i: u64| start as f64 + (end - start) as f64 * i as f64 / (POINTS - 1) as f64;
            let (mut cs, mut rs): (Vec<f64>, Vec<f64>) = (0..POINTS * POINTS)
                .map(|i| (along(col, col_end, i % POINTS), along(row, row_end, i / POINTS)))
                .unzip();
            exact.apply(&mut cs, &mut rs);
            if !(misses(&cs, source.width) || misses(&rs, source.height)) {
                let (c0, r0, c1, r1) = near.unwrap_or((col, row, col_end, row_end));
                near = Some((c0.min(col), r0.min(row), c1.max(col_end), r1.max(row_end)));
            }
        }
    }
    let (c0, r0, c1, r1) = near?;
    Some(Rect { col: c0, row: r0, width: c1 - c0, height: r1 - r0 })
}

/// Whether positions, with half their extent to both sides, all lie outside `0..size`. Not finite ones may be anywhere.
pub fn misses(positions: &[f64], size: u32) -> bool {
    let low = positions.iter().copied().fold(f64::INFINITY, f64::min);
    let high = positions.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = (high - low) / 2.0 + 2.0;
    positions.iter().all(|p| p.is_finite()) && (high + margin < 0.0 || low - margin > f64::from(size))
}

/// Whether a position is within `band` of the edge of a pixel. Adding and subtracting 1.5 * 2^52 rounds to the nearest
/// integer without a call.
#[inline]
pub fn near_edge(position: f64, band: f64) -> bool {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    ((position + ROUND) - ROUND - position).abs() < band
}
