//! Projections that a GeoTIFF spells out instead of naming an EPSG code, as WKT.
//!
//! GeoTIFF 1.1, annex C, and the parameter keys that libgeotiff reads for each method. WKT 1, whose names and parameters are theirs.

use super::keys::{GeoKeys, Key};

/// Where the value of a WKT parameter is found: the first of the keys that is there, else the default.
struct Parameter {
    name: &'static str,
    keys: &'static [Key],
    default: f64,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    /// Converted to degrees.
    Angle,
    /// In units of the projected CRS.
    Length,
    None,
}

const fn angle(name: &'static str, keys: &'static [Key]) -> Parameter {
    Parameter { name, keys, default: 0.0, unit: Unit::Angle }
}

const LATITUDE: &[Key] = &[Key::NatOriginLat, Key::FalseOriginLat, Key::CenterLat];
const LONGITUDE: &[Key] = &[Key::NatOriginLong, Key::FalseOriginLong, Key::CenterLong, Key::StraightVertPoleLong];
const LAT_ORIGIN: Parameter = angle("latitude_of_origin", LATITUDE);
const LAT_CENTER: Parameter = angle("latitude_of_center", LATITUDE);
const MERIDIAN: Parameter = angle("central_meridian", LONGITUDE);
const LON_CENTER: Parameter = angle("longitude_of_center", LONGITUDE);
const PARALLEL_1: Parameter = angle("standard_parallel_1", &[Key::StdParallel1]);
const PARALLEL_2: Parameter = angle("standard_parallel_2", &[Key::StdParallel2]);
const POLE_LATITUDE: Parameter =
    angle("latitude_of_origin", &[Key::NatOriginLat, Key::StdParallel1, Key::FalseOriginLat]);
const POLE_MERIDIAN: Parameter = angle("central_meridian", &[Key::StraightVertPoleLong, Key::NatOriginLong]);
const AZIMUTH: Parameter = angle("azimuth", &[Key::AzimuthAngle]);
const GRID_ANGLE: Parameter = angle("rectified_grid_angle", &[Key::RectifiedGridAngle, Key::AzimuthAngle]);
const EAST_WEST_AZIMUTH: Parameter = Parameter { name: "azimuth", keys: &[], default: 90.0, unit: Unit::Angle };
const EAST_WEST_GRID: Parameter = Parameter { name: "rectified_grid_angle", ..EAST_WEST_AZIMUTH };
const SCALE: Parameter = Parameter {
    name: "scale_factor",
    keys: &[Key::ScaleAtNatOrigin, Key::ScaleAtCenter],
    default: 1.0,
    unit: Unit::None,
};
const FALSE_EASTING: Parameter = Parameter {
    name: "false_easting",
    keys: &[Key::FalseEasting, Key::FalseOriginEasting, Key::CenterEasting],
    default: 0.0,
    unit: Unit::Length,
};
const FALSE_NORTHING: Parameter = Parameter {
    name: "false_northing",
    keys: &[Key::FalseNorthing, Key::FalseOriginNorthing, Key::CenterNorthing],
    default: 0.0,
    unit: Unit::Length,
};

/// The WKT name of a ProjCoordTrans code and its parameters (false easting and northing belong to all).
fn method(code: u16, keys: &GeoKeys) -> Option<(&'static str, &'static [Parameter])> {
    Some(match code {
        1 => ("Transverse_Mercator", &[LAT_ORIGIN, MERIDIAN, SCALE]),
        3 => ("Hotine_Oblique_Mercator", &[LAT_CENTER, LON_CENTER, AZIMUTH, GRID_ANGLE, SCALE]),
        4 => ("Laborde_Oblique_Mercator", &[LAT_CENTER, LON_CENTER, AZIMUTH, SCALE]),
        // The Swiss projection is the oblique Mercator whose central line runs due east.
        5 => (
            "Hotine_Oblique_Mercator_Azimuth_Center",
            &[LAT_CENTER, LON_CENTER, EAST_WEST_AZIMUTH, EAST_WEST_GRID, SCALE],
        ),
        7 if keys.double(Key::StdParallel1).is_some() => ("Mercator_2SP", &[PARALLEL_1, MERIDIAN]),
        7 => ("Mercator_1SP", &[LAT_ORIGIN, MERIDIAN, SCALE]),
        8 => ("Lambert_Conformal_Conic_2SP", &[PARALLEL_1, PARALLEL_2, LAT_ORIGIN, MERIDIAN]),
        9 => ("Lambert_Conformal_Conic_1SP", &[LAT_ORIGIN, MERIDIAN, SCALE]),
        10 => ("Lambert_Azimuthal_Equal_Area", &[LAT_CENTER, LON_CENTER]),
        11 => ("Albers_Conic_Equal_Area", &[PARALLEL_1, PARALLEL_2, LAT_CENTER, LON_CENTER]),
        12 => ("Azimuthal_Equidistant", &[LAT_CENTER, LON_CENTER]),
        13 => ("Equidistant_Conic", &[PARALLEL_1, PARALLEL_2, LAT_CENTER, LON_CENTER]),
        14 => ("Stereographic", &[LAT_ORIGIN, MERIDIAN, SCALE]),
        15 => ("Polar_Stereographic", &[POLE_LATITUDE, POLE_MERIDIAN, SCALE]),
        16 => ("Oblique_Stereographic", &[LAT_ORIGIN, MERIDIAN, SCALE]),
        17 => ("Equirectangular", &[PARALLEL_1, LAT_ORIGIN, MERIDIAN]),
        18 => ("Cassini_Soldner", &[LAT_ORIGIN, MERIDIAN]),
        19 => ("Gnomonic", &[LAT_ORIGIN, MERIDIAN]),
        20 => ("Miller_Cylindrical", &[LAT_CENTER, LON_CENTER]),
        21 => ("Orthographic", &[LAT_ORIGIN, MERIDIAN]),
        22 => ("Polyconic", &[LAT_ORIGIN, MERIDIAN]),
        23 => ("Robinson", &[LON_CENTER]),
        24 => ("Sinusoidal", &[LON_CENTER]),
        25 => ("VanDerGrinten", &[MERIDIAN]),
        26 => ("New_Zealand_Map_Grid", &[LAT_ORIGIN, MERIDIAN]),
        27 => ("Transverse_Mercator_South_Orientated", &[LAT_ORIGIN, MERIDIAN, SCALE]),
        28 => ("Cylindrical_Equal_Area", &[PARALLEL_1, MERIDIAN]),
        9815 => ("Hotine_Oblique_Mercator_Azimuth_Center", &[LAT_CENTER, LON_CENTER, AZIMUTH, GRID_ANGLE, SCALE]),
        _ => return None,
    })
}

/// A projected CRS of a ProjCoordTrans code and its parameters as WKT 1, over a geographic CRS that is none in particular: the true one
/// takes its place. `degrees` and `metres` are in one unit of the keys. `None` for a method that PROJ does not have either.
pub fn from_method(code: u16, keys: &GeoKeys, degrees: f64, metres: f64) -> Option<String> {
    let (name, parameters) = method(code, keys)?;
    let mut text = format!(
        "PROJCS[\"unnamed\",GEOGCS[\"any\",DATUM[\"any\",SPHEROID[\"any\",6378137,298.257223563]],\
         PRIMEM[\"Greenwich\",0],UNIT[\"degree\",0.0174532925199433]],PROJECTION[\"{name}\"]"
    );
    for parameter in parameters.iter().chain([&FALSE_EASTING, &FALSE_NORTHING]) {
        let found = parameter.keys.iter().find_map(|key| keys.double(*key));
        let factor = if parameter.unit == Unit::Angle { degrees } else { 1.0 };
        let value = found.map_or(parameter.default, |value| value * factor);
        text += &format!(",PARAMETER[\"{}\",{value}]", parameter.name);
    }
    let unit = if metres == 1.0 { "metre" } else { "unit" };
    Some(text + &format!(",UNIT[\"{unit}\",{metres}]]"))
}
