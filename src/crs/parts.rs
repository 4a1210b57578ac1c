//! CRSs put together from parts, each named by a code of the EPSG dataset or spelled out, as GeoTIFFs do it. What has a code
//! keeps it, and what turns out to be in the dataset gets it: it is what PROJ finds transformations by, and a CRS spelled out
//! should lie where the same CRS by its code does.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::{LazyLock, Mutex};

use proj_sys as ffi;

use super::KNOWN_LIMIT;
use super::proj::{self, Context, List, Object};
use crate::error::{Error, Result};
use crate::mutex::lock;

/// How map coordinates come from longitude and latitude.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Projection {
    /// A conversion of the EPSG dataset.
    Coded(u16),
    /// A projected CRS as WKT, over whichever geographic CRS.
    Spelled(String),
}

/// Shape and prime meridian of a geographic CRS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Semi-major axis in metres.
    pub semi_major: f64,
    /// 0 for a sphere.
    pub inverse_flattening: f64,
    /// Degrees east of Greenwich.
    pub meridian: f64,
}

/// The projected CRS of `projection` over the geographic CRS `base`, in units of `metres`: by its code, or as WKT.
///
/// # Errors
/// PROJ knows one of the codes not, or cannot put the parts together.
pub fn projected(base: &str, projection: &Projection, metres: f64) -> Result<String> {
    remembered(format!("{base}\n{projection:?}\n{metres}"), |proj| {
        let whole = proj.horizontal(base)?;
        let geographic = proj.unbound(&whole)?;
        let projected = match projection {
            Projection::Coded(code) => coded(proj, &geographic, *code, metres)?,
            Projection::Spelled(wkt) => {
                let over_another = proj.object(wkt)?;
                // SAFETY: both objects are live and of this context; the result is null or ours.
                let raw = unsafe { ffi::proj_crs_alter_geodetic_crs(proj.raw, over_another.0, geographic.0) };
                proj.made(raw, "a projection does not fit its geographic CRS")?
            }
        };
        let projected = bound_as(proj, projected, &whole)?;
        dataset_code(proj, &projected).map_or_else(|| proj.wkt(&projected), Ok)
    })
}

/// The code of a projected CRS that is in the EPSG dataset, if it is there once. With it comes the area that the CRS is for, which
/// PROJ's choice of a transformation depends on.
fn dataset_code(proj: &Context, crs: &Object) -> Option<String> {
    // SAFETY: the object is live and of this context; options and confidences are not asked for; the result is null or ours.
    let found = List(unsafe { ffi::proj_identify(proj.raw, crs.0, EPSG.as_ptr(), ptr::null(), ptr::null_mut()) });
    let mut same = proj.current(&found);
    same.retain(|candidate| proj.same(crs, candidate));
    coded_if_single(proj, &same)
}

fn coded_if_single(proj: &Context, found: &[Object]) -> Option<String> {
    match found {
        [single] => Some(format!("EPSG:{}", proj.code(single)?)),
        _ => None,
    }
}

const EPSG: &CStr = c"EPSG";

fn coded(proj: &Context, geographic: &Object, code: u16, metres: f64) -> Result<Object> {
    let conversion = from_database(proj, code, ffi::PJ_CATEGORY_PJ_CATEGORY_COORDINATE_OPERATION, "projection")?;
    let order = ffi::PJ_CARTESIAN_CS_2D_TYPE_PJ_CART2D_EASTING_NORTHING;
    let unit = if metres == 1.0 { c"metre" } else { c"unit" };
    // SAFETY: all objects are live and of this context; results are null or ours.
    unsafe {
        let axes = ffi::proj_create_cartesian_2D_cs(proj.raw, order, unit.as_ptr(), metres);
        let axes = proj.made(axes, "no axes")?;
        let name = c"unnamed".as_ptr();
        let raw = ffi::proj_create_projected_crs(proj.raw, name, geographic.0, conversion.0, axes.0);
        proj.made(raw, &format!("EPSG code {code} is no projection"))
    }
}

/// Ties `crs` to WGS 84 as `pattern` is, if it is.
fn bound_as(proj: &Context, crs: Object, pattern: &Object) -> Result<Object> {
    // SAFETY: all objects are live and of this context; results are null or ours.
    unsafe {
        if ffi::proj_get_type(pattern.0) != ffi::PJ_TYPE_PJ_TYPE_BOUND_CRS {
            return Ok(crs);
        }
        let hub = proj.made(ffi::proj_get_target_crs(proj.raw, pattern.0), "a bound CRS without a target")?;
        let shift = ffi::proj_crs_get_coordoperation(proj.raw, pattern.0);
        let shift = proj.made(shift, "a bound CRS without a transformation")?;
        let raw = ffi::proj_crs_create_bound_crs(proj.raw, crs.0, hub.0, shift.0);
        proj.made(raw, "a CRS that cannot be bound")
    }
}

/// A CRS counted in another unit: metres if it is projected, radians if it is geographic. What it says of places stays, its
/// false easting included.
///
/// # Errors
/// PROJ does not accept the definition.
pub fn in_unit(definition: &str, unit: f64) -> Result<String> {
    remembered(format!("{definition}\n{unit}"), |proj| {
        let crs = proj.horizontal(definition)?;
        let is_geographic = proj.facts(&crs, definition)?.is_geographic;
        let alter = match is_geographic {
            true => ffi::proj_crs_alter_cs_angular_unit,
            false => ffi::proj_crs_alter_cs_linear_unit,
        };
        // SAFETY: the object is live and of this context; a unit needs no code; the result is null or ours.
        let raw = unsafe { alter(proj.raw, crs.0, c"unit".as_ptr(), unit, ptr::null(), ptr::null()) };
        proj.wkt(&proj.made(raw, "a CRS whose unit cannot be changed")?)
    })
}

/// The geographic CRS, in degrees, on a datum of the EPSG dataset: by its code where there is one alone.
///
/// # Errors
/// PROJ does not know the code.
pub fn on_datum(code: u16) -> Result<String> {
    remembered(format!("datum {code}"), |proj| {
        if let Some(known) = known_on_datum(proj, code) {
            return Ok(known);
        }
        let ensemble = from_database(proj, code, ffi::PJ_CATEGORY_PJ_CATEGORY_DATUM_ENSEMBLE, "datum");
        let datum = ensemble.or_else(|_| from_database(proj, code, ffi::PJ_CATEGORY_PJ_CATEGORY_DATUM, "datum"))?;
        proj.wkt(&proj.lonlat_on(&datum)?)
    })
}

fn known_on_datum(proj: &Context, code: u16) -> Option<String> {
    let code = CString::new(code.to_string()).ok()?;
    let (epsg, kind) = (EPSG.as_ptr(), c"geographic 2D".as_ptr());
    // SAFETY: the context is live, the texts end with NUL; the result is null or ours.
    let found = List(unsafe { ffi::proj_query_geodetic_crs_from_datum(proj.raw, epsg, epsg, code.as_ptr(), kind) });
    let mut known = proj.current(&found);
    known.retain(|crs| proj.unit(crs).is_ok_and(|(radians, _)| (radians.to_degrees() - 1.0).abs() < 1e-12));
    coded_if_single(proj, &known)
}

/// The code of the datum of the EPSG dataset that has this name.
pub fn datum_named(name: &str) -> Option<u16> {
    let name = CString::new(name.replace('_', " ")).ok()?;
    let kinds = [ffi::PJ_TYPE_PJ_TYPE_GEODETIC_REFERENCE_FRAME, ffi::PJ_TYPE_PJ_TYPE_DATUM_ENSEMBLE];
    proj::with(|proj| {
        // SAFETY: the context is live, the texts end with NUL, there are as many kinds as it says; the result is null or ours.
        let found = List(unsafe {
            let (text, kinds, count) = (name.as_ptr(), kinds.as_ptr(), kinds.len());
            ffi::proj_create_from_name(proj.raw, EPSG.as_ptr(), text, kinds, count, 0, 2, ptr::null())
        });
        match proj.current(&found).as_slice() {
            [single] => proj.code(single)?.parse().ok(),
            _ => None,
        }
    })
}

/// Shape and prime meridian of a CRS.
///
/// # Errors
/// PROJ does not accept the definition.
pub fn figure(definition: &str) -> Result<Figure> {
    proj::with(|proj| {
        let crs = proj.unbound(&proj.horizontal(definition)?)?;
        // SAFETY: the objects are live and of this context; results are null or ours.
        let (ellipsoid, meridian) = unsafe {
            let ellipsoid = proj.made(ffi::proj_get_ellipsoid(proj.raw, crs.0), "a CRS without an ellipsoid")?;
            let geodetic = ffi::proj_crs_get_geodetic_crs(proj.raw, crs.0);
            let geodetic = proj.made(geodetic, "a CRS without a geodetic one below it")?;
            (
                ellipsoid,
                proj.made(ffi::proj_get_prime_meridian(proj.raw, geodetic.0), "a CRS without a prime meridian")?,
            )
        };
        let (semi_major, inverse_flattening) = axes_of(proj, &ellipsoid)?;
        Ok(Figure { semi_major, inverse_flattening, meridian: degrees_of(proj, &meridian)? })
    })
}

/// Semi-major axis in metres and inverse flattening (0 = sphere) of an ellipsoid of the EPSG dataset.
///
/// # Errors
/// PROJ does not know the code.
pub fn ellipsoid(code: u16) -> Result<(f64, f64)> {
    proj::with(|proj| {
        let found = from_database(proj, code, ffi::PJ_CATEGORY_PJ_CATEGORY_ELLIPSOID, "ellipsoid")?;
        axes_of(proj, &found)
    })
}

/// Degrees east of Greenwich of a prime meridian of the EPSG dataset.
///
/// # Errors
/// PROJ does not know the code.
pub fn prime_meridian(code: u16) -> Result<f64> {
    proj::with(|proj| {
        let found = from_database(proj, code, ffi::PJ_CATEGORY_PJ_CATEGORY_PRIME_MERIDIAN, "prime meridian")?;
        degrees_of(proj, &found)
    })
}

/// Metres or radians in a unit of the EPSG dataset. `None` where PROJ does not know the code, or where it is no plain factor.
pub fn unit(code: u16) -> Option<f64> {
    let text = CString::new(code.to_string()).ok()?;
    let mut factor = 0.0;
    // SAFETY: the context is live, the texts end with NUL; what is not asked for may be null.
    let known = proj::with(|proj| unsafe {
        let none: *mut *const c_char = ptr::null_mut();
        ffi::proj_uom_get_info_from_database(proj.raw, c"EPSG".as_ptr(), text.as_ptr(), none, &raw mut factor, none)
    });
    (known != 0 && factor.is_finite() && factor > 0.0).then_some(factor)
}

fn axes_of(proj: &Context, ellipsoid: &Object) -> Result<(f64, f64)> {
    let (mut a, mut rf) = (0.0, 0.0);
    // SAFETY: the object is live and of this context; what is not asked for may be null.
    let known = unsafe {
        let (b, computed) = (ptr::null_mut(), ptr::null_mut());
        ffi::proj_ellipsoid_get_parameters(proj.raw, ellipsoid.0, &raw mut a, b, computed, &raw mut rf)
    };
    if known == 0 {
        return Err(Error::Crs(format!("an ellipsoid without axes ({})", proj.complaint())));
    }
    Ok((a, rf))
}

fn degrees_of(proj: &Context, meridian: &Object) -> Result<f64> {
    let (mut longitude, mut unit) = (0.0, 0.0);
    // SAFETY: the object is live and of this context; the unit's name is not asked for.
    let known = unsafe {
        ffi::proj_prime_meridian_get_parameters(
            proj.raw,
            meridian.0,
            &raw mut longitude,
            &raw mut unit,
            ptr::null_mut(),
        )
    };
    if known == 0 {
        return Err(Error::Crs(format!("a prime meridian without a longitude ({})", proj.complaint())));
    }
    Ok((longitude * unit).to_degrees())
}

fn from_database(proj: &Context, code: u16, category: ffi::PJ_CATEGORY, what: &str) -> Result<Object> {
    let missing = || Error::Crs(format!("the EPSG dataset has no {what} with code {code}"));
    let text = CString::new(code.to_string()).map_err(|_| missing())?;
    // SAFETY: the context is live, the texts end with NUL; there are no options; the result is null or ours.
    let raw =
        unsafe { ffi::proj_create_from_database(proj.raw, c"EPSG".as_ptr(), text.as_ptr(), category, 0, ptr::null()) };
    if raw.is_null() { Err(missing()) } else { Ok(Object(raw)) }
}

/// What was made once: every file of an archive spells out the same CRS. Bounded as other definitions are.
fn remembered(key: String, make: impl FnOnce(&Context) -> Result<String>) -> Result<String> {
    static MADE: LazyLock<Mutex<HashMap<String, Result<String>>>> = LazyLock::new(Mutex::default);
    if let Some(made) = lock(&MADE).get(&key) {
        return made.clone();
    }
    let result = proj::with(make);
    let mut made = lock(&MADE);
    if made.len() >= KNOWN_LIMIT {
        made.clear();
    }
    made.insert(key, result.clone());
    result
}
