//! The projections that GeoKeys spell out, against the same projections as PROJ strings.

#![expect(clippy::expect_used, clippy::panic, reason = "a test tells by a panic what is wrong")]

use bytes::Bytes;
use futures::executor::block_on;
use lazycogs::cog::{CogCrs, open};
use lazycogs::crs::{Crs, LONLAT, transformer};
use lazycogs::error::Result;

/// A TIFF of one stored-nowhere tile with these GeoKeys.
fn tiff(codes: &[(u16, u16)], doubles: &[(u16, f64)]) -> Bytes {
    let mut directory = vec![1u16, 1, 0, (codes.len() + doubles.len()) as u16];
    codes.iter().for_each(|(key, code)| directory.extend([*key, 0, 1, *code]));
    doubles.iter().enumerate().for_each(|(i, (key, _))| directory.extend([*key, 34736, 1, i as u16]));
    let values: Vec<u8> = directory.iter().flat_map(|v| v.to_le_bytes()).collect();
    let numbers: Vec<u8> = doubles.iter().flat_map(|(_, v)| v.to_le_bytes()).collect();
    let tags: [(u16, u16, u32); 8] =
        [(256, 3, 16), (257, 3, 16), (258, 3, 8), (322, 3, 16), (323, 3, 16), (324, 4, 0), (325, 4, 0), (34735, 3, 0)];
    let values_at = 8 + 2 + (tags.len() as u32 + 1) * 12 + 4;
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((tags.len() as u16 + 1).to_le_bytes());
    let mut entry = |tag: u16, field_type: u16, count: u32, value: u32| {
        file.extend(tag.to_le_bytes());
        file.extend(field_type.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    };
    for (tag, field_type, value) in tags {
        match tag {
            34735 => entry(tag, field_type, directory.len() as u32, values_at),
            _ => entry(tag, field_type, 1, value),
        }
    }
    entry(34736, 12, doubles.len() as u32, values_at + values.len() as u32);
    file.extend([0; 4]);
    file.extend(values);
    file.extend(numbers);
    Bytes::from(file)
}

const STD_1: u16 = 3078;
const STD_2: u16 = 3079;
const LON: u16 = 3080;
const LAT: u16 = 3081;
const EASTING: u16 = 3082;
const NORTHING: u16 = 3083;
const FALSE_LON: u16 = 3084;
const FALSE_LAT: u16 = 3085;
const FALSE_EASTING: u16 = 3086;
const CENTER_LON: u16 = 3088;
const CENTER_LAT: u16 = 3089;
const SCALE: u16 = 3092;
const CENTER_SCALE: u16 = 3093;
const AZIMUTH: u16 = 3094;
const POLE_LON: u16 = 3095;
const GRID_ANGLE: u16 = 3096;

/// ProjCoordTrans, its parameters, and what PROJ calls that.
type Method = (u16, &'static [(u16, f64)], &'static str);

const METHODS: &[Method] = &[
    (
        1,
        &[(LON, -93.0), (LAT, 1.0), (SCALE, 0.9999), (EASTING, 5.0)],
        "+proj=tmerc +lat_0=1 +lon_0=-93 +k=.9999 +x_0=5",
    ),
    (27, &[(LON, 21.0), (LAT, 0.0)], "+proj=tmerc +axis=wsu +lon_0=21"),
    (
        3,
        &[(CENTER_LON, -93.0), (CENTER_LAT, 38.0), (AZIMUTH, 40.0), (GRID_ANGLE, 35.0), (CENTER_SCALE, 0.999)],
        "+proj=omerc +no_uoff +lat_0=38 +lonc=-93 +alpha=40 +gamma=35 +k=.999",
    ),
    (
        9815,
        &[(CENTER_LON, -93.0), (CENTER_LAT, 38.0), (AZIMUTH, 40.0), (GRID_ANGLE, 35.0), (CENTER_SCALE, 0.999)],
        "+proj=omerc +lat_0=38 +lonc=-93 +alpha=40 +gamma=35 +k=.999",
    ),
    (5, &[(CENTER_LON, 7.4), (CENTER_LAT, 46.9)], "+proj=somerc +lat_0=46.9 +lon_0=7.4"),
    (7, &[(LON, -93.0), (SCALE, 0.99)], "+proj=merc +lon_0=-93 +k=.99"),
    (7, &[(LON, -93.0), (STD_1, 30.0)], "+proj=merc +lon_0=-93 +lat_ts=30"),
    (
        8,
        &[(STD_1, 30.0), (STD_2, 45.0), (FALSE_LAT, 38.0), (FALSE_LON, -93.0), (FALSE_EASTING, 7.0)],
        "+proj=lcc +lat_1=30 +lat_2=45 +lat_0=38 +lon_0=-93 +x_0=7",
    ),
    (9, &[(LAT, 38.0), (LON, -93.0), (SCALE, 0.99)], "+proj=lcc +lat_1=38 +lat_0=38 +lon_0=-93 +k_0=.99"),
    (10, &[(CENTER_LAT, 38.0), (CENTER_LON, -93.0)], "+proj=laea +lat_0=38 +lon_0=-93"),
    (
        11,
        &[(STD_1, 30.0), (STD_2, 45.0), (LAT, 38.0), (LON, -93.0), (NORTHING, 9.0)],
        "+proj=aea +lat_1=30 +lat_2=45 +lat_0=38 +lon_0=-93 +y_0=9",
    ),
    (12, &[(CENTER_LAT, 38.0), (CENTER_LON, -93.0)], "+proj=aeqd +lat_0=38 +lon_0=-93"),
    (
        13,
        &[(STD_1, 30.0), (STD_2, 45.0), (LAT, 38.0), (LON, -93.0)],
        "+proj=eqdc +lat_1=30 +lat_2=45 +lat_0=38 +lon_0=-93",
    ),
    (14, &[(CENTER_LAT, 38.0), (CENTER_LON, -93.0), (SCALE, 0.9)], "+proj=stere +lat_0=38 +lon_0=-93 +k=.9"),
    (15, &[(LAT, 71.0), (POLE_LON, -45.0)], "+proj=stere +lat_0=90 +lat_ts=71 +lon_0=-45"),
    (15, &[(LAT, -90.0), (POLE_LON, -45.0), (SCALE, 0.97)], "+proj=stere +lat_0=-90 +k=.97 +lon_0=-45"),
    (16, &[(LAT, 38.0), (LON, -93.0), (SCALE, 0.9)], "+proj=sterea +lat_0=38 +lon_0=-93 +k=.9"),
    (17, &[(STD_1, 30.0), (CENTER_LON, -93.0)], "+proj=eqc +lat_ts=30 +lon_0=-93"),
    (18, &[(LAT, 38.0), (LON, -93.0)], "+proj=cass +lat_0=38 +lon_0=-93"),
    (19, &[(CENTER_LAT, 38.0), (CENTER_LON, -93.0)], "+proj=gnom +lat_0=38 +lon_0=-93"),
    (20, &[(CENTER_LON, -93.0)], "+proj=mill +lon_0=-93"),
    (21, &[(CENTER_LAT, 38.0), (CENTER_LON, -93.0)], "+proj=ortho +lat_0=38 +lon_0=-93"),
    (22, &[(LAT, 38.0), (LON, -93.0)], "+proj=poly +lat_0=38 +lon_0=-93"),
    (23, &[(CENTER_LON, -93.0)], "+proj=robin +lon_0=-93"),
    (24, &[(CENTER_LON, -93.0)], "+proj=sinu +lon_0=-93"),
    (25, &[(CENTER_LON, -93.0)], "+proj=vandg +lon_0=-93"),
    (26, &[(LAT, -41.0), (LON, 173.0)], "+proj=nzmg +lat_0=-41 +lon_0=173"),
    (28, &[(STD_1, 30.0), (LON, -93.0)], "+proj=cea +lat_ts=30 +lon_0=-93"),
];

/// Longitudes and latitudes (WGS 84, degrees) of points of a CRS.
fn to_lonlat(definition: &str, points: &[(f64, f64)]) -> Result<Vec<(f64, f64)>> {
    let lonlat = transformer(&Crs::new(definition)?, &LONLAT)?;
    Ok(points.iter().map(|(x, y)| lonlat.point(*x, *y)).collect())
}

fn compare(file: &Bytes, wanted: &str, name: &str) {
    // PROJ's New Zealand Map Grid has a false origin of its own, whatever the parameters say.
    let (x, y) = if wanted.contains("nzmg") { (2_510_000.0, 6_023_150.0) } else { (0.0, 0.0) };
    let points = [(1000.0, 2000.0), (120_000.0, 80_000.0), (-90_000.0, 50_000.0)].map(|(dx, dy)| (x + dx, y + dy));
    let crs = block_on(open(file)).expect("a valid file").crs;
    let CogCrs::Definition(text) = crs else { panic!("{name}: {crs:?}") };
    let found = to_lonlat(&text, &points).unwrap_or_else(|e| panic!("{name}: {e}"));
    let wanted = to_lonlat(wanted, &points).unwrap_or_else(|e| panic!("{name}: {e}"));
    for ((lon, lat), (x, y)) in found.iter().zip(&wanted) {
        let same = (lon - x).abs() < 1e-9 && (lat - y).abs() < 1e-9;
        assert!(same && lon.is_finite(), "{name}: {found:?} instead of {wanted:?}\n{text}");
    }
}

#[test]
fn every_method_is_what_proj_calls_it() {
    for (method, parameters, wanted) in METHODS {
        let file = tiff(&[(1024, 1), (3072, 32767), (3075, *method), (2048, 4326)], parameters);
        compare(&file, &format!("{wanted} +datum=WGS84 +type=crs"), &format!("method {method}"));
    }
}

#[test]
fn units_ellipsoids_and_meridians_count() {
    let user = [(1024, 1), (3072, 32767), (3075, 1)];
    let with = |more: &[(u16, u16)]| [&user[..], more].concat();
    let feet = tiff(&with(&[(3076, 9003), (2048, 4326)]), &[(LON, -93.0), (EASTING, 1000.0)]);
    let wanted = "+proj=tmerc +lon_0=-93 +x_0=304.80060960121924 +units=us-ft +datum=WGS84 +type=crs";
    compare(&feet, wanted, "US survey feet");
    let grads = tiff(&with(&[(2054, 9105), (2048, 4326)]), &[(LON, -100.0)]);
    compare(&grads, "+proj=tmerc +lon_0=-90 +datum=WGS84 +type=crs", "grads");
    let ellipsoid = tiff(&with(&[(2048, 32767), (2056, 7004)]), &[(LON, 10.0)]);
    compare(&ellipsoid, "+proj=tmerc +lon_0=10 +ellps=bessel +type=crs", "ellipsoid by code");
    let axes = tiff(&with(&[(2048, 32767)]), &[(2057, 6371007.181), (2058, 6371007.181), (LON, 10.0)]);
    compare(&axes, "+proj=tmerc +lon_0=10 +R=6371007.181 +type=crs", "sphere");
    let paris = tiff(&with(&[(2048, 32767), (2051, 8903), (2056, 7022)]), &[(LON, 1.0)]);
    compare(&paris, "+proj=tmerc +lon_0=1 +pm=paris +ellps=intl +type=crs", "prime meridian");
    let datum = tiff(&with(&[(2048, 32767), (2050, 6267)]), &[(LON, -93.0), (LAT, 38.0)]);
    compare(&datum, "+proj=tmerc +lon_0=-93 +lat_0=38 +datum=NAD27 +type=crs", "datum by code");
    let utm = tiff(&[(1024, 1), (3072, 32767), (3074, 16113), (2048, 4326)], &[]);
    compare(&utm, "EPSG:32713", "UTM by projection code");
    let lambert = tiff(&[(1024, 1), (3072, 32767), (3074, 18085), (2048, 4171)], &[]);
    compare(&lambert, "EPSG:2154", "a conversion by code");
}
