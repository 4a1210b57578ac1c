//! PROJ, to prove that it takes the CRS definitions that `cog` hands out.

use std::ffi::CString;
use std::ptr;

/// Longitudes and latitudes (WGS 84, degrees) of points of a CRS.
pub fn to_lonlat(definition: &str, points: &[(f64, f64)]) -> Result<Vec<(f64, f64)>, String> {
    let source = CString::new(definition).map_err(|e| e.to_string())?;
    // SAFETY: every pointer comes from PROJ, is checked for null, used by this thread only, and destroyed once.
    unsafe {
        let context = proj_sys::proj_context_create();
        let raw = proj_sys::proj_create_crs_to_crs(context, source.as_ptr(), c"EPSG:4326".as_ptr(), ptr::null_mut());
        if raw.is_null() {
            proj_sys::proj_context_destroy(context);
            return Err(format!("PROJ refuses {definition}"));
        }
        let transformation = proj_sys::proj_normalize_for_visualization(context, raw);
        proj_sys::proj_destroy(raw);
        let transformed = points.iter().map(|(x, y)| {
            let coordinate = proj_sys::PJ_COORD { xyzt: proj_sys::PJ_XYZT { x: *x, y: *y, z: 0.0, t: 0.0 } };
            let out = proj_sys::proj_trans(transformation, proj_sys::PJ_DIRECTION_PJ_FWD, coordinate);
            (out.xy.x, out.xy.y)
        });
        let transformed = transformed.collect();
        proj_sys::proj_destroy(transformation);
        proj_sys::proj_context_destroy(context);
        Ok(transformed)
    }
}
