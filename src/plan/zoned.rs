//! Zones on the output grid: which tiles they touch, and which pixels of those.

use std::sync::OnceLock;

use super::target::{OutputTile, Target};
use crate::area::Area;
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::{Grid, Rect, Tiling};
use crate::items::Id;
use crate::zones::{Coverage, Placer, Rule, Shape, Span, Zone};

/// The zones of a call, in their order.
pub struct ZoneSet {
    pub ids: Vec<Id>,
    /// All ids are numbers.
    pub numbered: bool,
    /// Those that cannot be read are refused where the zones are placed.
    shapes: Vec<Result<Shape>>,
    /// That of the shapes.
    crs: Crs,
    pub rule: Rule,
}

/// Zones that cannot be used, by their positions, and why.
pub type Refused = Vec<(usize, Id, Error)>;

impl ZoneSet {
    /// `shapes` are named by `ids`, and lie in `crs`.
    pub fn new(ids: Vec<Id>, numbered: bool, shapes: Vec<Result<Shape>>, crs: Crs, rule: Rule) -> ZoneSet {
        ZoneSet { ids, numbered, shapes, crs, rule }
    }

    /// The least grid over all zones whose lines lie at whole multiples of the resolution from a point (x, y).
    ///
    /// # Errors
    /// As [`Placer::place`]; no zone with an area; more than 2^31 pixels a side.
    pub fn grid(&self, crs: &Crs, resolution: f64, (x, y): (f64, f64)) -> Result<Grid> {
        let frame = frame(crs, resolution, (x, y));
        let placer = Placer::new(&self.crs, crs, &frame)?;
        let mut bounds: Option<Rect> = None;
        for shape in self.shapes.iter().flatten() {
            // What is wrong with a zone is told where it is placed.
            let Some(rect) = placer.place(&shape.polygons).ok().and_then(|zone| zone.rect(frame.rect())) else {
                continue;
            };
            bounds = Some(bounds.map_or(rect, |bounds| around(bounds, rect)));
        }
        let Some(Rect { col, row, width, height }) = bounds else { return Err(self.nowhere(&placer)) };
        let (xmin, ymax) = frame.affine().apply(col as f64, row as f64);
        // A multiple again, without what was rounded on the way.
        let line = |at: f64, origin: f64| origin + ((at - origin) / resolution).round() * resolution;
        let (xmin, ymax) = (line(xmin, x), line(ymax, y));
        let bbox = [xmin, ymax - height as f64 * resolution, xmin + width as f64 * resolution, ymax];
        Grid::new(bbox, resolution)
    }

    /// Why no zone has a place.
    fn nowhere(&self, placer: &Placer) -> Error {
        let failed = self
            .ids
            .iter()
            .zip(&self.shapes)
            .find_map(|(id, shape)| placed(placer, shape).err().map(|error| error.within(format!("zone {id}"))));
        failed.unwrap_or_else(|| Error::Argument("zones: none of them has an area".into()))
    }

    /// The zones on a grid, by their positions, and those that cannot be brought there.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    fn placed(&self, grid: &Grid, crs: &Crs) -> Result<(Vec<Zone>, Refused)> {
        let placer = Placer::new(&self.crs, crs, grid)?;
        let (mut zones, mut refused) = (Vec::with_capacity(self.shapes.len()), Vec::new());
        for (position, (id, shape)) in self.ids.iter().zip(&self.shapes).enumerate() {
            zones.push(placed(&placer, shape).unwrap_or_else(|error| {
                refused.push((position, id.clone(), error));
                Zone::default()
            }));
        }
        Ok((zones, refused))
    }
}

fn placed(placer: &Placer, shape: &Result<Shape>) -> Result<Zone> {
    shape.as_ref().map_err(Error::clone).and_then(|shape| placer.place(&shape.polygons))
}

/// A grid that holds whatever may be, its lines where those of the output are to be.
fn frame(crs: &Crs, resolution: f64, (x, y): (f64, f64)) -> Grid {
    const HALF: u64 = 1 << 30;
    let (left, width) = match crs.turn() {
        // Once round, so that nothing lies there twice.
        Some(turn) => {
            let before = ((x + turn / 2.0) / resolution).ceil();
            (before, ((turn / resolution).ceil() as u64 + 2).min(2 * HALF))
        }
        None => (HALF as f64, 2 * HALF),
    };
    let (xmin, ymax) = (x - left * resolution, y + HALF as f64 * resolution);
    Grid { xmin, ymax, resolution, width, height: 2 * HALF }
}

/// One zone in one output tile.
struct Part {
    zone: usize,
    rect: Rect,
    /// `None` where there is no room for all; it is made again then.
    coverage: Option<Coverage>,
}

/// The zones of a call, by output tile.
pub struct Zoned {
    grid: Grid,
    crs: Crs,
    rule: Rule,
    zones: Vec<Zone>,
    areas: Vec<OnceLock<Option<Area>>>,
    tiles: Vec<(OutputTile, Vec<Part>)>,
    /// Zones that a call that ignores errors leaves out.
    pub refused: Refused,
    left_out: Vec<bool>,
    /// Without coordinates.
    empty: Vec<bool>,
}

impl Zoned {
    /// Zones on a grid that is cut into tiles. `memory` is what coverages that are kept may take. Where errors are not `ignored`, the
    /// first zone that cannot be used is one.
    ///
    /// # Errors
    /// A zone that cannot be brought to the grid, or whose rings cross themselves.
    pub fn new(set: &ZoneSet, (grid, crs): (&Grid, &Crs), tiling: Tiling, memory: u64, ignored: bool) -> Result<Zoned> {
        let (zones, mut refused) = set.placed(grid, crs)?;
        let mut tiles: Vec<((u64, u64), Part)> = Vec::new();
        let mut held = 0;
        for (position, zone) in zones.iter().enumerate() {
            let before = tiles.len();
            if let Err(error) = parts_of(zone, position, (grid, tiling), set.rule, &mut tiles) {
                tiles.truncate(before);
                refused.extend(set.ids.get(position).map(|id| (position, id.clone(), error)));
            } else if tiles.len() == before {
                // None of its pixels counts; the steps that have items there are counted all the same.
                tiles.extend(zone.rect(grid.rect()).map(|rect| nothing_in(rect, position, tiling)));
            }
            for (_, part) in tiles.get_mut(before..).unwrap_or_default() {
                held += part.coverage.as_ref().map_or(0, Coverage::memory) as u64;
                part.coverage = part.coverage.take().filter(|_| held <= memory);
            }
        }
        let none_is_left = refused.len() == zones.len();
        if let Some((_, id, error)) = refused.first().filter(|_| !ignored || none_is_left) {
            return Err(error.clone().within(format!("zone {id}")));
        }
        if tiles.is_empty() {
            let corner = Rect { col: 0, row: 0, width: 1, height: 1 };
            tiles.push(nothing_in(corner, 0, tiling));
        }
        let mut left_out = vec![false; zones.len()];
        refused.iter().for_each(|(position, ..)| left_out[*position] = true);
        tiles.sort_by_key(|(at, part)| (*at, part.zone));
        let areas = zones.iter().map(|_| OnceLock::new()).collect();
        let tiles = gathered(tiles);
        let empty = set.shapes.iter().map(|shape| shape.as_ref().is_ok_and(is_empty)).collect();
        Ok(Zoned { grid: *grid, crs: crs.clone(), rule: set.rule, zones, areas, tiles, refused, left_out, empty })
    }

    /// The tiles that zones touch, each cut to the pixels that they cover.
    pub fn target(&self, tiling: Tiling) -> Target {
        Target::parts(tiling, self.tiles.iter().map(|(tile, _)| *tile))
    }

    pub fn len(&self) -> usize {
        self.zones.len()
    }

    pub fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }

    /// Whether a zone is left out.
    pub fn is_left_out(&self, zone: usize) -> bool {
        self.left_out.get(zone).copied().unwrap_or(false)
    }

    /// Whether a zone is nowhere: its geometry is empty or NULL.
    pub fn is_nowhere(&self, zone: usize) -> bool {
        self.empty.get(zone).copied().unwrap_or(true)
    }

    /// The bounding box of a zone; `None` where it has none.
    pub fn area(&self, zone: usize) -> Option<&Area> {
        let make = || {
            let rect = self.zones.get(zone)?.rect(self.grid.rect())?;
            Area::of(&self.grid, &self.crs, rect).ok()
        };
        self.areas.get(zone)?.get_or_init(make).as_ref()
    }

    /// For each pixel of the tile at a position among those of the target: 1 where no zone covers it. `None` where they cover all.
    ///
    /// # Errors
    /// As [`Coverage::of`].
    pub fn closed(&self, position: usize) -> Result<Option<Vec<u8>>> {
        let Some((tile, _)) = self.tiles.get(position) else { return Ok(None) };
        let mut closed = vec![1; tile.rect.pixels()];
        for zone in self.zones_in(position) {
            self.each_span(position, zone, |row, span| {
                let start = ((row - tile.rect.row) * tile.rect.width) as usize;
                let (cols, left) = (span.cols(), tile.rect.col);
                closed[start + (cols.start - left) as usize..start + (cols.end - left) as usize].fill(0);
            })?;
        }
        Ok(closed.contains(&1).then_some(closed))
    }

    /// The zones in a tile: places to be given to [`Zoned::each_span`].
    pub fn zones_in(&self, position: usize) -> std::ops::Range<usize> {
        0..self.tiles.get(position).map_or(0, |(_, parts)| parts.len())
    }

    /// The position of the zone at a place in a tile.
    pub fn zone_at(&self, position: usize, place: usize) -> Option<usize> {
        Some(self.tiles.get(position)?.1.get(place)?.zone)
    }

    /// Lends the pixels that the zone at a place covers in a tile, with their row.
    ///
    /// # Errors
    /// As [`Coverage::of`].
    pub fn each_span(&self, position: usize, place: usize, mut take: impl FnMut(u64, Span)) -> Result<()> {
        let Some(part) = self.tiles.get(position).and_then(|(_, parts)| parts.get(place)) else { return Ok(()) };
        let made;
        let coverage = match &part.coverage {
            Some(coverage) => coverage,
            None => {
                let Some(zone) = self.zones.get(part.zone) else { return Ok(()) };
                made = Coverage::of(zone, part.rect, self.rule)?;
                &made
            }
        };
        for row in coverage.rows() {
            row.spans().for_each(|span| take(row.row, span));
        }
        Ok(())
    }
}

fn is_empty(shape: &Shape) -> bool {
    shape.polygons.iter().all(|polygon| polygon.exterior().0.is_empty())
}

/// A place in the plan for a zone without pixels: the first of a rectangle.
fn nothing_in(rect: Rect, zone: usize, tiling: Tiling) -> ((u64, u64), Part) {
    let first = Rect { width: 1, height: 1, ..rect };
    let part = Part { zone, rect: first, coverage: Some(Coverage::default()) };
    ((rect.row / tiling.size, rect.col / tiling.size), part)
}

/// The parts of a zone in the tiles of a grid.
fn parts_of(
    zone: &Zone,
    position: usize,
    (grid, tiling): (&Grid, Tiling),
    rule: Rule,
    tiles: &mut Vec<((u64, u64), Part)>,
) -> Result<()> {
    // A pixel whose corner alone is touched may lie beside the least rectangle.
    let Some(rect) = zone.rect(grid.rect()).map(|rect| wider(rect, grid)) else { return Ok(()) };
    for row in rect.row / tiling.size..=(rect.row_end() - 1) / tiling.size {
        for col in rect.col / tiling.size..=(rect.col_end() - 1) / tiling.size {
            let tile = tiling.rect(row, col);
            let edges = ((rect.col as f64, rect.col_end() as f64), (rect.row as f64, rect.row_end() as f64));
            let Some(within) = tile.clip(edges.0, edges.1) else { continue };
            let coverage = Coverage::of(zone, within, rule)?;
            if let Some(rect) = bounds_of(&coverage) {
                tiles.push(((row, col), Part { zone: position, rect, coverage: Some(coverage) }));
            }
        }
    }
    Ok(())
}

fn wider(rect: Rect, grid: &Grid) -> Rect {
    let (col, row) = (rect.col.saturating_sub(1), rect.row.saturating_sub(1));
    let (right, bottom) = ((rect.col_end() + 1).min(grid.width), (rect.row_end() + 1).min(grid.height));
    Rect { col, row, width: right - col, height: bottom - row }
}

/// The least rectangle of what is covered.
fn bounds_of(coverage: &Coverage) -> Option<Rect> {
    let mut bounds: Option<Rect> = None;
    for row in coverage.rows() {
        for cols in row.spans().map(|span| span.cols()) {
            let rect = Rect { col: cols.start, row: row.row, width: cols.end - cols.start, height: 1 };
            bounds = Some(bounds.map_or(rect, |bounds| around(bounds, rect)));
        }
    }
    bounds
}

/// Parts that are sorted by tile, with the rectangle that holds them all.
fn gathered(parts: Vec<((u64, u64), Part)>) -> Vec<(OutputTile, Vec<Part>)> {
    let mut tiles: Vec<(OutputTile, Vec<Part>)> = Vec::new();
    for ((row, col), part) in parts {
        match tiles.last_mut() {
            Some((tile, parts)) if (tile.row, tile.col) == (row, col) => {
                tile.rect = around(tile.rect, part.rect);
                parts.push(part);
            }
            _ => tiles.push((OutputTile { row, col, rect: part.rect }, vec![part])),
        }
    }
    tiles
}

fn around(a: Rect, b: Rect) -> Rect {
    let (col, row) = (a.col.min(b.col), a.row.min(b.row));
    Rect { col, row, width: a.col_end().max(b.col_end()) - col, height: a.row_end().max(b.row_end()) - row }
}
