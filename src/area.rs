//! Regions of the Earth, in degrees of longitude and latitude: where a part of the output grid or a raster lies, and whether
//! two regions meet.
//!
//! Longitudes of a region are continuous and may be counted in any way: 179 to 181, -181 to -179 and 539 to 541 are one place.
//! Whoever compares two regions tries every whole turn that brings them together; nobody else looks at turns.

use geo::{BoundingRect, Coord, Distance, Euclidean, Intersects, LineString, Point, Polygon, Scale, Translate};

use crate::crs::{Crs, Lease, transformer};
use crate::error::Result;
use crate::grid::{Affine, Grid, Rect};

/// Points along each side of an outline: curved edges bulge between the corners.
const POINTS_PER_SIDE: usize = 32;
/// Degrees after which the same place comes again.
const TURN: f64 = 360.0;

/// A region in degrees of longitude and latitude.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    /// `None` for all of the bounds.
    outline: Option<Polygon>,
    /// west, south, east, north of the outline; west <= east.
    bounds: [f64; 4],
}

/// How far apart, in degrees of longitude and of latitude, two regions may lie that count as meeting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    pub x: f64,
    pub y: f64,
}

impl Margin {
    pub const NONE: Margin = Margin { x: 0.0, y: 0.0 };
}

impl Area {
    /// Bytes of memory of its outline.
    pub fn outline_memory(&self) -> usize {
        let ring = |ring: &LineString| size_of::<LineString>() + ring.0.len() * size_of::<Coord>();
        let rings = |outline: &Polygon| ring(outline.exterior()) + outline.interiors().iter().map(ring).sum::<usize>();
        self.outline.as_ref().map_or(0, rings)
    }

    pub const EARTH: Area = Area { outline: None, bounds: [-180.0, -90.0, 180.0, 90.0] };

    /// The region that `rect` of `grid` covers: its densified outline; all longitudes where it surrounds a pole; the
    /// whole Earth where a part of it has no place on it.
    ///
    /// # Errors
    /// No transformation from `crs` to longitude and latitude.
    pub fn of(grid: &Grid, crs: &Crs, rect: Rect) -> Result<Area> {
        let corners = [rect.col, rect.row, rect.col_end(), rect.row_end()].map(|side| side as f64);
        Ok(Area::of_pixels(&grid.affine(), corners, &transformer(crs, &crs.lonlat()?)?))
    }

    /// As [`Area::of`], of the pixels from the first column and row to the last of a raster with the geotransform `affine`.
    pub fn of_pixels(affine: &Affine, [c0, r0, c1, r1]: [f64; 4], to_lonlat: &Lease) -> Area {
        let (mut xs, mut ys) = outline(affine, [(c0, r0), (c1, r0), (c1, r1), (c0, r1), (c0, r0)]);
        to_lonlat.transform(&mut xs, &mut ys);
        let points: Vec<Coord> = xs.iter().zip(&ys).map(|(x, y)| Coord { x: *x, y: *y }).collect();
        let sane = |c: &Coord| c.x.is_finite() && c.y.abs() <= 90.0 + 1e-9;
        if !points.iter().all(sane) {
            return Area::EARTH;
        }
        if to_lonlat.is_identity() {
            return Area::of_points(points);
        }
        Area::followed(&points).unwrap_or_else(|| Area::around_pole(&points))
    }

    /// The region inside of a dense, closed ring whose longitudes jump where they come round. `None` if it surrounds a pole, or
    /// passes one too closely to tell.
    fn followed(points: &[Coord]) -> Option<Area> {
        /// Steps of an outline are short, unless it is next to a pole.
        const LONGEST_STEP: f64 = 120.0;
        let mut followed: Vec<Coord> = Vec::with_capacity(points.len());
        for (i, point) in points.iter().enumerate() {
            let before = followed.last().map(|last| last.x);
            let near = |x: f64| before.map_or(x, |before| x - ((x - before) / TURN).round() * TURN);
            if 90.0 - point.y.abs() < 1e-9 {
                // A pole has no longitude of its own: the ring comes along one meridian and leaves along another.
                let meridians = [before, points.get(i + 1).map(|next| near(next.x))];
                followed.extend(meridians.into_iter().flatten().map(|x| Coord { x, y: point.y }));
                continue;
            }
            let x = near(point.x);
            if before.is_some_and(|before| (x - before).abs() > LONGEST_STEP) {
                return None;
            }
            followed.push(Coord { x, y: point.y });
        }
        let (first, last) = (followed.first()?, followed.last()?);
        ((last.x - first.x).abs() <= TURN / 2.0).then(|| Area::of_points(followed))
    }

    /// All longitudes, from the latitudes of `points` to the pole that is nearer.
    pub fn around_pole(points: &[Coord]) -> Area {
        let south = points.iter().map(|c| c.y).fold(f64::INFINITY, f64::min).max(-90.0);
        let north = points.iter().map(|c| c.y).fold(f64::NEG_INFINITY, f64::max).min(90.0);
        if south + north > 0.0 {
            Area::of_box([-180.0, south, 180.0, 90.0])
        } else {
            Area::of_box([-180.0, -90.0, 180.0, north])
        }
    }

    /// All between west and east, which does not lie west of it, and south and north.
    pub fn of_box([west, south, east, north]: [f64; 4]) -> Area {
        let all = east - west >= TURN;
        Area { outline: None, bounds: if all { [-180.0, south, 180.0, north] } else { [west, south, east, north] } }
    }

    pub fn of_polygon(outline: Polygon) -> Area {
        let bounds = outline.bounding_rect().map_or([0.0; 4], |r| [r.min().x, r.min().y, r.max().x, r.max().y]);
        if bounds[2] - bounds[0] >= TURN {
            return Area::of_box(bounds);
        }
        Area { outline: Some(outline), bounds }
    }

    fn of_points(points: Vec<Coord>) -> Area {
        Area::of_polygon(Polygon::new(LineString::new(points), Vec::new()))
    }

    /// West, south, east, north; longitudes may lie beyond ±180.
    pub fn bounds(&self) -> [f64; 4] {
        self.bounds
    }

    /// The bounds alone.
    pub fn hull(&self) -> Area {
        Area::of_box(self.bounds)
    }

    /// The bounds, widened by a margin, as boxes with longitudes within ±180: two where they cross the antimeridian.
    pub fn boxes(&self, margin: Margin) -> Vec<[f64; 4]> {
        let [west, south, east, north] = self.bounds;
        let [west, south, east, north] = [west - margin.x, south - margin.y, east + margin.x, north + margin.y];
        if east - west >= TURN {
            return vec![[-180.0, south, 180.0, north]];
        }
        let shift = ((west + 180.0) / TURN).floor() * TURN;
        let (west, east) = (west - shift, east - shift);
        if east <= 180.0 {
            vec![[west, south, east, north]]
        } else {
            vec![[west, south, 180.0, north], [-180.0, south, east - TURN, north]]
        }
    }

    /// Every number of degrees in whole turns after which longitudes from `west` to `east` overlap those of the region.
    pub fn turns(&self, west: f64, east: f64) -> impl Iterator<Item = f64> + use<> {
        let first = ((self.bounds[0] - east) / TURN).ceil() as i64;
        let last = ((self.bounds[2] - west) / TURN).floor() as i64;
        (first..=last).map(|turn| turn as f64 * TURN)
    }

    /// Share of the region's bounds that those of another cover, 0 to 1.
    pub fn share_of(&self, other: &Area) -> f64 {
        let [w, s, e, n] = self.bounds;
        let [west, south, east, north] = other.bounds;
        let whole = (e - w) * (n - s);
        if whole <= 0.0 {
            return 1.0;
        }
        let height = (north.min(n) - south.max(s)).max(0.0);
        let width: f64 = self.turns(west, east).map(|turn| (east + turn).min(e) - (west + turn).max(w)).sum();
        (width * height / whole).min(1.0)
    }

    /// Whether a place lies in the region, however its longitude is counted.
    pub fn holds(&self, lon: f64, lat: f64) -> bool {
        let [_, south, _, north] = self.bounds;
        (south..=north).contains(&lat)
            && self.turns(lon, lon).any(|turn| match &self.outline {
                None => true,
                Some(outline) => outline.intersects(&Point::new(lon + turn, lat)),
            })
    }

    /// Whether two regions meet, or come as close as `margin`.
    pub fn meets(&self, other: &Area, margin: Margin) -> bool {
        let [_, s, _, n] = self.bounds;
        let [west, south, east, north] = other.bounds;
        south - margin.y <= n
            && north + margin.y >= s
            && self.turns(west - margin.x, east + margin.x).any(|turn| self.meets_at(turn, other, margin))
    }

    /// As [`Area::meets`], with the other's longitudes as many degrees on; the bounds meet.
    fn meets_at(&self, turn: f64, other: &Area, margin: Margin) -> bool {
        match (&self.outline, &other.outline) {
            (None, None) => true,
            (Some(outline), None) => rect(other.bounds, turn, margin).intersects(outline),
            (None, Some(outline)) => rect(self.bounds, -turn, margin).intersects(outline),
            (Some(here), Some(there)) => {
                let there = there.translate(turn, 0.0);
                here.intersects(&there) || (margin != Margin::NONE && are_near(here, &there, margin))
            }
        }
    }

    /// Whether the bounds of another lie within those of the region, or stand out no more than `margin`.
    pub fn encloses(&self, other: &Area, margin: Margin) -> bool {
        let [w, s, e, n] = self.bounds;
        let [west, south, east, north] = other.bounds;
        let all_around = e - w >= TURN;
        let within = |turn: f64| west + turn >= w - margin.x && east + turn <= e + margin.x;
        south >= s - margin.y && north <= n + margin.y && (all_around || self.turns(west, east).any(within))
    }
}

fn rect([west, south, east, north]: [f64; 4], turn: f64, margin: Margin) -> geo::Rect {
    geo::Rect::new((west + turn - margin.x, south - margin.y), (east + turn + margin.x, north + margin.y))
}

/// Whether the distance, counted in margins, is at most one.
fn are_near(a: &Polygon, b: &Polygon, margin: Margin) -> bool {
    let in_margins = |polygon: &Polygon| polygon.scale_around_point(1.0 / margin.x, 1.0 / margin.y, (0.0, 0.0));
    Euclidean.distance(&in_margins(a), &in_margins(b)) <= 1.0
}

/// Points along lines between corners, in the CRS of a geotransform.
fn outline(affine: &Affine, corners: [(f64, f64); 5]) -> (Vec<f64>, Vec<f64>) {
    let mut points = Vec::with_capacity(4 * POINTS_PER_SIDE + 1);
    for side in corners.windows(2) {
        for i in 0..POINTS_PER_SIDE {
            let t = i as f64 / POINTS_PER_SIDE as f64;
            points.push(affine.apply(side[0].0 + (side[1].0 - side[0].0) * t, side[0].1 + (side[1].1 - side[0].1) * t));
        }
    }
    points.push(affine.apply(corners[4].0, corners[4].1));
    points.into_iter().unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crs::LONLAT;

    fn area(crs: &str, bbox: [f64; 4], resolution: f64) -> Area {
        let grid = Grid::new(bbox, resolution).unwrap();
        Area::of(&grid, &Crs::new(crs).unwrap(), grid.rect()).unwrap()
    }

    fn touches(area: &Area, bounds: [f64; 4]) -> bool {
        area.meets(&Area::of_box(bounds), Margin::NONE)
    }

    #[test]
    fn curved_edges_bulge() {
        let bounds = area("EPSG:5070", [-700_000.0, 2_000_000.0, 600_000.0, 2_900_000.0], 1000.0).bounds();
        let grid = Grid::new([-700_000.0, 2_000_000.0, 600_000.0, 2_900_000.0], 1000.0).unwrap();
        let t = transformer(&Crs::new("EPSG:5070").unwrap(), &LONLAT).unwrap();
        let corner = t.point(grid.xmin, grid.ymax).1.max(t.point(600_000.0, grid.ymax).1);
        assert!(bounds[3] > corner + 0.1, "{bounds:?} {corner}");
    }

    #[test]
    fn a_pole_inside_means_all_longitudes() {
        let bounds = area("EPSG:3995", [-1e6, -1e6, 1e6, 1e6], 1e4).bounds();
        assert_eq!((bounds[0], bounds[2], bounds[3]), (-180.0, 180.0, 90.0));
        let bounds = area("EPSG:3031", [-1e6, -1e6, 1e6, 1e6], 1e4).bounds();
        assert_eq!((bounds[0], bounds[2], bounds[1]), (-180.0, 180.0, -90.0));
        assert!(bounds[3] < -70.0);
    }

    #[test]
    fn a_pole_at_a_corner_or_beside_an_edge_hides_nothing() {
        for bbox in [[0.0, 0.0, 1e5, 1e5], [-1e5, 0.0, 1e5, 1e5], [1.0, -1e5, 1e5, 1e5], [-1e5, -1e5, -3.0, 1e5]] {
            let area = area("EPSG:3031", bbox, 100.0);
            let t = transformer(&Crs::new("EPSG:3031").unwrap(), &LONLAT).unwrap();
            for (u, v) in (0..400).map(|i| (f64::from(i % 20) + 0.5, f64::from(i / 20) + 0.5)) {
                let at = (bbox[0] + (bbox[2] - bbox[0]) * u / 20.0, bbox[1] + (bbox[3] - bbox[1]) * v / 20.0);
                let (lon, lat) = t.point(at.0, at.1);
                assert!(area.holds(lon, lat), "{bbox:?} {at:?} {lon} {lat}");
            }
        }
    }

    #[test]
    fn the_antimeridian_splits_boxes_and_hides_nothing() {
        // UTM zone 1N reaches west over 180 degrees.
        let area = area("EPSG:32601", [100_000.0, 0.0, 300_000.0, 100_000.0], 100.0);
        let boxes = area.boxes(Margin::NONE);
        assert_eq!(boxes.len(), 2, "{boxes:?}");
        assert!(touches(&area, [179.5, 0.0, 179.9, 0.5]));
        assert!(touches(&area, [-179.9, 0.0, -179.5, 0.5]));
        assert!(touches(&area, [179.5, 0.0, 180.5, 0.5]));
        assert!(!touches(&area, [0.0, 0.0, 10.0, 0.5]));
    }

    #[test]
    fn longitudes_count_in_any_way() {
        let area = area("EPSG:4326", [178.0, 0.0, 183.0, 10.0], 1.0);
        for turn in [-720.0, -360.0, 0.0, 360.0, 1080.0] {
            assert!(touches(&area, [182.0 + turn, 2.0, 184.0 + turn, 3.0]), "{turn}");
            assert!(!touches(&area, [184.0 + turn, 2.0, 536.0 + turn, 3.0]), "{turn}");
            assert!(area.holds(-178.0 + turn, 5.0) && !area.holds(-176.0 + turn, 5.0), "{turn}");
            assert_eq!(area.share_of(&Area::of_box([182.0 + turn, 0.0, 192.0 + turn, 10.0])), 0.2);
        }
        assert!(touches(&Area::EARTH, [200.0, 2.0, 204.0, 3.0]));
        assert_eq!(Area::EARTH.share_of(&Area::of_box([90.0, -90.0, 270.0, 90.0])), 0.5);
    }

    #[test]
    fn longitudes_beyond_180_are_boxes_within() {
        let boxes = |bbox| area("EPSG:4326", bbox, 1.0).boxes(Margin::NONE);
        assert_eq!(boxes([170.0, 0.0, 190.0, 10.0]).len(), 2);
        assert_eq!(boxes([190.0, 0.0, 200.0, 10.0]), vec![[-170.0, 0.0, -160.0, 10.0]]);
        let wide = area("EPSG:4326", [179.0, 0.0, 180.0, 10.0], 1.0).boxes(Margin { x: 1.0, y: 2.0 });
        assert_eq!(wide, [[178.0, -2.0, 180.0, 12.0], [-180.0, -2.0, -179.0, 12.0]]);
    }

    #[test]
    fn a_margin_is_a_distance() {
        let hook = |turn: f64| {
            let ring = [(0.0, 0.0), (10.0, 0.0), (10.0, 1.0), (1.0, 1.0), (1.0, 10.0), (0.0, 10.0), (0.0, 0.0)];
            Polygon::new(ring.map(|(x, y)| (x + turn, y)).to_vec().into(), vec![])
        };
        let square = |x: f64, y: f64| {
            let ring = vec![(x, y), (x + 1.0, y), (x + 1.1, y + 1.0), (x, y + 1.0), (x, y)];
            Area::of_polygon(Polygon::new(ring.into(), vec![]))
        };
        for (x, y, margin) in [(4.0, 3.0, 2.0), (12.0, 0.0, 2.0), (-3.0, 5.0, 2.0)] {
            for turn in [0.0, 360.0] {
                let hook = Area::of_polygon(hook(turn));
                let meets = |margin| square(x, y).meets(&hook, Margin { x: margin, y: margin });
                assert!(meets(margin) && !meets(margin * 0.9), "{x} {y} {turn}");
            }
        }
    }
}
