//! A zone on the output grid: the edges of its polygons, in columns and rows.

use geo::{LineString, MultiPolygon, Polygon};

use crate::error::{Error, Result};
use crate::grid::Rect;

/// Polygons on the output grid. (0, 0) is the upper left corner of the first pixel; a zone may reach beyond the grid.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    /// By their upper ends, topmost first.
    edges: Vec<Edge>,
    /// Least column and row, greatest column and row.
    bounds: Option<[f64; 4]>,
}

/// An edge, from its upper end down. So neighbours that share it, each in its own direction, make the same numbers of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    pub x0: f64,
    pub y0: f64,
    pub x1: f64,
    pub y1: f64,
    /// 1 where the zone lies to the right of the edge, -1 where it lies to the left.
    pub winding: i8,
}

/// Pixels from the origin: coordinates have at least 2^-12 of a pixel left there.
const FARTHEST: f64 = (1u64 << 40) as f64;

impl Zone {
    /// A zone of polygons whose coordinates are columns and rows. Rings may be wound either way.
    ///
    /// # Errors
    /// A coordinate that is not finite, or more than 2^40 pixels from the origin.
    pub fn new(polygons: &MultiPolygon) -> Result<Zone> {
        let mut zone = Zone::default();
        for polygon in polygons {
            zone.add(polygon, 0.0)?;
        }
        zone.sort();
        Ok(zone)
    }

    /// Adds a polygon, moved to the right; [`Zone::sort`] comes after the last one.
    pub(super) fn add(&mut self, polygon: &Polygon, shift: f64) -> Result<()> {
        self.add_ring(polygon.exterior(), shift, 1.0)?;
        polygon.interiors().iter().try_for_each(|ring| self.add_ring(ring, shift, -1.0))
    }

    pub(super) fn sort(&mut self) {
        self.edges.sort_unstable_by(|a, b| a.y0.total_cmp(&b.y0));
    }

    fn add_ring(&mut self, ring: &LineString, shift: f64, side: f64) -> Result<()> {
        if let Some(at) = ring.coords().find(|at| !is_near(at.x + shift) || !is_near(at.y)) {
            let at = format!("column {}, row {}", at.x + shift, at.y);
            return Err(Error::Argument(format!("the zone reaches too far from the grid: {at}")));
        }
        // Rows are counted downwards: the left side of a ring of positive area goes up.
        let left_goes_up = twice_area(ring) * side > 0.0;
        for line in ring.lines() {
            let [(x0, y0), (x1, y1)] = [(line.start.x + shift, line.start.y), (line.end.x + shift, line.end.y)];
            let down = y0 <= y1;
            let winding = if down == left_goes_up { -1 } else { 1 };
            let [(x0, y0), (x1, y1)] = if down { [(x0, y0), (x1, y1)] } else { [(x1, y1), (x0, y0)] };
            self.edges.push(Edge { x0, y0, x1, y1, winding });
            let [left, right] = [x0.min(x1), x0.max(x1)];
            let [l, t, r, b] = self.bounds.unwrap_or([left, y0, right, y1]);
            self.bounds = Some([l.min(left), t.min(y0), r.max(right), b.max(y1)]);
        }
        Ok(())
    }

    /// The least rectangle of pixels that holds all of the zone that lies within `within`; `None` if nothing of it does.
    pub fn rect(&self, within: Rect) -> Option<Rect> {
        let [left, top, right, bottom] = self.bounds?;
        within.clip((left, right), (top, bottom))
    }

    /// Bytes of memory beside the struct itself.
    pub fn memory(&self) -> usize {
        self.edges.capacity() * size_of::<Edge>()
    }

    pub(super) fn edges(&self) -> &[Edge] {
        &self.edges
    }
}

/// Whether a column or a row is near enough to the grid.
pub(super) fn is_near(v: f64) -> bool {
    v.abs() <= FARTHEST
}

/// Twice the area with its sign (Gauss' shoelace), about the first vertex, so that far from the origin nothing cancels.
fn twice_area(ring: &LineString) -> f64 {
    let Some(origin) = ring.0.first() else { return 0.0 };
    let cross = |line: geo::Line| {
        let (a, b) = (line.start - *origin, line.end - *origin);
        a.x * b.y - b.x * a.y
    };
    ring.lines().map(cross).sum()
}

impl Edge {
    /// Where the edge crosses a height between its ends.
    pub fn x_at(&self, y: f64) -> f64 {
        self.x0 + (y - self.y0) / (self.y1 - self.y0) * (self.x1 - self.x0)
    }

    /// The height at which the edge crosses a vertical line between its ends.
    pub fn y_at(&self, x: f64) -> f64 {
        self.y0 + (x - self.x0) / (self.x1 - self.x0) * (self.y1 - self.y0)
    }
}
