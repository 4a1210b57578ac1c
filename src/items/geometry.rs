//! Footprints: WKB or GeoJSON to geometries.

use geo::{
    BoundingRect, Coord, Geometry, GeometryCollection, Intersects, LineString, MapCoords, MultiPolygon, Polygon, Rect,
};
use geo_traits::GeometryTrait;
use geo_traits::to_geo::ToGeoGeometry;
use geojson::{GeometryValue, Position};
use serde_json::Value;
use wkb::reader::{GeometryType, Wkb};
use wkb::writer::WriteOptions;

use crate::crs::Lease;

/// How a geometry column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// WKB, ISO or extended; or JSON of either kind as bytes.
    Wkb,
    /// GeoJSON text.
    GeoJson,
    /// JSON text of lists of points, nested as the coordinates of GeoJSON are: GeoArrow's own encodings.
    Nested,
}

/// The WKB of a GeoJSON geometry, in two dimensions; `None` for null.
///
/// # Errors
/// What is wrong with it, as words behind "is".
pub fn wkb_of_geojson(json: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(geometry) = parse(Encoding::GeoJson, json.as_bytes())? else { return Ok(None) };
    let mut bytes = Vec::new();
    let written = wkb::writer::write_geometry(&mut bytes, &geometry, &WriteOptions::default());
    written.map(|()| Some(bytes)).map_err(|e| e.to_string())
}

/// A geometry in two dimensions, or what is wrong with it.
pub(super) fn parse(encoding: Encoding, bytes: &[u8]) -> Result<Option<Geometry>, String> {
    match encoding {
        // Parts that write geometries in different ways have been brought to bytes, each kind as it is.
        Encoding::Wkb if matches!(bytes.first(), Some(b'{' | b'n')) => parse(Encoding::GeoJson, bytes),
        Encoding::Wkb if bytes.first() == Some(&b'[') => parse(Encoding::Nested, bytes),
        Encoding::Wkb if is_collection(bytes) => Err("a GeometryCollection has no footprint".to_owned()),
        Encoding::Wkb => {
            let geometry = wkb::reader::read_wkb(bytes).map_err(|e| format!("not WKB: {e}"))?;
            if geometry.geometry_type() == GeometryType::MultiPoint && has_srid_inside(&geometry) {
                return Err("not WKB: a point of a MultiPoint has an SRID of its own".to_owned());
            }
            Ok(geometry.try_to_geometry())
        }
        Encoding::GeoJson => {
            let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
            if text.trim() == "null" {
                return Ok(None);
            }
            let geometry: geojson::Geometry = text.parse().map_err(|e| format!("not GeoJSON: {e}"))?;
            if !is_complete(&geometry.value) {
                return Err("not GeoJSON: a position has less than two coordinates".to_owned());
            }
            Geometry::try_from(geometry).map(Some).map_err(|e| format!("not GeoJSON: {e}"))
        }
        Encoding::Nested => {
            let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("no list of points: {e}"))?;
            nested(&value).map(Some).ok_or_else(|| "neither a point nor a polygon of points".to_owned())
        }
    }
}

/// A point, or a polygon or several: lists of rings.
fn nested(value: &Value) -> Option<Geometry> {
    let point = |value: &Value| -> Option<Coord> {
        let member = |name: &str, index: usize| value.get(name).or_else(|| value.get(index))?.as_f64();
        Some(Coord { x: member("x", 0)?, y: member("y", 1)? })
    };
    let ring = |value: &Value| -> Option<LineString> {
        value.as_array()?.iter().map(point).collect::<Option<Vec<_>>>().map(LineString::new)
    };
    let polygon = |value: &Value| -> Option<Polygon> {
        let mut rings = value.as_array()?.iter().map(ring).collect::<Option<Vec<_>>>()?.into_iter();
        Some(Polygon::new(rings.next()?, rings.collect()))
    };
    let polygons = || value.as_array()?.iter().map(polygon).collect::<Option<Vec<_>>>();
    match (point(value), polygon(value)) {
        (Some(at), _) => Some(Geometry::Point(at.into())),
        (None, Some(polygon)) => Some(Geometry::Polygon(polygon)),
        (None, None) => Some(Geometry::MultiPolygon(MultiPolygon(polygons()?))),
    }
}

/// A geometry brought to longitude and latitude. Straight edges become curves, of which some points are kept.
pub(super) fn projected(geometry: Geometry, to_lonlat: &Lease) -> Geometry {
    match geometry {
        Geometry::Polygon(polygon) => Geometry::Polygon(projected_polygon(&polygon, to_lonlat)),
        Geometry::MultiPolygon(polygons) => {
            Geometry::MultiPolygon(polygons.iter().map(|polygon| projected_polygon(polygon, to_lonlat)).collect())
        }
        other => other.map_coords(|at| {
            let (x, y) = to_lonlat.point(at.x, at.y);
            Coord { x, y }
        }),
    }
}

fn projected_polygon(polygon: &Polygon, to_lonlat: &Lease) -> Polygon {
    /// Parts of an edge.
    const PARTS: usize = 16;
    let ring = |ring: &LineString| -> LineString {
        let along = |line: geo::Line, i: usize| line.start + line.delta() * (i as f64 / PARTS as f64);
        let dense = ring.lines().flat_map(|line| (0..PARTS).map(move |i| along(line, i)));
        let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = dense.chain(ring.0.last().copied()).map(|at| (at.x, at.y)).unzip();
        to_lonlat.transform(&mut xs, &mut ys);
        xs.into_iter().zip(ys).map(|(x, y)| Coord { x, y }).collect()
    };
    Polygon::new(ring(polygon.exterior()), polygon.interiors().iter().map(ring).collect())
}

/// Collections nest without bound, so that a crafted one would exhaust the stack of a recursive reader.
fn is_collection(bytes: &[u8]) -> bool {
    let Some(&[order, a, b, c, d]) = bytes.first_chunk() else { return false };
    let code = if order == 0 { u32::from_be_bytes([a, b, c, d]) } else { u32::from_le_bytes([a, b, c, d]) };
    (code & 0xff_ffff) % 1000 == 7
}

/// Whether a point of a MultiPoint declares an SRID. The reader takes all points for equally long, and panics when it comes
/// to one that is longer.
fn has_srid_inside(multi_point: &Wkb) -> bool {
    let is_big_endian = multi_point.buf().first() == Some(&0);
    let flags_at = if is_big_endian { 1 } else { 4 };
    let mut points = multi_point.buf().rchunks_exact(5 + 8 * multi_point.dim().size());
    points.any(|point| point.get(flags_at).is_some_and(|flags| flags & 0x20 != 0))
}

/// Whether every position has an x and a y: the conversion takes them for granted.
fn is_complete(geometry: &GeometryValue) -> bool {
    let pair = |position: &Position| position.as_slice().len() >= 2;
    let line = |positions: &Vec<Position>| positions.iter().all(pair);
    match geometry {
        GeometryValue::Point { coordinates } => pair(coordinates),
        GeometryValue::MultiPoint { coordinates } | GeometryValue::LineString { coordinates } => line(coordinates),
        GeometryValue::MultiLineString { coordinates } | GeometryValue::Polygon { coordinates } => {
            coordinates.iter().all(line)
        }
        GeometryValue::MultiPolygon { coordinates } => coordinates.iter().flatten().all(line),
        GeometryValue::GeometryCollection { geometries } => geometries.iter().all(|part| is_complete(&part.value)),
    }
}

/// `[west, south, east, north]` of a geometry; `None` for an empty one.
pub(super) fn bounds(geometry: &Geometry) -> Option<[f64; 4]> {
    let rect = geometry.bounding_rect()?;
    let bounds = [rect.min().x, rect.min().y, rect.max().x, rect.max().y];
    bounds.iter().all(|v| v.is_finite()).then_some(bounds)
}

/// Whether the geometry of an item, or its bbox where it has none, meets every one of the shapes, which are in
/// [all turns](in_all_turns).
pub(super) fn meets_all(geometry: Option<&Geometry>, bbox: Option<[f64; 4]>, shapes: &[Geometry]) -> bool {
    let own = match (geometry, bbox) {
        (Some(geometry), _) => vec![geometry.clone()].into_iter().chain(followed(geometry)).collect(),
        (None, Some([west, south, east, north])) => {
            let east = if west > east { east + 360.0 } else { east };
            vec![Geometry::Rect(Rect::new((west, south), (east, north)))]
        }
        (None, None) => Vec::new(),
    };
    shapes.iter().all(|shape| own.iter().any(|own| own.intersects(shape)))
}

/// A shape in every turn in which the longitudes of an item may be counted.
pub(super) fn in_all_turns(shape: &Geometry) -> Geometry {
    let turned = |turn: f64| move |shape: &Geometry| shape.map_coords(|at| Coord { x: at.x + turn, y: at.y });
    let forms: Vec<Geometry> = std::iter::once(shape.clone()).chain(followed(shape)).collect();
    let all = [-360.0, 0.0, 360.0].into_iter().flat_map(|turn| forms.iter().map(turned(turn)).collect::<Vec<_>>());
    Geometry::GeometryCollection(GeometryCollection(all.collect()))
}

/// Polygons whose longitudes jump at the antimeridian, which is not cut there, with longitudes that go on; `None` where none do.
fn followed(geometry: &Geometry) -> Option<Geometry> {
    let polygons: Vec<&Polygon> = match geometry {
        Geometry::Polygon(polygon) => vec![polygon],
        Geometry::MultiPolygon(polygons) => polygons.iter().collect(),
        _ => Vec::new(),
    };
    let jumps = |ring: &LineString| ring.lines().any(|line| line.dx().abs() > 180.0);
    if !polygons.iter().any(|polygon| jumps(polygon.exterior())) {
        return None;
    }
    let ring = |ring: &LineString| -> LineString {
        let (mut turns, mut last): (f64, Option<f64>) = (0.0, None);
        let follow = |at: &Coord| {
            turns -= last.map_or(0.0, |last| ((at.x + turns - last) / 360.0).round() * 360.0);
            last = Some(at.x + turns);
            Coord { x: at.x + turns, y: at.y }
        };
        ring.0.iter().map(follow).collect()
    };
    let polygon =
        |polygon: &&Polygon| Polygon::new(ring(polygon.exterior()), polygon.interiors().iter().map(ring).collect());
    Some(Geometry::MultiPolygon(polygons.iter().map(polygon).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: &str = r#"{"type":"Polygon","coordinates":[[[0,0,5],[2,0,5],[2,1,5],[0,1,5],[0,0,5]]]}"#;

    fn wkb_of(geometry: &Geometry) -> Vec<u8> {
        let mut bytes = Vec::new();
        wkb::writer::write_geometry(&mut bytes, geometry, &wkb::writer::WriteOptions::default()).unwrap();
        bytes
    }

    #[test]
    fn wkb_and_geojson_agree() {
        let from_text = parse(Encoding::GeoJson, SQUARE.as_bytes()).unwrap().unwrap();
        let from_wkb = parse(Encoding::Wkb, &wkb_of(&from_text)).unwrap().unwrap();
        assert_eq!(from_text, from_wkb);
        assert!(matches!(from_wkb, Geometry::Polygon(_)));
    }

    #[test]
    fn null_is_nothing_and_garbage_an_error() {
        assert_eq!(parse(Encoding::GeoJson, b" null "), Ok(None));
        assert!(parse(Encoding::GeoJson, b"{}").is_err());
        assert!(parse(Encoding::Wkb, b"").is_err());
        assert!(parse(Encoding::Wkb, &[1, 3, 0, 0, 0, 255, 255, 255, 255]).is_err());
        assert!(parse(Encoding::Wkb, &[1, 7, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_position_without_x_and_y_is_an_error() {
        for coordinates in ["[3]", "[]"] {
            let point = format!(r#"{{"type":"Point","coordinates":{coordinates}}}"#);
            let polygon = format!(r#"{{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],{coordinates}]]]}}"#);
            let collection = format!(r#"{{"type":"GeometryCollection","geometries":[{point}]}}"#);
            for text in [point, polygon, collection] {
                assert!(parse(Encoding::GeoJson, text.as_bytes()).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_point_with_an_srid_of_its_own_is_an_error_and_no_panic() {
        let multi_point = |order: u8, flags_at: usize| {
            let u32 = |n: u32| if order == 0 { n.to_be_bytes() } else { n.to_le_bytes() };
            let point = [&[order], &u32(1)[..], &[0; 16]].concat();
            let mut bytes = [&[order], &u32(4)[..], &u32(2), &point, &point].concat();
            assert!(parse(Encoding::Wkb, &bytes).is_ok());
            bytes[9 + 21 + flags_at] |= 0x20;
            bytes
        };
        assert!(parse(Encoding::Wkb, &multi_point(0, 1)).is_err());
        assert!(parse(Encoding::Wkb, &multi_point(1, 4)).is_err());
    }

    #[test]
    fn every_truncation_of_wkb_is_an_error_and_no_panic() {
        let bytes = wkb_of(&parse(Encoding::GeoJson, SQUARE.as_bytes()).unwrap().unwrap());
        for length in 0..bytes.len() {
            assert!(parse(Encoding::Wkb, &bytes[..length]).is_err(), "{length}");
        }
    }
}
