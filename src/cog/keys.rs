//! GeoKeys, as a file stores them.

use super::ifd::{Ifd, Tag};
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
pub const USER_DEFINED: u16 = 32767;

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

    pub fn from_parts(directory: &[u16], doubles: &[f64], ascii: &[u8]) -> GeoKeys {
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

    pub fn short(&self, key: Key) -> Option<u16> {
        self.codes.iter().find(|(k, _)| *k == key as u16).map(|(_, v)| *v)
    }

    /// A code that names something: neither absent, nor undefined (0), nor user-defined.
    pub fn code(&self, key: Key) -> Option<u16> {
        self.short(key).filter(|code| *code != 0 && *code != USER_DEFINED)
    }

    pub fn doubles(&self, key: Key) -> &[f64] {
        self.doubles.iter().find(|(k, _)| *k == key as u16).map_or(&[], |(_, v)| v)
    }

    pub fn double(&self, key: Key) -> Option<f64> {
        self.doubles(key).first().copied()
    }

    pub fn text(&self, key: Key) -> &str {
        self.texts.iter().find(|(k, _)| *k == key as u16).map_or("", |(_, v)| v)
    }

    /// Whether the tiepoint is a pixel's centre instead of its corner.
    pub fn pixel_is_point(&self) -> bool {
        self.short(Key::RasterType) == Some(2)
    }
}
