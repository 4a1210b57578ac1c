//! The CRS that the GeoKeys of a GeoTIFF define, as text for PROJ.
//!
//! OGC GeoTIFF 1.1 (19-008r4); where files deviate from it, what libgeotiff and GDAL make of them.

use std::f64::consts::PI;

use super::keys::{GeoKeys, Key, USER_DEFINED};
use super::{CogCrs, projection};
use crate::crs::Crs;
use crate::crs::parts::{self, Projection};
use crate::error::{Error, Result};

impl GeoKeys {
    /// The CRS; the vertical part of a compound CRS is left out.
    pub fn crs(&self) -> CogCrs {
        let projected = self.code(Key::ProjectedType);
        if let (None, Some(wkt)) = (projected, self.esri_wkt()) {
            return CogCrs::Definition(wkt.to_owned());
        }
        let has = |key| self.short(key).is_some();
        let found = match self.short(Key::ModelType) {
            Some(3) => Err(Error::Crs("the file's CRS is geocentric: it has no map coordinates".into())),
            Some(1) => self.projected(projected).map(Some),
            Some(2) => self.geographic(),
            _ if has(Key::ProjectedType) => self.projected(projected).map(Some),
            _ if has(Key::GeographicType) => self.geographic(),
            _ => Ok(None),
        };
        match found {
            Ok(Some(definition)) => CogCrs::Definition(definition),
            Ok(None) => CogCrs::Missing,
            Err(why) => CogCrs::Unresolvable(why.to_string()),
        }
    }

    /// WKT that ESRI and GDAL put into a citation where GeoKeys cannot say it.
    fn esri_wkt(&self) -> Option<&str> {
        let citations = [Key::ProjectedCitation, Key::Citation, Key::GeogCitation];
        citations.into_iter().find_map(|key| self.text(key).strip_prefix("ESRI PE String = "))
    }

    /// `None` where the keys say nothing of it.
    fn geographic(&self) -> Result<Option<String>> {
        // As in GDAL: what has a code keeps its unit, whatever is said of it.
        let radians = if self.code(Key::GeographicType).is_some() { None } else { self.radians()? };
        match (self.base()?, radians) {
            (Some(base), Some(radians)) if is_other_unit(&base, radians) => parts::in_unit(&base, radians).map(Some),
            (base, _) => Ok(base),
        }
    }

    fn projected(&self, code: Option<u16>) -> Result<String> {
        let metres = self.metres()?;
        if let Some(code) = code {
            let named = authority(code);
            return match metres {
                // As in GDAL, the size of a unit that is not mentioned does not overrule a code.
                Some(metres) if self.short(Key::LinearUnit).is_some() && is_other_unit(&named, metres) => {
                    parts::in_unit(&named, metres)
                }
                _ => Ok(named),
            };
        }
        // A file that says nothing of its geographic CRS is taken for WGS 84, as GDAL does.
        let base = self.base()?.unwrap_or_else(|| authority(4326));
        let metres = metres.unwrap_or(1.0);
        parts::projected(&base, &self.projection(metres)?, metres)
    }

    fn projection(&self, metres: f64) -> Result<Projection> {
        if let Some(method) = self.code(Key::Method) {
            let found = projection::from_method(method, self, self.degrees()?, metres);
            let missing =
                || Error::Crs(format!("the file's CRS uses the projection method {method}, which PROJ lacks"));
            return found.map(Projection::Spelled).ok_or_else(missing);
        }
        let citation = [Key::ProjectedCitation, Key::Citation].map(|key| self.text(key));
        let cited = || citation.into_iter().find_map(utm_citation);
        self.code(Key::Projection).or_else(cited).map(Projection::Coded).ok_or_else(|| {
            Error::Crs(format!(
                "the file's CRS is user-defined ('{}') but its projection is missing",
                citation.into_iter().find(|c| !c.is_empty()).unwrap_or_default()
            ))
        })
    }

    /// The geographic CRS: by its code, or the code or name of its datum, unless other keys overrule what the code stands for. `None` where the
    /// keys say nothing of it.
    fn base(&self) -> Result<Option<String>> {
        let datum = self.code(Key::Datum).or_else(|| self.named_datum());
        let coded = match (self.code(Key::GeographicType), datum) {
            (Some(code), _) => Some(Ok(authority(code))),
            (None, Some(datum)) => Some(parts::on_datum(datum)),
            (None, None) => None,
        };
        let coded = match coded {
            Some(Err(_)) if self.axes()?.is_some() => None,
            other => other.transpose()?,
        };
        let Some(coded) = coded else { return self.spelled_out(None) };
        let (axes, meridian) = (self.ellipsoid()?, self.meridian()?);
        if axes.is_none() && meridian.is_none() {
            return Ok(Some(coded));
        }
        let known = match parts::figure(&coded) {
            // A code that PROJ does not know, beside the axes it stands for.
            Err(_) if axes.is_some() => return self.spelled_out(None),
            known => known?,
        };
        // Where it matters less than a millimetre on the ground, it is a matter of digits.
        let same_axes = axes
            .is_none_or(|(a, rf)| (a - known.semi_major).abs() < 1e-3 && (rf - known.inverse_flattening).abs() < 1e-5);
        let same_meridian = meridian.is_none_or(|longitude| (longitude - known.meridian).abs() < 1e-8);
        if same_axes && same_meridian { Ok(Some(coded)) } else { self.spelled_out(Some(known)) }
    }

    /// The datum that a citation names, where the file does not tie it to WGS 84 in its own way.
    fn named_datum(&self) -> Option<u16> {
        let tied = !self.doubles(Key::ToWgs84).is_empty();
        if tied { None } else { parts::datum_named(&self.cited("Datum")) }
    }

    /// The geographic CRS as WKT, with the names of its parts where a citation gives them: PROJ knows datums by name, too. What
    /// the keys leave out is as in `known`.
    fn spelled_out(&self, known: Option<parts::Figure>) -> Result<Option<String>> {
        let named = known.map(|figure| (figure.semi_major, figure.inverse_flattening));
        let Some((a, rf)) = self.ellipsoid()?.or(named) else { return Ok(None) };
        let meridian = self.meridian()?.or(known.map(|figure| figure.meridian)).unwrap_or(0.0);
        let [crs, ellipsoid, greenwich] = ["GCS Name", "Ellipsoid", "Primem"].map(|part| self.cited(part));
        // What overrules a datum's ellipsoid or meridian is another datum, whatever it is called.
        let datum = if known.is_some() { "unknown".to_owned() } else { self.cited("Datum") };
        let radians = self.radians()?.unwrap_or(DEGREE);
        let geographic = format!(
            "GEOGCRS[\"{crs}\",DATUM[\"{datum}\",ELLIPSOID[\"{ellipsoid}\",{a},{rf},LENGTHUNIT[\"metre\",1]]],\
             PRIMEM[\"{greenwich}\",{meridian},ANGLEUNIT[\"degree\",{DEGREE}]],CS[ellipsoidal,2],\
             AXIS[\"longitude\",east],AXIS[\"latitude\",north],ANGLEUNIT[\"{}\",{radians}]]",
            if radians == DEGREE { "degree" } else { "unit" }
        );
        Ok(Some(match *self.doubles(Key::ToWgs84) {
            [x, y, z] => bound(&geographic, [x, y, z, 0.0, 0.0, 0.0, 0.0]),
            [x, y, z, rx, ry, rz, scale] => bound(&geographic, [x, y, z, rx, ry, rz, scale]),
            _ => geographic,
        }))
    }

    /// What GDAL writes into a citation, as `GCS Name = x|Datum = y|Ellipsoid = z|Primem = Greenwich|`.
    fn cited(&self, part: &str) -> String {
        let parts = self.text(Key::GeogCitation).split('|').filter_map(|pair| pair.split_once('='));
        let found = parts.into_iter().find(|(name, _)| name.trim() == part).map(|(_, value)| value.trim());
        found.filter(|name| !name.is_empty()).unwrap_or("unknown").replace('"', "'")
    }

    /// Semi-major axis in metres and inverse flattening (0 = sphere), from keys that give them, else by the ellipsoid's code.
    fn ellipsoid(&self) -> Result<Option<(f64, f64)>> {
        match (self.axes()?, self.code(Key::Ellipsoid)) {
            (Some(axes), _) => Ok(Some(axes)),
            (None, code) => code.map(parts::ellipsoid).transpose(),
        }
    }

    fn axes(&self) -> Result<Option<(f64, f64)>> {
        let Some(a) = self.double(Key::SemiMajorAxis).filter(|a| *a > 0.0) else { return Ok(None) };
        let rf = match (self.double(Key::InvFlattening), self.double(Key::SemiMinorAxis)) {
            (Some(rf), _) => rf,
            (None, Some(b)) if b != a => a / (a - b),
            _ => 0.0,
        };
        let unit = self.code(Key::GeogLinearUnit).map(|code| unit(code, "linear unit of its ellipsoid")).transpose()?;
        Ok(Some((a * unit.unwrap_or(1.0), rf)))
    }

    /// Degrees east of Greenwich.
    fn meridian(&self) -> Result<Option<f64>> {
        match (self.double(Key::PrimeMeridianLong), self.code(Key::PrimeMeridian)) {
            (Some(longitude), _) => Ok(Some(longitude * self.degrees()?)),
            (None, code) => code.map(parts::prime_meridian).transpose(),
        }
    }

    /// Radians in one angular unit, if the file says it.
    fn radians(&self) -> Result<Option<f64>> {
        match (self.code(Key::AngularUnit), self.double(Key::AngularUnitSize)) {
            // Degrees, minutes and seconds as text; as numbers they are degrees.
            (Some(9107 | 9108 | 9110), _) => Ok(Some(DEGREE)),
            (Some(code), _) => unit(code, "angular unit").map(Some),
            (None, size) => Ok(size.filter(|radians| *radians > 0.0)),
        }
    }

    /// Degrees in one angular unit: of the file, else of the geographic CRS that it names.
    fn degrees(&self) -> Result<f64> {
        if let Some(radians) = self.radians()? {
            return Ok(radians.to_degrees());
        }
        let named = self.code(Key::GeographicType).map(|code| Crs::new(&authority(code)));
        Ok(named.and_then(Result::ok).filter(Crs::is_geographic).map_or(1.0, |crs| crs.unit().to_degrees()))
    }

    /// Metres in one linear unit of the projected CRS, if the file says it.
    fn metres(&self) -> Result<Option<f64>> {
        match (self.code(Key::LinearUnit), self.double(Key::LinearUnitSize)) {
            (Some(code), _) => unit(code, "linear unit").map(Some),
            (None, size) => Ok(size.filter(|metres| *metres > 0.0)),
        }
    }
}

const DEGREE: f64 = PI / 180.0;

fn unit(code: u16, what: &str) -> Result<f64> {
    parts::unit(code).ok_or_else(|| Error::Crs(format!("the file's CRS has the unknown {what} {code}")))
}

/// Whether a CRS that PROJ knows counts in another unit than `unit`.
fn is_other_unit(definition: &str, unit: f64) -> bool {
    // A definition that PROJ refuses is refused, with its reason, where it is used.
    Crs::new(definition).is_ok_and(|crs| (crs.unit() - unit).abs() > 1e-10 * unit)
}

/// A geographic CRS with its position vector transformation to WGS 84: metres, arc-seconds, parts per million.
fn bound(geographic: &str, [x, y, z, rx, ry, rz, ppm]: [f64; 7]) -> String {
    let scale = 1.0 + ppm * 1e-6;
    format!(
        "BOUNDCRS[SOURCECRS[{geographic}],TARGETCRS[GEOGCRS[\"WGS 84\",DATUM[\"World Geodetic System 1984\",\
         ELLIPSOID[\"WGS 84\",6378137,298.257223563]],CS[ellipsoidal,2],AXIS[\"latitude\",north],AXIS[\"longitude\",east],\
         ANGLEUNIT[\"degree\",{DEGREE}],ID[\"EPSG\",4326]]],ABRIDGEDTRANSFORMATION[\"to WGS 84\",\
         METHOD[\"Position Vector transformation (geog2D domain)\",ID[\"EPSG\",9606]],\
         PARAMETER[\"X-axis translation\",{x},ID[\"EPSG\",8605]],PARAMETER[\"Y-axis translation\",{y},ID[\"EPSG\",8606]],\
         PARAMETER[\"Z-axis translation\",{z},ID[\"EPSG\",8607]],PARAMETER[\"X-axis rotation\",{rx},ID[\"EPSG\",8608]],\
         PARAMETER[\"Y-axis rotation\",{ry},ID[\"EPSG\",8609]],PARAMETER[\"Z-axis rotation\",{rz},ID[\"EPSG\",8610]],\
         PARAMETER[\"Scale difference\",{scale},ID[\"EPSG\",8611]]]]"
    )
}

/// EPSG has no codes above 32767; ESRI's that fit 16 bits are there.
fn authority(code: u16) -> String {
    format!("{}:{code}", if code < USER_DEFINED { "EPSG" } else { "ESRI" })
}

/// The code of the projection that a citation such as `UTM Zone 13, Northern Hemisphere` or `WGS 84 / UTM zone 13S` names.
fn utm_citation(citation: &str) -> Option<u16> {
    let lower = citation.to_ascii_lowercase();
    let (_, after) = lower.split_once("utm")?;
    let after = after.trim_start_matches(|c: char| c.is_whitespace() || c == '_' || c == '-');
    let after = after.strip_prefix("zone").unwrap_or(after).trim_start_matches([' ', '_', ':']);
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let zone: u16 = after[..digits].parse().ok().filter(|zone| (1..=60).contains(zone))?;
    let rest = after[digits..].trim_start_matches([' ', ',', '_']);
    match rest.as_bytes().first()? {
        b'n' => Some(16000 + zone),
        b's' => Some(16100 + zone),
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
        assert_eq!(definition(&utm), "EPSG:32613");
        assert_eq!(utm_citation("WGS 84 / UTM zone 13S"), Some(16113));
        assert_eq!(utm_citation("utm_zone_5_north"), Some(16005));
        for other in ["UTM", "UTM Zone 61N", "UTM Zone 13", "Automatic", "UTM zone 99999999N"] {
            assert_eq!(utm_citation(other), None, "{other}");
        }
    }

    #[test]
    fn a_known_geographic_crs_keeps_its_code_unless_the_file_overrules_its_ellipsoid() {
        let albers = [(1024, 1), (3072, 32767), (3075, 11), (2048, 4269)];
        let own = [(Key::SemiMajorAxis, 6378137.0), (Key::InvFlattening, 298.257222101)];
        for axes in [&own[..], &[]] {
            assert!(definition(&keys(&albers, axes, &[])).contains("ID[\"EPSG\",4269]]"));
        }
        let axes = [(Key::SemiMajorAxis, 6378140.0), (Key::InvFlattening, 298.257)];
        let text = definition(&keys(&albers, &axes, &[]));
        assert!(text.contains("6378140,298.257,") && !text.contains("4269"), "{text}");
        let sphere = [(Key::SemiMajorAxis, 6371007.181), (Key::SemiMinorAxis, 6371007.181)];
        assert!(definition(&keys(&albers, &sphere, &[])).contains("6371007.181,0,"));
    }

    #[test]
    fn a_datum_is_known_by_its_code_or_its_name() {
        let on = |datum: u16| definition(&keys(&[(1024, 2), (2048, 32767), (2050, datum)], &[], &[]));
        assert_eq!([6267, 6269, 6283, 6326].map(on), ["EPSG:4267", "EPSG:4269", "EPSG:4283", "EPSG:4326"]);
        // Without a key of its unit a file is in degrees; the CRS on the datum NTF (Paris) is in grads.
        assert!(on(6807).contains("ID[\"EPSG\",6807]"), "{}", on(6807));
        let axes = [(Key::SemiMajorAxis, 6378206.4), (Key::InvFlattening, 294.978698213898)];
        let citation = [(Key::GeogCitation, "GCS Name = x|Datum = North American Datum 1927|Primem = Greenwich|")];
        assert_eq!(definition(&keys(&[(1024, 2), (2048, 32767)], &axes, &citation)), "EPSG:4267");
        let own = [(Key::GeogCitation, "GCS Name = x|Datum = of this site|Primem = Greenwich|")];
        let spelled = definition(&keys(&[(1024, 2), (2048, 32767)], &axes, &own));
        assert!(spelled.starts_with("GEOGCRS[\"x\",DATUM[\"of this site\""), "{spelled}");
    }

    #[test]
    fn a_projected_crs_of_the_dataset_gets_its_code() {
        let over = |base: u16| definition(&keys(&[(1024, 1), (3072, 32767), (2048, base), (3074, 16015)], &[], &[]));
        assert_eq!([4269, 4326].map(over), ["EPSG:26915", "EPSG:32615"]);
        let conus = [
            (Key::StdParallel1, 29.5),
            (Key::StdParallel2, 45.5),
            (Key::NatOriginLat, 23.0),
            (Key::NatOriginLong, -96.0),
        ];
        let albers = |base| definition(&keys(&[(1024, 1), (3072, 32767), (3075, 11), (2048, base)], &conus, &[]));
        for base in [4267, 4269] {
            let text = albers(base);
            assert!(
                text.contains(&format!("ID[\"EPSG\",{base}]")),
                "what is not one alone keeps the code of its base: {text}"
            );
        }
    }

    #[test]
    fn units_that_contradict_a_code_count() {
        let unit = |text: &str| Crs::new(text).unwrap().unit();
        let feet = definition(&keys(&[(1024, 1), (3072, 26943), (3076, 9002)], &[], &[]));
        assert!((unit(&feet) - 0.3048).abs() < 1e-12 && feet.contains("2000000"), "{feet}");
        assert_eq!(definition(&keys(&[(1024, 1), (3072, 2225), (3076, 9003)], &[], &[])), "EPSG:2225");
        let user = definition(&keys(&[(1024, 1), (3072, 32630), (3076, 32767)], &[(Key::LinearUnitSize, 0.5)], &[]));
        assert_eq!(unit(&user), 0.5);
        let grads = definition(&keys(&[(1024, 2), (2048, 32767), (2050, 6326), (2054, 9105)], &[], &[]));
        assert_eq!(Crs::new(&grads).unwrap().turn(), Some(400.0));
        // As in GDAL, a geographic code keeps its unit, and a size without a unit overrules no code.
        assert_eq!(definition(&keys(&[(1024, 2), (2048, 4326), (2054, 9105)], &[], &[])), "EPSG:4326");
        let size = [(Key::LinearUnitSize, 0.3048)];
        assert_eq!(definition(&keys(&[(1024, 1), (3072, 32630)], &size, &[])), "EPSG:32630");
    }
}
