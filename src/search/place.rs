//! Where items are searched: boxes as servers understand them, or a shape.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::items::wkb_of_geojson;

/// Where.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Anywhere,
    /// Of one, or of two at the antimeridian: `[west, south, east, north]`, west no more than east.
    Boxes(Vec<[f64; 4]>),
    /// A GeoJSON geometry.
    Shape(Value),
}

/// A box in degrees of longitude and latitude as one or two whose west is no more than their east: what servers make of others differs.
/// Longitudes may be counted beyond 180 degrees; west of more than east goes over the antimeridian.
///
/// # Errors
/// What is no box on the Earth.
pub fn boxes([west, south, east, north]: [f64; 4]) -> Result<Vec<[f64; 4]>> {
    let shown = format!("bbox [{west}, {south}, {east}, {north}]");
    let wrong = |why: &str| {
        Err(Error::Argument(format!(
            "{shown} {why}; it is [west, south, east, north] in degrees of longitude and latitude"
        )))
    };
    if ![west, south, east, north].iter().all(|edge| edge.is_finite()) {
        return wrong("is not four finite numbers");
    }
    if south > north {
        return wrong("has its south above its north");
    }
    if south < -90.0 || north > 90.0 || west.abs() > 540.0 || east.abs() > 540.0 {
        return wrong("is not on the Earth");
    }
    if (-180.0..=180.0).contains(&west) && (west..=180.0).contains(&east) {
        return Ok(vec![[west, south, east, north]]);
    }
    let width = if west > east { (east - west).rem_euclid(360.0) } else { east - west };
    if width >= 360.0 {
        return Ok(vec![[-180.0, south, 180.0, north]]);
    }
    let start = (west + 180.0).rem_euclid(360.0) - 180.0;
    let end = start + width;
    Ok(match end > 180.0 {
        true => vec![[start, south, 180.0, north], [-180.0, south, end - 360.0, north]],
        false => vec![[start, south, end, north]],
    })
}

/// The geometry of a GeoJSON text: itself, or that of a Feature.
///
/// # Errors
/// What is no GeoJSON geometry.
pub fn shape(text: &str) -> Result<Value> {
    let wrong = |why: &str| {
        Error::Argument(format!(
            "intersects {why}; give a GeoJSON geometry such as '{{\"type\": \"Point\", \"coordinates\": [9.1, 48.7]}}'"
        ))
    };
    let json: Value = serde_json::from_str(text).map_err(|e| wrong(&format!("is no JSON: {e}")))?;
    let shape = match json.get("type").and_then(Value::as_str) {
        Some("Feature") => json.get("geometry").cloned().unwrap_or_default(),
        Some("FeatureCollection") => return Err(wrong("is a FeatureCollection, which is no single geometry")),
        _ => json,
    };
    match wkb_of_geojson(&shape.to_string()) {
        Ok(Some(_)) => Ok(shape),
        Ok(None) => Err(wrong("has no geometry")),
        Err(why) => Err(wrong(&format!("is {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_over_the_antimeridian_becomes_two() {
        let of = |west: f64, east: f64| -> Vec<(f64, f64)> {
            boxes([west, -10.0, east, 10.0]).unwrap().iter().map(|b| (b[0], b[2])).collect()
        };
        assert_eq!(of(5.0, 15.0), [(5.0, 15.0)]);
        assert_eq!(of(7.0, 7.0), [(7.0, 7.0)]);
        assert_eq!(of(-180.0, 180.0), [(-180.0, 180.0)]);
        assert_eq!(of(170.0, -170.0), [(170.0, 180.0), (-180.0, -170.0)]);
        assert_eq!(of(170.0, 190.0), [(170.0, 180.0), (-180.0, -170.0)]);
        assert_eq!(of(-190.0, -170.0), [(170.0, 180.0), (-180.0, -170.0)]);
        assert_eq!(of(190.0, 200.0), [(-170.0, -160.0)]);
        assert_eq!(of(0.0, 360.0), [(-180.0, 180.0)]);
        assert_eq!(of(180.0, -180.0), [(-180.0, -180.0)], "the antimeridian itself");
        assert_eq!(of(0.0, 270.0), [(0.0, 180.0), (-180.0, -90.0)]);
    }

    #[test]
    fn what_is_no_box_is_told() {
        for (wrong, why) in [
            ([0.0, 5.0, 1.0, 4.0], "south above"),
            ([0.0, -91.0, 1.0, 4.0], "on the Earth"),
            ([500_000.0, 0.0, 600_000.0, 4.0], "on the Earth"),
            ([f64::NAN, 0.0, 1.0, 1.0], "finite"),
        ] {
            let message = boxes(wrong).unwrap_err().to_string();
            assert!(message.contains(why) && message.contains("[west, south, east, north]"), "{message}");
        }
    }

    #[test]
    fn shapes_are_geometries() {
        let point = r#"{"type":"Point","coordinates":[1.5,2.25]}"#;
        assert_eq!(shape(point).unwrap(), serde_json::json!({"type": "Point", "coordinates": [1.5, 2.25]}));
        let feature = format!(r#"{{"type":"Feature","geometry":{point},"properties":null}}"#);
        assert_eq!(shape(&feature).unwrap(), shape(point).unwrap());
        for (wrong, why) in [
            ("POINT (1 2)", "no JSON"),
            ("null", "no geometry"),
            (r#"{"type":"FeatureCollection","features":[]}"#, "FeatureCollection"),
            (r#"{"type":"Point","coordinates":[1]}"#, "is not GeoJSON"),
            (r#"{"type":"Feature"}"#, "no geometry"),
        ] {
            assert!(shape(wrong).unwrap_err().to_string().contains(why), "{wrong}");
        }
    }
}
