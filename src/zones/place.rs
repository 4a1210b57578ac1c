//! From the coordinates of a zone to the columns and rows of a grid.

use geo::{BoundingRect, Coord, LineString, MultiPolygon, Polygon};

use super::zone::Zone;
use crate::crs::{Crs, Lease, transformer};
use crate::error::{Error, Result};
use crate::grid::Grid;

/// Pixels by which the middle of an edge may lie beside its image.
const TOLERANCE: f64 = 1e-4;
/// An edge of so few pixels is not looked at: to be off by [`TOLERANCE`], its image would have to be a circle of less than 80
/// pixels.
const SHORT: f64 = 0.25;
/// How often an edge is cut in four, before its image is taken to be torn.
const DEEPEST: u32 = 14;
/// Points that all edges of a zone may get.
const MOST_POINTS: usize = 1 << 24;

/// Brings zones in one CRS to a grid in another. It may go to another thread, and is used by one at a time.
pub struct Placer {
    lease: Lease,
    grid: Grid,
    to: Crs,
    /// Pixels after which the same place comes again along a row, where the grid counts longitudes.
    turn: Option<f64>,
}

/// A place in the CRS of the zone, and its image in columns and rows.
#[derive(Debug, Clone, Copy)]
struct Point {
    from: Coord,
    to: Coord,
}

impl Placer {
    /// Zones in `from` for a grid in `to`.
    ///
    /// # Errors
    /// As [`transformer`].
    pub fn new(from: &Crs, to: &Crs, grid: &Grid) -> Result<Placer> {
        let turn = to.turn().map(|turn| turn / grid.resolution);
        Ok(Placer { lease: transformer(from, to)?, grid: *grid, to: to.clone(), turn })
    }

    /// The zone on the grid. Edges are straight in their own CRS: in that of the grid, points are put in between until none lies more
    /// than about 1e-4 pixels beside the true curve. On a grid of longitudes the zone comes to lie in every turn that the grid
    /// reaches.
    ///
    /// # Errors
    /// A vertex or a point of an edge without a place in the CRS of the grid; an edge that the CRS tears apart, as
    /// projections do at the antimeridian; a ring around a pole on a grid of longitudes.
    pub fn place(&self, polygons: &MultiPolygon) -> Result<Zone> {
        let mut zone = Zone::default();
        let mut points_left = MOST_POINTS;
        for polygon in polygons {
            let exterior = self.ring(polygon.exterior(), &mut points_left)?;
            let holes = polygon.interiors().iter().map(|ring| {
                let mut hole = self.ring(ring, &mut points_left)?;
                self.bring_near(&mut hole, &exterior);
                Ok(hole)
            });
            let holes = holes.collect::<Result<_>>()?;
            let polygon = Polygon::new(exterior, holes);
            for shift in self.shifts(polygon.exterior()) {
                zone.add(&polygon, shift)?;
            }
        }
        zone.sort();
        Ok(zone)
    }

    /// Moves a hole by whole turns to where its polygon is, if they came to lie in different ones.
    fn bring_near(&self, hole: &mut LineString, exterior: &LineString) {
        let (Some(turn), false) = (self.turn, self.lease.is_identity()) else { return };
        let (Some(own), Some(outer)) = (hole.bounding_rect(), exterior.bounding_rect()) else { return };
        let shift = ((outer.center().x - own.center().x) / turn).round() * turn;
        if shift != 0.0 {
            hole.coords_mut().for_each(|at| at.x += shift);
        }
    }

    /// By how many pixels a polygon is moved to the right, once for each turn in which it meets the grid.
    fn shifts(&self, ring: &LineString) -> Vec<f64> {
        let Some(turn) = self.turn else { return vec![0.0] };
        let Some(bounds) = ring.bounding_rect() else { return Vec::new() };
        let first = (-bounds.max().x / turn).floor() + 1.0;
        let last = ((self.grid.width as f64 - bounds.min().x) / turn).ceil() - 1.0;
        // More than a few only where resolution and CRS do not belong together.
        const MOST: usize = 16;
        let turns = std::iter::successors(Some(first), |n| Some(n + 1.0)).take_while(|n| *n <= last);
        turns.take(MOST).map(|n| n * turn).collect()
    }

    fn ring(&self, ring: &LineString, points_left: &mut usize) -> Result<LineString> {
        let points = self.images(ring.0.clone())?;
        if self.lease.is_identity() {
            return Ok(points.iter().map(|point| point.to).collect());
        }
        let mut along: Vec<Coord> = points.first().map(|first| first.to).into_iter().collect();
        for edge in points.windows(2) {
            if let &[a, b] = edge {
                self.follow(a, b, 0, &mut along, points_left)?;
            }
        }
        self.unwind(&mut along)?;
        Ok(LineString::new(along))
    }

    /// The images of places.
    fn images(&self, from: Vec<Coord>) -> Result<Vec<Point>> {
        let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = from.iter().map(|at| (at.x, at.y)).unzip();
        self.lease.transform(&mut xs, &mut ys);
        let images = from.into_iter().zip(xs.into_iter().zip(ys));
        images.map(|(from, image)| self.point(from, image)).collect()
    }

    fn point(&self, from: Coord, (x, y): (f64, f64)) -> Result<Point> {
        let Grid { xmin, ymax, resolution, .. } = self.grid;
        if !x.is_finite() || !y.is_finite() {
            let Coord { x, y } = from;
            let crs = self.to.definition();
            return Err(Error::Crs(format!(
                "the zone has no place in {crs} at {x} {y}; cut it to where that CRS reaches"
            )));
        }
        Ok(Point { from, to: Coord { x: (x - xmin) / resolution, y: (ymax - y) / resolution } })
    }

    /// Adds the image of an edge but for its first point.
    fn follow(&self, a: Point, b: Point, depth: u32, along: &mut Vec<Coord>, points_left: &mut usize) -> Result<()> {
        let b_near = self.near(b.to, a.to);
        if (b_near - a.to).x.hypot((b_near - a.to).y) < SHORT {
            along.push(b.to);
            return Ok(());
        }
        let between = [0.25, 0.5, 0.75].map(|t| a.from + (b.from - a.from) * t);
        let mut inner = self.images(between.to_vec())?.into_iter();
        let (Some(p), Some(q), Some(r)) = (inner.next(), inner.next(), inner.next()) else { return Ok(()) };
        if is_straight(a.to, [p, q, r].map(|point| self.near(point.to, a.to)), b_near) {
            along.push(b.to);
            return Ok(());
        }
        let Some(left) = points_left.checked_sub(3) else {
            let why = format!("its edges need more than {MOST_POINTS} points in {}", self.to.definition());
            return Err(Error::Crs(format!("{why} to be followed; is the resolution right?")));
        };
        *points_left = left;
        if depth == DEEPEST {
            let Coord { x, y } = a.from;
            return Err(Error::Crs(format!(
                "an edge of the zone is torn in {} at {x} {y}, as at the antimeridian; cut the zone there",
                self.to.definition()
            )));
        }
        let ends = [(a, p), (p, q), (q, r), (r, b)];
        ends.into_iter().try_for_each(|(a, b)| self.follow(a, b, depth + 1, along, points_left))
    }

    /// The same place in the turn that is nearest to another.
    fn near(&self, at: Coord, other: Coord) -> Coord {
        match self.turn {
            Some(turn) => Coord { x: at.x + ((other.x - at.x) / turn).round() * turn, y: at.y },
            None => at,
        }
    }

    /// Counts the longitudes of a ring on where they jump by a turn.
    fn unwind(&self, ring: &mut [Coord]) -> Result<()> {
        let Some(turn) = self.turn else { return Ok(()) };
        let mut last: Option<Coord> = None;
        for at in ring.iter_mut() {
            *at = last.map_or(*at, |last| self.near(*at, last));
            last = Some(*at);
        }
        let (Some(first), Some(last)) = (ring.first(), last) else { return Ok(()) };
        if (last.x - first.x).abs() > turn / 2.0 {
            let crs = self.to.definition();
            return Err(Error::Crs(format!(
                "the zone goes around a pole, where {crs} has no area; use a projected crs"
            )));
        }
        Ok(())
    }
}

/// Whether the images of an edge at a quarter, a half and three quarters lie on the line between those of its ends, about
/// where they should.
fn is_straight(a: Coord, inner: [Coord; 3], b: Coord) -> bool {
    let chord = b - a;
    let length = chord.x.hypot(chord.y);
    inner.iter().zip([0.25, 0.5, 0.75]).all(|(point, t)| {
        let to = *point - a;
        let beside = (chord.x * to.y - chord.y * to.x) / length;
        let along = (chord.x * to.x + chord.y * to.y) / (length * length);
        // Points that are not spread along the chord are on both sides of a tear.
        beside.abs() <= TOLERANCE && (along - t).abs() <= 0.125
    })
}
