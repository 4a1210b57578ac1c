//! Where a part of the output grid lies on the Earth, for finding items: outlines in longitude and latitude.

use geo::{BoundingRect, Coord, Intersects, LineString, MultiPolygon, Polygon, Scale, Translate};

use crate::crs::{Crs, transformer};
use crate::error::Result;
use crate::grid::{Grid, Rect};

/// Points along each side of an outline: curved edges bulge between the corners.
const POINTS_PER_SIDE: usize = 32;
/// Footprints are drawn with straight edges in longitude and latitude, real rasters bulge beyond them, some footprints
/// are simplified. They are enlarged by this share before the test, so that no tile misses a pixel they hide.
const FOOTPRINT_MARGIN: f64 = 0.04;

/// A region in degrees of longitude and latitude. Longitudes are continuous, so a region across the antimeridian runs
/// past 180 or below -180.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    outline: Polygon,
    /// west, south, east, north of the outline.
    bounds: [f64; 4],
}

impl Area {
    /// The region that `rect` of `grid` covers: its densified outline; all longitudes where it surrounds a pole; the
    /// whole Earth where a part of it has no place on it.
    ///
    /// # Errors
    /// No transformation from `crs` to longitude and latitude.
    pub fn of(grid: &Grid, crs: &Crs, rect: Rect) -> Result<Area> {
        let to_lonlat = transformer(crs, &crs.lonlat()?)?;
        let (mut xs, mut ys) = outline(grid, rect);
        to_lonlat.transform(&mut xs, &mut ys);
        let mut points: Vec<Coord> = xs.iter().zip(&ys).map(|(x, y)| Coord { x: *x, y: *y }).collect();
        let sane = |c: &Coord| c.x.is_finite() && c.y.abs() <= 90.0 + 1e-9;
        if !points.iter().all(sane) {
            return Ok(Area::from_box([-180.0, -90.0, 180.0, 90.0]));
        }
        if to_lonlat.is_identity() {
            return Ok(Area::from_points(points));
        }
        // Follow the outline: a jump of more than half a turn is the antimeridian.
        let mut turns = 0.0;
        for i in 1..points.len() {
            let step = points[i].x + turns - points[i - 1].x;
            turns -= (step / 360.0).round() * 360.0;
            points[i].x += turns;
        }
        let (first, last) = (points[0], points[points.len() - 1]);
        if (last.x - first.x).abs() > 180.0 {
            return Ok(Area::around_pole(&points));
        }
        Ok(Area::from_points(points))
    }

    fn around_pole(points: &[Coord]) -> Area {
        let south = points.iter().map(|c| c.y).fold(f64::INFINITY, f64::min);
        let north = points.iter().map(|c| c.y).fold(f64::NEG_INFINITY, f64::max);
        if south + north > 0.0 {
            Area::from_box([-180.0, south, 180.0, 90.0])
        } else {
            Area::from_box([-180.0, -90.0, 180.0, north])
        }
    }

    fn from_box([west, south, east, north]: [f64; 4]) -> Area {
        Area::from_points(vec![
            Coord { x: west, y: south },
            Coord { x: east, y: south },
            Coord { x: east, y: north },
            Coord { x: west, y: north },
            Coord { x: west, y: south },
        ])
    }

    fn from_points(points: Vec<Coord>) -> Area {
        let outline = Polygon::new(LineString::new(points), Vec::new());
        let bounds = outline.bounding_rect().map_or([0.0; 4], |r| [r.min().x, r.min().y, r.max().x, r.max().y]);
        Area { outline, bounds }
    }

    /// West, south, east, north; longitudes may lie beyond ±180.
    pub fn bounds(&self) -> [f64; 4] {
        self.bounds
    }

    /// The bounds as boxes with longitudes within ±180: two where the region crosses the antimeridian.
    pub fn boxes(&self) -> Vec<[f64; 4]> {
        let [west, south, east, north] = self.bounds;
        if east - west >= 360.0 {
            return vec![[-180.0, south, 180.0, north]];
        }
        let shift = ((west + 180.0) / 360.0).floor() * 360.0;
        let (west, east) = (west - shift, east - shift);
        if east <= 180.0 {
            vec![[west, south, east, north]]
        } else {
            vec![[west, south, 180.0, north], [-180.0, south, east - 360.0, north]]
        }
    }

    /// Share of the region's bounding box that an item's covers, 0 to 1.
    pub fn share_of(&self, bbox: [f64; 4]) -> f64 {
        let [w, s, e, n] = self.bounds;
        let [west, south, mut east, north] = bbox;
        if west > east {
            east += 360.0;
        }
        let overlap = |turn: f64| {
            let (dx, dy) = ((east + turn).min(e) - (west + turn).max(w), north.min(n) - south.max(s));
            dx.max(0.0) * dy.max(0.0)
        };
        let common = [-360.0, 0.0, 360.0].map(overlap).into_iter().fold(0.0, f64::max);
        let whole = (e - w) * (n - s);
        if whole > 0.0 { (common / whole).min(1.0) } else { 1.0 }
    }

    /// Whether an item may touch the region: by its bbox (west > east crosses the antimeridian), then by its footprint.
    pub fn touches(&self, bbox: [f64; 4], footprint: Option<&MultiPolygon>) -> bool {
        let [west, south, mut east, north] = bbox;
        if west > east {
            east += 360.0;
        }
        let (dx, dy) = ((east - west) * FOOTPRINT_MARGIN / 2.0, (north - south) * FOOTPRINT_MARGIN / 2.0);
        let [w, s, e, n] = self.bounds;
        if south - dy > n || north + dy < s {
            return false;
        }
        [-360.0, 0.0, 360.0]
            .into_iter()
            .any(|turn| west - dx + turn <= e && east + dx + turn >= w && footprint.is_none_or(|f| self.meets(f, turn)))
    }

    fn meets(&self, footprint: &MultiPolygon, turn: f64) -> bool {
        footprint.iter().any(|part| part.scale(1.0 + FOOTPRINT_MARGIN).translate(turn, 0.0).intersects(&self.outline))
    }
}

/// Points along the edges of `rect`, closed: first and last are the same.
fn outline(grid: &Grid, rect: Rect) -> (Vec<f64>, Vec<f64>) {
    let affine = grid.affine();
    let (c0, c1) = (rect.col as f64, rect.col_end() as f64);
    let (r0, r1) = (rect.row as f64, rect.row_end() as f64);
    let corners = [(c0, r0), (c1, r0), (c1, r1), (c0, r1), (c0, r0)];
    let mut points = Vec::with_capacity(4 * POINTS_PER_SIDE + 1);
    for side in corners.windows(2) {
        for i in 0..POINTS_PER_SIDE {
            let t = i as f64 / POINTS_PER_SIDE as f64;
            points.push(affine.apply(side[0].0 + (side[1].0 - side[0].0) * t, side[0].1 + (side[1].1 - side[0].1) * t));
        }
    }
    points.push(affine.apply(c0, r0));
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
    fn the_antimeridian_splits_boxes_and_hides_nothing() {
        // UTM zone 1N reaches west over 180 degrees.
        let area = area("EPSG:32601", [100_000.0, 0.0, 300_000.0, 100_000.0], 100.0);
        let boxes = area.boxes();
        assert_eq!(boxes.len(), 2, "{boxes:?}");
        assert!(area.touches([179.5, 0.0, 179.9, 0.5], None));
        assert!(area.touches([-179.9, 0.0, -179.5, 0.5], None));
        assert!(area.touches([179.5, 0.0, -179.5, 0.5], None));
        assert!(!area.touches([0.0, 0.0, 10.0, 0.5], None));
    }

    #[test]
    fn a_footprint_that_only_shares_the_box_does_not_touch() {
        let area = area("OGC:CRS84", [8.0, 8.0, 9.0, 9.0], 0.1);
        let triangle = Polygon::new(LineString::from(vec![(0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (0.0, 0.0)]), vec![]);
        assert!(area.touches([0.0, 0.0, 10.0, 10.0], None));
        assert!(!area.touches([0.0, 0.0, 10.0, 10.0], Some(&triangle.into())));
    }

    #[test]
    fn longitudes_beyond_180_are_boxes_within() {
        assert_eq!(area("EPSG:4326", [170.0, 0.0, 190.0, 10.0], 1.0).boxes().len(), 2);
        assert_eq!(area("EPSG:4326", [190.0, 0.0, 200.0, 10.0], 1.0).boxes(), vec![[-170.0, 0.0, -160.0, 10.0]]);
    }
}
