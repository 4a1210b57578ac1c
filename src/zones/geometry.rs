//! Polygons out of WKB, WKT and GeoJSON.

use geo::{Coord, LineString, MultiPolygon, Polygon};
use geo_traits::to_geo::{ToGeoMultiPolygon, ToGeoPolygon};
use geo_traits::{GeometryCollectionTrait, GeometryTrait, GeometryType};
use geojson::{GeometryValue, Position};
use wkt::Wkt;

use crate::error::{Error, Result};

/// What a geometry covers: polygons in two dimensions, none where it is empty. All coordinates are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub polygons: MultiPolygon,
    /// The SRID that EWKB or EWKT declares; 0, which stands for none, is `None`.
    pub srid: Option<u32>,
}

impl Default for Shape {
    fn default() -> Self {
        Shape { polygons: MultiPolygon(Vec::new()), srid: None }
    }
}

/// Collections in collections: a parser follows them by recursion.
const DEEPEST: usize = 32;

impl Shape {
    /// Reads WKB, ISO or extended. Z and M are left out.
    ///
    /// # Errors
    /// Bytes that are not WKB, or end too early or too late; points, lines and curves; a coordinate that is not finite.
    pub fn from_wkb(bytes: &[u8]) -> Result<Shape> {
        let wkb = wkb::reader::read_wkb(bytes).map_err(|e| Error::Argument(format!("geometry is not WKB: {e}")))?;
        let left = bytes.len().saturating_sub(wkb.buf().len());
        if left > 0 {
            // Parts of more dimensions than the whole declares would otherwise be read as other polygons.
            return Err(Error::Argument(format!("geometry is not WKB: {left} bytes are left behind its end")));
        }
        Shape::of(polygons_of(&wkb)?, srid_of(bytes))
    }

    /// Reads WKT, EWKT (`SRID=4326;POLYGON ...`) or the text of a GeoJSON geometry; `null` is a geometry without polygons.
    ///
    /// # Errors
    /// As [`Shape::from_wkb`].
    pub fn from_text(text: &str) -> Result<Shape> {
        let text = text.trim();
        if text.starts_with('{') || text == "null" {
            return Shape::of(from_geojson(text)?, None);
        }
        let (srid, text) = without_srid(text)?;
        let broken = |why: &str| Error::Argument(format!("geometry '{}' is not WKT: {why}", beginning(text)));
        check_extent(text).map_err(broken)?;
        Shape::of(polygons_of(&text.parse::<Wkt<f64>>().map_err(broken)?)?, srid)
    }

    fn of(polygons: Vec<Polygon>, srid: Option<u32>) -> Result<Shape> {
        let rings = polygons.iter().flat_map(|polygon| std::iter::once(polygon.exterior()).chain(polygon.interiors()));
        if let Some(at) = rings.flat_map(LineString::coords).find(|at| !at.x.is_finite() || !at.y.is_finite()) {
            return Err(Error::Argument(format!("geometry has a coordinate that is not finite: {} {}", at.x, at.y)));
        }
        Ok(Shape { polygons: MultiPolygon(polygons), srid: srid.filter(|srid| *srid != 0) })
    }
}

fn without_area(kind: &str) -> Error {
    Error::Argument(format!("a {kind} covers no area; a zone is a polygon, and lazycogs_sample reads values at points"))
}

fn polygons_of(geometry: &impl GeometryTrait<T = f64>) -> Result<Vec<Polygon>> {
    Ok(match geometry.as_type() {
        GeometryType::Polygon(polygon) => vec![polygon.to_polygon()],
        GeometryType::MultiPolygon(polygons) => polygons.to_multi_polygon().0,
        GeometryType::GeometryCollection(parts) => {
            let parts: Result<Vec<_>> = parts.geometries().map(|part| polygons_of(&part)).collect();
            parts?.into_iter().flatten().collect()
        }
        GeometryType::Point(_) => return Err(without_area("Point")),
        GeometryType::MultiPoint(_) => return Err(without_area("MultiPoint")),
        GeometryType::LineString(_) | GeometryType::Line(_) => return Err(without_area("LineString")),
        GeometryType::MultiLineString(_) => return Err(without_area("MultiLineString")),
        // No format that is read here has them.
        GeometryType::Rect(_) => return Err(without_area("Rect")),
        GeometryType::Triangle(_) => return Err(without_area("Triangle")),
    })
}

/// The SRID in the header of EWKB.
fn srid_of(bytes: &[u8]) -> Option<u32> {
    let &[order, a, b, c, d, e, f, g, h] = bytes.first_chunk()?;
    let number = |bytes| if order == 0 { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
    (number([a, b, c, d]) & 0x2000_0000 != 0).then(|| number([e, f, g, h]))
}

/// The SRID in front of EWKT, and what follows.
fn without_srid(text: &str) -> Result<(Option<u32>, &str)> {
    let (Some((head, rest)), Some(true)) =
        (text.split_once(';'), text.get(..5).map(|t| t.eq_ignore_ascii_case("srid=")))
    else {
        return Ok((None, text));
    };
    let number = head.get(5..).unwrap_or_default().trim();
    let srid =
        number.parse().map_err(|_| Error::Argument(format!("geometry has no number for its SRID: '{number}'")))?;
    Ok((Some(srid), rest))
}

/// Whether a text ends with its geometry, and can be followed by recursion: the parser looks at neither.
fn check_extent(text: &str) -> Result<(), &'static str> {
    let words = text.split('(').next().unwrap_or_default().to_ascii_uppercase();
    if words.contains("EMPTY") && !text.to_ascii_uppercase().trim_end().ends_with("EMPTY") {
        return Err("something follows its end");
    }
    let mut open = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' if open == DEEPEST => return Err("it is nested too deeply"),
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            _ => continue,
        }
        if open == 0 && text.get(at + 1..).is_some_and(|rest| !rest.trim().is_empty()) {
            return Err("something follows its end");
        }
    }
    Ok(())
}

fn beginning(text: &str) -> String {
    const SHOWN: usize = 40;
    let cut = text.chars().nth(SHOWN).is_some();
    text.chars().take(SHOWN).chain("...".chars().filter(|_| cut)).collect()
}

fn from_geojson(text: &str) -> Result<Vec<Polygon>> {
    if text == "null" {
        return Ok(Vec::new());
    }
    let geometry: geojson::Geometry =
        text.parse().map_err(|e| Error::Argument(format!("geometry is not GeoJSON: {e}")))?;
    polygons_of_geojson(&geometry.value)
}

fn polygons_of_geojson(geometry: &GeometryValue) -> Result<Vec<Polygon>> {
    Ok(match geometry {
        GeometryValue::Polygon { coordinates } => vec![polygon_of(coordinates)?],
        GeometryValue::MultiPolygon { coordinates } => {
            coordinates.iter().map(|rings| polygon_of(rings)).collect::<Result<_>>()?
        }
        GeometryValue::GeometryCollection { geometries } => {
            let parts: Result<Vec<_>> = geometries.iter().map(|part| polygons_of_geojson(&part.value)).collect();
            parts?.into_iter().flatten().collect()
        }
        other => return Err(without_area(other.type_name())),
    })
}

fn polygon_of(rings: &[Vec<Position>]) -> Result<Polygon> {
    let coord = |position: &Position| match *position.as_slice() {
        [x, y, ..] => Ok(Coord { x, y }),
        _ => Err(Error::Argument("geometry is not GeoJSON: a position has less than two coordinates".to_owned())),
    };
    let ring = |ring: &Vec<Position>| Ok(LineString::new(ring.iter().map(coord).collect::<Result<_>>()?));
    let mut rings = rings.iter().map(ring).collect::<Result<Vec<_>>>()?.into_iter();
    Ok(Polygon::new(rings.next().unwrap_or_else(|| LineString::new(Vec::new())), rings.collect()))
}

#[cfg(test)]
mod tests {
    use geo::{Geometry, GeometryCollection};

    use super::*;

    const TEXT: &str = "POLYGON ((0 0, 2 0, 2 1, 0 1, 0 0))";

    fn wkb_of(geometry: &Geometry) -> Vec<u8> {
        let mut bytes = Vec::new();
        wkb::writer::write_geometry(&mut bytes, geometry, &wkb::writer::WriteOptions::default()).unwrap();
        bytes
    }

    /// WKB of a polygon, by its type, what follows it, and the coordinates of its one ring.
    fn polygon(kind: u32, srid: &[u8], ring: &[f64], dimensions: usize) -> Vec<u8> {
        let numbers = ring.iter().flat_map(|v| v.to_le_bytes());
        let count = (ring.len() / dimensions) as u32;
        [&[1], &kind.to_le_bytes()[..], srid, &1u32.to_le_bytes(), &count.to_le_bytes()]
            .concat()
            .into_iter()
            .chain(numbers)
            .collect()
    }

    fn refused(shape: Result<Shape>) -> String {
        shape.unwrap_err().to_string()
    }

    #[test]
    fn all_formats_agree() {
        let expected = Shape::from_text(TEXT).unwrap();
        assert_eq!((expected.polygons.0.len(), expected.srid), (1, None));
        let geometry = Geometry::MultiPolygon(expected.polygons.clone());
        let collection = Geometry::GeometryCollection(GeometryCollection(vec![geometry.clone()]));
        for bytes in [wkb_of(&geometry), wkb_of(&collection)] {
            assert_eq!(Shape::from_wkb(&bytes).unwrap(), expected);
        }
        let json = r#"{"type":"Polygon","coordinates":[[[0,0,7],[2,0,7],[2,1,7],[0,1,7],[0,0,7]]]}"#;
        let multi = r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[2,0],[2,1],[0,1],[0,0]]]]}"#;
        let parts = format!(r#"{{"type":"GeometryCollection","geometries":[{json}]}}"#);
        let texts = [
            json,
            multi,
            &parts,
            "polygon z((0 0 5,2 0 5,2 1 5,0 1 5,0 0 5))",
            "MULTIPOLYGON(((0 0,2 0,2 1,0 1,0 0)))",
        ];
        for text in texts.into_iter().chain([" GEOMETRYCOLLECTION (POLYGON ((0 0, 2 0, 2 1, 0 1, 0 0)))\n"]) {
            assert_eq!(Shape::from_text(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn z_and_m_are_left_out_and_an_srid_is_kept() {
        let expected = Shape::from_text(TEXT).unwrap();
        let flat = [[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0], [0.0, 0.0]];
        let of = |more: &[f64]| -> Vec<f64> {
            flat.iter().flat_map(|at| at.iter().chain(more).copied().collect::<Vec<_>>()).collect()
        };
        for (kind, more) in
            [(3, &[][..]), (1003, &[9.0]), (2003, &[9.0]), (3003, &[9.0, 8.0]), (0x8000_0003, &[f64::NAN])]
        {
            let shape = Shape::from_wkb(&polygon(kind, &[], &of(more), 2 + more.len())).unwrap();
            assert_eq!(shape, expected, "{kind}");
        }
        let srid = |srid: u32| Shape::from_wkb(&polygon(0x2000_0003, &srid.to_le_bytes(), &of(&[]), 2)).unwrap().srid;
        assert_eq!((srid(32615), srid(0)), (Some(32615), None));
        assert_eq!(Shape::from_text(&format!("srid=3857;{TEXT}")).unwrap().srid, Some(3857));
        assert!(refused(Shape::from_text(&format!("SRID=x;{TEXT}"))).contains("no number for its SRID: 'x'"));
    }

    #[test]
    fn what_is_empty_has_no_area() {
        for text in [
            "null",
            "POLYGON EMPTY",
            "MULTIPOLYGON EMPTY",
            "GEOMETRYCOLLECTION EMPTY",
            r#"{"type":"Polygon","coordinates":[]}"#,
        ] {
            let shape = Shape::from_text(text).unwrap();
            assert!(shape.polygons.iter().all(|polygon| polygon.exterior().0.is_empty()), "{text}");
        }
        assert!(Shape::from_wkb(&[1, 3, 0, 0, 0, 0, 0, 0, 0]).is_ok());
    }

    #[test]
    fn points_and_lines_lead_to_lazycogs_sample() {
        let texts = ["POINT (1 2)", "LINESTRING (0 0, 1 1)", "MULTIPOINT (1 2)", "MULTILINESTRING ((0 0, 1 1))"];
        let json = [r#"{"type":"Point","coordinates":[1,2]}"#, r#"{"type":"LineString","coordinates":[[1,2],[3,4]]}"#];
        let nested = ["GEOMETRYCOLLECTION (POLYGON ((0 0, 1 0, 1 1, 0 0)), POINT (1 2))"];
        for text in texts.iter().chain(&json).chain(&nested) {
            assert!(refused(Shape::from_text(text)).contains("lazycogs_sample"), "{text}");
        }
        assert!(
            refused(Shape::from_wkb(&wkb_of(&Geometry::Point((1.0, 2.0).into())))).contains("a Point covers no area")
        );
    }

    #[test]
    fn coordinates_are_finite() {
        for bad in ["nan", "inf", "-inf", "1e400"] {
            let message = refused(Shape::from_text(&format!("POLYGON ((0 0, {bad} 0, 1 1, 0 0))")));
            assert!(message.contains("not finite") || message.contains("not WKT"), "{message}");
        }
        let message = refused(Shape::from_wkb(&polygon(3, &[], &[0.0, 0.0, f64::NAN, 1.0, 1.0, 1.0, 0.0, 0.0], 2)));
        assert!(message.contains("not finite: NaN 1"), "{message}");
    }

    #[test]
    fn broken_bytes_and_texts_are_errors() {
        let good = wkb_of(&Geometry::MultiPolygon(Shape::from_text(TEXT).unwrap().polygons));
        assert!((0..good.len()).all(|length| Shape::from_wkb(&good[..length]).is_err()));
        assert!(refused(Shape::from_wkb(&[&good[..], &[0]].concat())).contains("1 bytes are left"));
        let claims = [1, 6, 0, 0, 0, 255, 255, 255, 255];
        let nested = [1, 7, 0, 0, 0, 1, 0, 0, 0].repeat(100_000);
        assert!(Shape::from_wkb(&claims).is_err() && Shape::from_wkb(&nested).is_err());
        let deep = "GEOMETRYCOLLECTION(".repeat(100_000);
        assert!(refused(Shape::from_text(&deep)).contains("nested too deeply"));
        let deep = r#"{"type":"GeometryCollection","geometries":["#.repeat(100_000);
        assert!(refused(Shape::from_text(&deep)).contains("not GeoJSON"));
        for text in [
            "",
            "POLYGON",
            "POLYGON ((0 0, 1))",
            "POLYGON ((0 0, 1 1) x",
            "CIRCLE (1 2)",
            "{}",
            "SRID=1",
            "é",
            "SRIDé=1;",
        ] {
            assert!(Shape::from_text(text).is_err(), "{text}");
        }
        for more in [
            format!("{TEXT} {TEXT}"),
            format!("{TEXT};"),
            format!("POLYGON EMPTY {TEXT}"),
            "POLYGON EMPTY x".to_owned(),
        ] {
            assert!(refused(Shape::from_text(&more)).contains("something follows its end"), "{more}");
        }
        let short = r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1],[0,0]]]]}"#;
        assert!(refused(Shape::from_text(short)).contains("less than two coordinates"));
    }

    #[test]
    fn every_changed_byte_is_read_or_refused() {
        let good = wkb_of(&Geometry::MultiPolygon(Shape::from_text(TEXT).unwrap().polygons));
        for (at, byte) in (0..good.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            let mut bytes = good.clone();
            bytes[at] = byte;
            if let Ok(shape) = Shape::from_wkb(&bytes) {
                assert!(shape.polygons.iter().all(|polygon| polygon.exterior().0.len() <= good.len() / 16));
            }
        }
    }
}
