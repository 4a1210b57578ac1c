//! GeoKeys: the CRS of a GeoTIFF, as text for PROJ.
//!
//! OGC GeoTIFF 1.1 (19-008r4); where files deviate from it, what libgeotiff and GDAL make of them.

use super::ellipsoids::{ELLIPSOIDS, GEOGRAPHIC, LENGTH_UNITS, PRIME_MERIDIANS, WITH_PRIME_MERIDIAN};
use super::ifd::{Ifd, Tag};
use super::{CogCrs, projection};
use crate::error::Result;

/// The keys that we read.
#[repr(u16)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    ModelType = 1024,
    RasterType = 1025,
    Citation = 1026,
    GeographicType = 2048,
    GeogCitation = 2049,
    Datum = 2050,
    PrimeMeridian = 2051,
    GeogLinearUnit = 2052,
    AngularUnit = 2054,
    AngularUnitSize = 2055,
    Ellipsoid = 2056,
    SemiMajorAxis = 2057,
    SemiMinorAxis = 2058,
    InvFlattening = 2059,
    PrimeMeridianLong = 2061,
    ToWgs84 = 2062,
    ProjectedType = 3072,
    ProjectedCitation = 3073,
    Projection = 3074,
    Method = 3075,
    LinearUnit = 3076,
    LinearUnitSize = 3077,
    StdParallel1 = 3078,
    StdParallel2 = 3079,
    NatOriginLong = 3080,
    NatOriginLat = 3081,
    FalseEasting = 3082,
    FalseNorthing = 3083,
    FalseOriginLong = 3084,
    FalseOriginLat = 3085,
    FalseOriginEasting = 3086,
    FalseOriginNorthing = 3087,
    CenterLong = 3088,
    CenterLat = 3089,
    CenterEasting = 3090,
    CenterNorthing = 3091,
    ScaleAtNatOrigin = 3092,
    ScaleAtCenter = 3093,
    AzimuthAngle = 3094,
    StraightVertPoleLong = 3095,
    RectifiedGridAngle = 3096,
}

/// "User-defined": the definition follows in other keys.
const USER_DEFINED: u16 = 32767;

/// The keys of one file, by number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeoKeys {
    codes: Vec<(u16, u16)>,
    doubles: Vec<(u16, Vec<f64>)>,
    texts: Vec<(u16, String)>,
}

impl GeoKeys {
    /// Reads the key directory and the two tags that it points into. A key that points outside of them is as good as absent.
    pub fn read(ifd: &Ifd) -> Result<GeoKeys> {
        let Some(directory) = ifd.uints(Tag::GeoKeyDirectory)? else { return Ok(GeoKeys::default()) };
        let directory: Vec<u16> = directory.map(|v| v as u16).collect();
        let doubles = ifd.doubles(Tag::GeoDoubleParams)?;
        let ascii = ifd.raw(Tag::GeoAsciiParams)?.unwrap_or_default();
        Ok(Self::from_parts(&directory, &doubles, ascii))
    }

    fn from_parts(directory: &[u16], doubles: &[f64], ascii: &[u8]) -> GeoKeys {
        let mut keys = GeoKeys::default();
        for entry in directory.as_chunks::<4>().0.iter().skip(1) {
            let [key, location, count, value] = *entry;
            let range = usize::from(value)..usize::from(value) + usize::from(count);
            match (location, doubles.get(range.clone()), ascii.get(range)) {
                (0, _, _) => keys.codes.push((key, value)),
                (34736, Some(values), _) => keys.doubles.push((key, values.to_vec())),
                (34737, _, Some(text)) => {
                    let text = String::from_utf8_lossy(text);
                    keys.texts.push((key, text.trim_end_matches(['\0', '|']).trim().to_owned()));
                }
                _ => {}
            }
        }
        keys
    }

    fn short(&self, key: Key) -> Option<u16> {
        self.codes.iter().find(|(k, _)| *k == key as u16).map(|(_, v)| *v)
    }

    /// A code that names something: neither absent, nor undefined (0), nor user-defined.
    fn code(&self, key: Key) -> Option<u16> {
        self.short(key).filter(|code| *code != 0 && *code != USER_DEFINED)
    }

    fn doubles(&self, key: Key) -> &[f64] {
        self.doubles.iter().find(|(k, _)| *k == key as u16).map_or(&[], |(_, v)| v)
    }

    pub(super) fn double(&self, key: Key) -> Option<f64> {
        self.doubles(key).first().copied()
    }

    fn text(&self, key: Key) -> &str {
        self.texts.iter().find(|(k, _)| *k == key as u16).map_or("", |(_, v)| v)
    }

    /// Whether the tiepoint is a pixel's centre instead of its corner.
    pub fn pixel_is_point(&self) -> bool {
        self.short(Key::RasterType) == Some(2)
    }

    /// The CRS; the vertical part of a compound CRS is left out.
    pub fn crs(&self) -> CogCrs {
        let projected = self.code(Key::ProjectedType);
        if let (None, Some(wkt)) = (projected, self.esri_wkt()) {
            return CogCrs::Definition(wkt.to_owned());
        }
        let has = |key| self.short(key).is_some();
        match self.short(Key::ModelType) {
            Some(3) => CogCrs::Unresolvable("the file's CRS is geocentric: it has no map coordinates".into()),
            Some(1) => self.projected(projected),
            Some(2) => self.geographic(),
            _ if has(Key::ProjectedType) => self.projected(projected),
            _ if has(Key::GeographicType) => self.geographic(),
            _ => CogCrs::Missing,
        }
    }

    /// WKT that ESRI and GDAL put into a citation where GeoKeys cannot say it.
    fn esri_wkt(&self) -> Option<&str> {
        let citations = [Key::ProjectedCitation, Key::Citation, Key::GeogCitation];
        citations.into_iter().find_map(|key| self.text(key).strip_prefix("ESRI PE String = "))
    }

    fn geographic(&self) -> CogCrs {
        match self.code(Key::GeographicType) {
            Some(code) => CogCrs::Definition(authority(code)),
            None if self.axes().is_none() && self.known_base().is_none() => CogCrs::Missing,
            None => CogCrs::Definition(self.geographic_wkt()),
        }
    }

    fn projected(&self, code: Option<u16>) -> CogCrs {
        if let Some(code) = code {
            return CogCrs::Definition(authority(code));
        }
        let Some(metres) = self.metres() else {
            return CogCrs::Unresolvable(format!(
                "the file's CRS has the unknown linear unit {:?}",
                self.short(Key::LinearUnit)
            ));
        };
        let geographic = self.geographic_wkt();
        if let Some(method) = self.code(Key::Method) {
            return match projection::from_method(method, self, &geographic, metres) {
                Some(wkt) => CogCrs::Definition(wkt),
                None => CogCrs::Unresolvable(format!(
                    "the file's CRS uses the projection method {method}, which PROJ lacks"
                )),
            };
        }
        let citation = [Key::ProjectedCitation, Key::Citation].map(|key| self.text(key));
        let base = self.code(Key::GeographicType);
        match (self.code(Key::Projection), base) {
            (Some(zone @ 16001..=16060), _) => {
                CogCrs::Definition(projection::utm(zone - 16000, false, &geographic, metres))
            }
            (Some(zone @ 16101..=16160), _) => {
                CogCrs::Definition(projection::utm(zone - 16100, true, &geographic, metres))
            }
            // PROJ looks both up in the EPSG dataset; 4400 is easting and northing in metres.
            (Some(conversion), Some(base)) if metres == 1.0 => CogCrs::Definition(format!(
                "urn:ogc:def:crs,crs:EPSG::{base},cs:EPSG::4400,coordinateOperation:EPSG::{conversion}"
            )),
            _ => match citation.into_iter().find_map(utm_citation) {
                Some((zone, south)) => CogCrs::Definition(projection::utm(zone, south, &geographic, metres)),
                None => CogCrs::Unresolvable(format!(
                    "the file's CRS is user-defined ('{}') but its projection is missing",
                    citation.into_iter().find(|c| !c.is_empty()).unwrap_or_default()
                )),
            },
        }
    }

    /// The geographic CRS as WKT 1. A file that says nothing of it is taken for WGS 84, as GDAL does.
    fn geographic_wkt(&self) -> String {
        let (known, named_meridian) = self.known_base().unwrap_or((7030, 8901));
        let named = find(ELLIPSOIDS.iter().map(|(code, a, rf)| (*code, (*a, *rf))), known).unwrap_or(WGS84);
        let (a, rf) = self.axes().unwrap_or(named);
        let meridian = match (self.double(Key::PrimeMeridianLong), self.code(Key::PrimeMeridian)) {
            (Some(longitude), _) => longitude * self.degrees(),
            (None, code) => find(PRIME_MERIDIANS.iter().copied(), code.unwrap_or(named_meridian)).unwrap_or(0.0),
        };
        let shift = match *self.doubles(Key::ToWgs84) {
            [x, y, z] => format!(",TOWGS84[{x},{y},{z},0,0,0,0]"),
            [x, y, z, rx, ry, rz, s] => format!(",TOWGS84[{x},{y},{z},{rx},{ry},{rz},{s}]"),
            _ => String::new(),
        };
        // Codes carry PROJ's datum transformations, but they would hide axes that the file gives in their stead.
        let same = (a - named.0).abs() < 1e-3 && (rf - named.1).abs() < 1e-5;
        let identifier = |key| match self.code(key).filter(|code| same && *code < USER_DEFINED) {
            Some(code) => format!(",AUTHORITY[\"EPSG\",\"{code}\"]"),
            None => String::new(),
        };
        let (crs, datum) = (identifier(Key::GeographicType), identifier(Key::Datum));
        format!(
            "GEOGCS[\"unknown\",DATUM[\"unknown\",SPHEROID[\"unknown\",{a},{rf}]{shift}{datum}],\
             PRIMEM[\"unknown\",{meridian}],UNIT[\"degree\",0.0174532925199433]{crs}]"
        )
    }

    /// The ellipsoid and the prime meridian that a code stands for: of the ellipsoid, the geographic CRS, or its datum.
    fn known_base(&self) -> Option<(u16, u16)> {
        let by_crs = |code: u16| {
            let other = WITH_PRIME_MERIDIAN.iter().find(|(crs, ..)| *crs == code).map(|(_, e, m)| (*e, *m));
            let greenwich = || GEOGRAPHIC.iter().find(|(_, crs)| crs.contains(&code)).map(|(e, _)| (*e, 8901));
            other.or_else(greenwich)
        };
        let by_datum = |datum: u16| by_crs(datum.checked_sub(2000)?);
        let crs = self.code(Key::GeographicType).and_then(by_crs);
        let datum = || self.code(Key::Datum).and_then(by_datum);
        crs.or_else(datum).or_else(|| self.code(Key::Ellipsoid).map(|e| (e, 8901)))
    }

    /// Semi-major axis in metres and inverse flattening (0 = sphere), from the keys that give them.
    fn axes(&self) -> Option<(f64, f64)> {
        let unit = self.code(Key::GeogLinearUnit).and_then(|code| find(LENGTH_UNITS.iter().copied(), code));
        let a = self.double(Key::SemiMajorAxis).filter(|a| *a > 0.0)?;
        let rf = match (self.double(Key::InvFlattening), self.double(Key::SemiMinorAxis)) {
            (Some(rf), _) => rf,
            (None, Some(b)) if b != a => a / (a - b),
            _ => 0.0,
        };
        Some((a * unit.unwrap_or(1.0), rf))
    }

    /// Degrees in one angular unit of the file.
    pub(super) fn degrees(&self) -> f64 {
        match (self.short(Key::AngularUnit), self.double(Key::AngularUnitSize)) {
            (Some(9101), _) => 1f64.to_degrees(),
            (Some(9103), _) => 1.0 / 60.0,
            (Some(9104), _) => 1.0 / 3600.0,
            (Some(9105 | 9106), _) => 0.9,
            (Some(USER_DEFINED), Some(radians)) => radians.to_degrees(),
            _ => 1.0,
        }
    }

    /// Metres in one linear unit of the projected CRS.
    fn metres(&self) -> Option<f64> {
        match (self.short(Key::LinearUnit), self.double(Key::LinearUnitSize)) {
            (Some(USER_DEFINED), Some(size)) => Some(size),
            (None | Some(0 | USER_DEFINED), _) => Some(1.0),
            (Some(code), _) => find(LENGTH_UNITS.iter().copied(), code),
        }
    }
}

const WGS84: (f64, f64) = (6378137.0, 298.257223563);

fn find<T>(table: impl Iterator<Item = (u16, T)>, code: u16) -> Option<T> {
    table.into_iter().find(|(c, _)| *c == code).map(|(_, value)| value)
}

/// EPSG has no codes above 32767; ESRI's that fit 16 bits are there.
fn authority(code: u16) -> String {
    format!("{}:{code}", if code < USER_DEFINED { "EPSG" } else { "ESRI" })
}

/// Zone and hemisphere of a citation such as `UTM Zone 13, Northern Hemisphere` or `WGS 84 / UTM zone 13S`.
fn utm_citation(citation: &str) -> Option<(u16, bool)> {
    let lower = citation.to_ascii_lowercase();
    let (_, after) = lower.split_once("utm")?;
    let after = after.trim_start_matches(|c: char| c.is_whitespace() || c == '_' || c == '-');
    let after = after.strip_prefix("zone").unwrap_or(after).trim_start_matches([' ', '_', ':']);
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let zone: u16 = after[..digits].parse().ok().filter(|zone| (1..=60).contains(zone))?;
    let rest = after[digits..].trim_start_matches([' ', ',', '_']);
    match rest.as_bytes().first()? {
        b'n' => Some((zone, false)),
        b's' => Some((zone, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys with codes and doubles, as a file would store them.
    fn keys(codes: &[(u16, u16)], doubles: &[(Key, f64)], texts: &[(Key, &str)]) -> GeoKeys {
        let mut directory = vec![1, 1, 0, 0];
        codes.iter().for_each(|(key, code)| directory.extend([*key, 0, 1, *code]));
        let (mut numbers, mut ascii) = (Vec::new(), Vec::new());
        for (key, value) in doubles {
            directory.extend([*key as u16, 34736, 1, numbers.len() as u16]);
            numbers.push(*value);
        }
        for (key, text) in texts {
            directory.extend([*key as u16, 34737, text.len() as u16 + 1, ascii.len() as u16]);
            ascii.extend_from_slice(text.as_bytes());
            ascii.push(b'|');
        }
        GeoKeys::from_parts(&directory, &numbers, &ascii)
    }

    fn definition(keys: &GeoKeys) -> String {
        match keys.crs() {
            CogCrs::Definition(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn codes_name_their_authority() {
        assert_eq!(definition(&keys(&[(1024, 1), (3072, 32615)], &[], &[])), "EPSG:32615");
        assert_eq!(definition(&keys(&[(1024, 2), (2048, 4326)], &[], &[])), "EPSG:4326");
        assert_eq!(definition(&keys(&[(3072, 3857)], &[], &[])), "EPSG:3857", "no model type");
        assert_eq!(definition(&keys(&[(1024, 1), (3072, 54009)], &[], &[])), "ESRI:54009");
        assert_eq!(definition(&keys(&[(1024, 1), (3072, 25832), (4096, 7837)], &[], &[])), "EPSG:25832", "vertical");
    }

    #[test]
    fn nothing_useful_is_missing_or_explained() {
        assert_eq!(keys(&[], &[], &[]).crs(), CogCrs::Missing);
        assert_eq!(keys(&[(1024, 2), (2048, 0)], &[], &[]).crs(), CogCrs::Missing);
        let why = |keys: GeoKeys| match keys.crs() {
            CogCrs::Unresolvable(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(keys(&[(1024, 3)], &[], &[])).contains("geocentric"));
        assert!(why(keys(&[(1024, 1), (3072, 32767), (3075, 2)], &[], &[])).contains("method 2"));
        assert!(why(keys(&[(1024, 1), (3072, 32767), (3076, 12)], &[], &[])).contains("linear unit"));
        let local = keys(&[(1024, 1), (3072, 32767)], &[], &[(Key::Citation, "Site grid")]);
        assert!(why(local).contains("'Site grid'"));
    }

    #[test]
    fn keys_that_point_nowhere_are_absent() {
        let broken = GeoKeys::from_parts(&[1, 1, 0, 9, 1026, 34737, 99, 7, 3080, 34736, 1, 3, 3072], &[1.0], b"x|");
        assert_eq!(broken, GeoKeys::default());
    }

    #[test]
    fn citations_are_the_last_resort() {
        let wkt = "PROJCS[\"World_Mollweide\"]";
        let esri = format!("ESRI PE String = {wkt}");
        assert_eq!(definition(&keys(&[(1024, 1), (3072, 32767)], &[], &[(Key::ProjectedCitation, &esri)])), wkt);
        let coded = keys(&[(1024, 1), (3072, 3857)], &[], &[(Key::Citation, &esri)]);
        assert_eq!(definition(&coded), "EPSG:3857");
        let utm = keys(&[(1024, 1), (3072, 32767)], &[], &[(Key::Citation, "UTM Zone 13, Northern Hemisphere")]);
        let text = definition(&utm);
        assert!(
            text.contains("\"central_meridian\",-105]") && text.contains("SPHEROID[\"unknown\",6378137,298.257223563]")
        );
        assert_eq!(utm_citation("WGS 84 / UTM zone 13S"), Some((13, true)));
        assert_eq!(utm_citation("utm_zone_5_north"), Some((5, false)));
        for other in ["UTM", "UTM Zone 61N", "UTM Zone 13", "Automatic", "UTM zone 99999999N"] {
            assert_eq!(utm_citation(other), None, "{other}");
        }
    }

    #[test]
    fn a_known_geographic_crs_keeps_its_code_unless_the_file_overrules_its_ellipsoid() {
        let albers = [(1024, 1), (3072, 32767), (3075, 11), (2048, 4269)];
        assert!(definition(&keys(&albers, &[], &[])).contains("AUTHORITY[\"EPSG\",\"4269\"]"));
        let axes = [(Key::SemiMajorAxis, 6378140.0), (Key::InvFlattening, 298.257)];
        let text = definition(&keys(&albers, &axes, &[]));
        assert!(text.contains("6378140,298.257]") && !text.contains("AUTHORITY"), "{text}");
        let sphere = [(Key::SemiMajorAxis, 6371007.181), (Key::SemiMinorAxis, 6371007.181)];
        assert!(definition(&keys(&albers, &sphere, &[])).contains("6371007.181,0]"));
    }
}
