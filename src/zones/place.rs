//! From the coordinates of a zone to the columns and rows of a grid.

use geo::{BoundingRect, Coord, LineString, MultiPolygon, Polygon};

use super::zone::{Zone, is_near};
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
        if !is_near(bounds.min().x) || !is_near(bounds.max().x) {
            // Not to be brought near by turns: it is refused where it is.
            return vec![0.0];
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crs::LONLAT;
    use crate::grid::Rect;
    use crate::zones::{Coverage, Rule, Span};

    fn polygons(points: &[(f64, f64)]) -> MultiPolygon {
        let ring = points.iter().map(|&(x, y)| Coord { x, y }).collect();
        MultiPolygon(vec![Polygon::new(ring, Vec::new())])
    }

    fn box_of([west, south, east, north]: [f64; 4]) -> MultiPolygon {
        polygons(&[(west, south), (east, south), (east, north), (west, north)])
    }

    fn placer(from: &str, to: &str, bbox: [f64; 4], resolution: f64) -> Placer {
        let grid = Grid::new(bbox, resolution).unwrap();
        Placer::new(&Crs::new(from).unwrap(), &Crs::new(to).unwrap(), &grid).unwrap()
    }

    fn shares(zone: &Zone, rect: Rect) -> Vec<f64> {
        let mut shares = vec![0.0; rect.pixels()];
        for row in Coverage::of(zone, rect, Rule::Fractional { least: 0.0 }).unwrap().rows() {
            for span in row.spans() {
                let at = |col: u64| (row.row * rect.width + col) as usize;
                match span {
                    Span::Full(cols) => shares[at(cols.start)..at(cols.end)].fill(1.0),
                    Span::Part(col, own) => shares[at(col)..at(col) + own.len()].copy_from_slice(own),
                }
            }
        }
        shares
    }

    fn refused(zone: Result<Zone>) -> String {
        zone.map(|_| ()).unwrap_err().to_string()
    }

    /// Against edges of very many points, which are not looked at.
    #[test]
    fn edges_follow_their_images() {
        const PARTS: usize = 20_000;
        // One is symmetric about the central meridian and the equator, so that its image goes through the middle of its chord.
        let across = [(-96.0, -3.0), (-90.0, 3.0), (-90.0, 3.2)];
        let wide = [(-96.0, 40.0), (-90.0, 40.0), (-91.0, 42.0)];
        for (corners, bbox) in [(across, [1e5, -4e5, 9e5, 4e5]), (wide, [2e5, 4.3e6, 8e5, 4.8e6])] {
            let placer = placer("OGC:CRS84", "EPSG:32615", bbox, 1000.0);
            let placed = placer.place(&polygons(&corners)).unwrap();
            let along = (0..3).flat_map(|i| (0..PARTS).map(move |j| (i, j as f64 / PARTS as f64)));
            let dense = along.map(|(i, t)| {
                let (a, b) = (corners[i], corners[(i + 1) % 3]);
                let at = placer.lease.point(a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t);
                ((at.0 - bbox[0]) / 1000.0, (bbox[3] - at.1) / 1000.0)
            });
            let dense = Zone::new(&polygons(&dense.collect::<Vec<_>>())).unwrap();
            let rect = placer.grid.rect();
            let (found, expected) = (shares(&placed, rect), shares(&dense, rect));
            assert!(expected.iter().sum::<f64>() > 1000.0);
            let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(largest < 1.5 * TOLERANCE, "{largest}");
            assert!(placed.edges().len() < 5000, "{}", placed.edges().len());
        }
    }

    #[test]
    fn within_one_crs_edges_stay_as_they_are() {
        let placer = placer("EPSG:4326", "OGC:CRS84", [0.0, 0.0, 90.0, 90.0], 0.5);
        let zone = placer.place(&box_of([10.0, 10.0, 80.0, 80.25])).unwrap();
        assert_eq!(
            (zone.edges().len(), zone.rect(placer.grid.rect())),
            (4, Some(Rect { col: 20, row: 19, width: 140, height: 141 }))
        );
    }

    #[test]
    fn what_has_no_place_is_told() {
        let ortho = placer("OGC:CRS84", "+proj=ortho +lon_0=0 +lat_0=0", [-6e6, -6e6, 6e6, 6e6], 1e4);
        let message = refused(ortho.place(&box_of([80.0, 0.0, 100.0, 10.0])));
        assert!(message.contains("no place in +proj=ortho") && message.contains("at 100 0"), "{message}");
        let mercator = placer("OGC:CRS84", "EPSG:3857", [1.9e7, 0.0, 2.1e7, 1e6], 1e4);
        let message = refused(mercator.place(&box_of([179.0, 1.0, 181.5, 2.0])));
        assert!(message.contains("torn in EPSG:3857") && message.contains("antimeridian"), "{message}");
        let cap = placer("EPSG:3995", "OGC:CRS84", [-180.0, 60.0, 180.0, 90.0], 1.0);
        let message = refused(cap.place(&box_of([-1e6, -1e6, 1e6, 1e6])));
        assert!(message.contains("pole"), "{message}");
    }

    #[test]
    fn a_zone_lies_in_every_turn_of_longitudes() {
        let placer = placer("OGC:CRS84", "OGC:CRS84", [170.0, 0.0, 190.0, 10.0], 1.0);
        let rect = placer.grid.rect();
        let sum = |zone: &MultiPolygon| shares(&placer.place(zone).unwrap(), rect).iter().sum::<f64>();
        assert_eq!(sum(&box_of([-179.5, 2.0, -178.0, 4.0])), 3.0);
        assert_eq!(sum(&box_of([538.0, 2.0, 541.0, 4.0])), 6.0);
        assert_eq!(sum(&box_of([0.0, 2.0, 3.0, 4.0])), 0.0);
        assert!(refused(placer.place(&box_of([1e300, 0.0, 1.1e300, 1.0]))).contains("too far from the grid"));
        let cut = [box_of([179.0, 0.0, 180.0, 1.0]).0, box_of([-180.0, 0.0, -179.0, 1.0]).0].concat();
        assert_eq!(sum(&MultiPolygon(cut)), 2.0);
    }

    #[test]
    fn longitudes_of_an_image_are_counted_on() {
        // Across 180 degrees, with a hole on the far side.
        let from = "EPSG:32601";
        let placer = placer(from, "OGC:CRS84", [-181.0, 0.0, -178.0, 3.0], 0.01);
        let outer = box_of([100_000.0, 100_000.0, 300_000.0, 200_000.0]);
        let hole = box_of([110_000.0, 120_000.0, 120_000.0, 140_000.0]);
        let exterior = outer.0[0].exterior().clone();
        let with_hole = MultiPolygon(vec![Polygon::new(exterior, vec![hole.0[0].exterior().clone()])]);
        let area = |zone: &MultiPolygon| shares(&placer.place(zone).unwrap(), placer.grid.rect()).iter().sum::<f64>();
        let (all, without, alone) = (area(&outer), area(&with_hole), area(&hole));
        // About 200 by 100 km, of 1.113 km a pixel.
        assert!((all - 16_200.0).abs() < 200.0 && (without + alone - all).abs() < 1e-6, "{all} {without} {alone}");
        let (lon, _) = crate::crs::transformer(&Crs::new(from).unwrap(), &LONLAT).unwrap().point(110_000.0, 120_000.0);
        assert!(lon > 179.0, "the hole is counted from the other side: {lon}");
    }
}
