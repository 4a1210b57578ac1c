//! Footprints: WKB or GeoJSON to polygons.

use geo::{BoundingRect, Geometry, Intersects, MultiPolygon, Rect};
use geo_traits::GeometryTrait;
use geo_traits::to_geo::ToGeoGeometry;
use geojson::{GeometryValue, Position};
use wkb::reader::{GeometryType, Wkb};

/// How a geometry column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// WKB, ISO or extended.
    Wkb,
    /// GeoJSON text.
    GeoJson,
}

/// A geometry in two dimensions, or what is wrong with it.
pub(super) fn parse(encoding: Encoding, bytes: &[u8]) -> Result<Option<Geometry>, String> {
    match encoding {
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
    }
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

/// The polygons of a geometry; `None` for points, lines and empty geometries.
pub(super) fn footprint(geometry: Geometry) -> Option<MultiPolygon> {
    let polygons = match geometry {
        Geometry::Polygon(polygon) => MultiPolygon(vec![polygon]),
        Geometry::MultiPolygon(polygons) => polygons,
        _ => return None,
    };
    let usable = polygons.0.iter().all(|p| p.exterior().0.iter().all(|c| c.x.is_finite() && c.y.is_finite()));
    (usable && polygons.0.iter().any(|polygon| polygon.exterior().0.len() > 3)).then_some(polygons)
}

/// `[west, south, east, north]` of a geometry; `None` for an empty one.
pub(super) fn bounds(geometry: &Geometry) -> Option<[f64; 4]> {
    let rect = geometry.bounding_rect()?;
    let bounds = [rect.min().x, rect.min().y, rect.max().x, rect.max().y];
    bounds.iter().all(|v| v.is_finite()).then_some(bounds)
}

/// Whether the geometry of an item, or its bbox where it has none, meets every one of the shapes.
pub(super) fn meets_all(geometry: Option<&Geometry>, edges: [Option<f64>; 4], shapes: &[Geometry]) -> bool {
    let rect = |west: f64, south: f64, east: f64, north: f64| Rect::new((west, south), (east, north));
    let boxes = match edges {
        [Some(west), Some(south), Some(east), Some(north)] if west <= east => vec![rect(west, south, east, north)],
        [Some(west), Some(south), Some(east), Some(north)] => {
            vec![rect(west, south, 180.0, north), rect(-180.0, south, east, north)]
        }
        _ => Vec::new(),
    };
    shapes.iter().all(|shape| match geometry {
        Some(geometry) => geometry.intersects(shape),
        None => boxes.iter().any(|rect| rect.intersects(shape)),
    })
}

/// Whether two boxes touch; the first may cross the antimeridian (west > east), the second not.
pub(super) fn touches(item: [f64; 4], area: [f64; 4]) -> bool {
    let [west, south, east, north] = item;
    let in_latitude = south <= area[3] && north >= area[1];
    let in_longitude = match west <= east {
        true => west <= area[2] && east >= area[0],
        false => west <= area[2] || east >= area[0],
    };
    in_latitude && in_longitude
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
        assert_eq!(bounds(&from_wkb), Some([0.0, 0.0, 2.0, 1.0]));
        assert_eq!(footprint(from_wkb).map(|m| m.0.len()), Some(1));
    }

    #[test]
    fn points_have_bounds_but_no_footprint() {
        let point = parse(Encoding::GeoJson, br#"{"type":"Point","coordinates":[3,4]}"#).unwrap().unwrap();
        assert_eq!(bounds(&point), Some([3.0, 4.0, 3.0, 4.0]));
        assert_eq!(footprint(point), None);
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

    #[test]
    fn boxes_touch_across_the_antimeridian() {
        let crossing = [170.0, -10.0, -170.0, 10.0];
        assert!(touches(crossing, [175.0, 0.0, 180.0, 5.0]));
        assert!(touches(crossing, [-180.0, 0.0, -175.0, 5.0]));
        assert!(!touches(crossing, [-160.0, 0.0, 160.0, 5.0]));
        assert!(!touches(crossing, [175.0, 11.0, 180.0, 12.0]));
        assert!(touches([0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]), "an edge is enough");
        assert!(!touches([0.0, 0.0, 1.0, 1.0], [1.1, 0.0, 2.0, 2.0]));
    }
}
