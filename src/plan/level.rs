//! Which level of a COG a query reads: one per geometry and query, so that it does not depend on the tiles.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::cog::opened::Opened;
use crate::crs::{Crs, way_back};
use crate::error::Result;
use crate::grid::{Affine, Grid};
use crate::mutex::lock;
use crate::warp::{Source, choose_level, pixel_size, target_size};

/// What two COGs share if the same mapping serves both: CRS, transform and size, bit for bit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Geometry {
    crs: Crs,
    transform: [u64; 6],
    width: u32,
    height: u32,
    tile: (u32, u32),
}

impl Geometry {
    pub fn of(source: &Source) -> Geometry {
        let Affine { a, b, c, d, e, f } = source.transform;
        let transform = [a, b, c, d, e, f].map(f64::to_bits);
        Geometry { crs: source.crs.clone(), transform, width: source.width, height: source.height, tile: source.tile }
    }
}

/// Geometries that one query keeps in mind: archives have few.
const KNOWN_LIMIT: usize = 1 << 14;

/// Output pixel size by geometry of the full resolution.
pub struct Levels {
    grid: Grid,
    crs: Crs,
    /// Else every query reads full resolution.
    overviews: bool,
    targets: Mutex<HashMap<Geometry, Option<f64>>>,
}

impl Levels {
    pub fn new(grid: Grid, crs: Crs, overviews: bool) -> Levels {
        Levels { grid, crs, overviews, targets: Mutex::default() }
    }

    /// Whether [`Levels::choose`] has the answer already.
    pub fn knows(&self, opened: &Opened) -> bool {
        let geometry = Geometry::of(&source(opened, 0));
        lock(&self.targets).contains_key(&geometry)
    }

    /// The level of `opened` to read, and its geometry.
    pub fn choose(&self, opened: &Opened) -> Result<(usize, Source)> {
        let target = self.target(opened)?;
        let sizes = (0..opened.cog.levels.len()).map(|l| pixel_size(&opened.level_transform(l)));
        let level = target.filter(|_| self.overviews).map_or(0, |target| choose_level(sizes, target));
        Ok((level, source(opened, level)))
    }

    /// Size of an output pixel in the source, at the centre of the part of the grid that the source covers.
    pub fn target(&self, opened: &Opened) -> Result<Option<f64>> {
        let full = source(opened, 0);
        let geometry = Geometry::of(&full);
        let targets = || lock(&self.targets);
        if let Some(target) = targets().get(&geometry) {
            return Ok(*target);
        }
        let (col, row) = self.centre(&full)?;
        let target = target_size(&self.grid, &self.crs, &full.crs, col, row)?;
        let mut targets = targets();
        // What is forgotten is found out again.
        if targets.len() >= KNOWN_LIMIT {
            targets.clear();
        }
        targets.insert(geometry, target);
        Ok(target)
    }

    /// Columns and rows of the grid, as fractions, between which the image of a rectangle of a level's pixels lies: left, top,
    /// right, bottom. `None` where it has no image.
    pub fn on_grid(&self, opened: &Opened, level: usize, rect: [u32; 4]) -> Result<Option<[f64; 4]>> {
        /// Points along each side: curved edges bulge between the corners.
        const POINTS: u32 = 4;
        let transform = opened.level_transform(level);
        let [left, top, right, bottom] = rect.map(f64::from);
        let along = |start: f64, end: f64, i: u32| start + (end - start) * f64::from(i) / f64::from(POINTS);
        let side = |i: u32| {
            let (x, y) = (along(left, right, i), along(top, bottom, i));
            [(x, top), (x, bottom), (left, y), (right, y)]
        };
        let (mut xs, mut ys): (Vec<f64>, Vec<f64>) =
            (0..=POINTS).flat_map(side).map(|(col, row)| transform.apply(col, row)).unzip();
        way_back(&self.crs, &opened.crs)?.transform(&mut xs, &mut ys);
        if !xs.iter().chain(&ys).all(|v| v.is_finite()) {
            return Ok(None);
        }
        let bounds = |values: Vec<f64>| {
            values.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let (c0, c1) = bounds(xs.iter().map(|x| (x - self.grid.xmin) / self.grid.resolution).collect());
        let (r0, r1) = bounds(ys.iter().map(|y| (self.grid.ymax - y) / self.grid.resolution).collect());
        Ok(Some([c0, r0, c1, r1]))
    }

    /// Centre, as a grid position, of the bounding box of those points of a lattice over the source that fall into the
    /// grid; the grid's own centre where the grid is smaller than the lattice is wide.
    fn centre(&self, full: &Source) -> Result<(f64, f64)> {
        const POINTS: u32 = 17;
        let along = |size: u32, i: u32| f64::from(size) * f64::from(i) / f64::from(POINTS - 1);
        let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = (0..POINTS * POINTS)
            .map(|i| full.transform.apply(along(full.width, i % POINTS), along(full.height, i / POINTS)))
            .unzip();
        way_back(&self.crs, &full.crs)?.transform(&mut xs, &mut ys);
        let (width, height) = (self.grid.width as f64, self.grid.height as f64);
        let mut bounds: Option<[f64; 4]> = None;
        for (x, y) in xs.into_iter().zip(ys) {
            let col = (x - self.grid.xmin) / self.grid.resolution;
            let row = (self.grid.ymax - y) / self.grid.resolution;
            if (0.0..=width).contains(&col) && (0.0..=height).contains(&row) {
                let [c0, r0, c1, r1] = bounds.unwrap_or([col, row, col, row]);
                bounds = Some([c0.min(col), r0.min(row), c1.max(col), r1.max(row)]);
            }
        }
        Ok(bounds.map_or((width / 2.0, height / 2.0), |[c0, r0, c1, r1]| ((c0 + c1) / 2.0, (r0 + r1) / 2.0)))
    }
}

fn source(opened: &Opened, level: usize) -> Source {
    let pixels = opened.level(level);
    Source {
        crs: opened.crs.clone(),
        transform: opened.level_transform(level),
        width: pixels.width,
        height: pixels.height,
        tile: (pixels.tile_width, pixels.tile_height),
    }
}
