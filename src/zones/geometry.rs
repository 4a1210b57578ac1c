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
        if depth(text) > DEEPEST {
            return Err(broken("it is nested too deeply"));
        }
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

/// How many parentheses are open at most.
fn depth(text: &str) -> usize {
    let mut open = 0usize;
    let after = |c| {
        open = if c == b'(' { open + 1 } else { open.saturating_sub(usize::from(c == b')')) };
        open
    };
    text.bytes().map(after).max().unwrap_or(0)
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
