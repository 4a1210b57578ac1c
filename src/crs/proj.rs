//! PROJ's C API, as far as we use it: a context, and the objects that live in it.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use proj_sys as ffi;

use super::sealed;
use crate::error::{Error, Result};

/// An owned PROJ object. It does not outlive its context.
pub struct Object(pub *mut ffi::PJ);

impl Object {
    /// Gives the object to somebody who destroys it, before its context.
    pub fn leak(self) -> *mut ffi::PJ {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: owned; destroying null is allowed.
        unsafe { ffi::proj_destroy(self.0) };
    }
}

/// An owned list of PROJ objects.
pub struct List(pub *mut ffi::PJ_OBJ_LIST);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: owned; destroying null is allowed. What was taken out of it is a copy.
        unsafe { ffi::proj_list_destroy(self.0) };
    }
}

/// A PROJ context, for one thread at a time.
pub struct Context {
    pub raw: *mut ffi::PJ_CONTEXT,
    /// The last thing PROJ complained about; boxed, since PROJ keeps its address.
    complaint: Box<RefCell<String>>,
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: owned; every object made in it is gone.
        unsafe { ffi::proj_context_destroy(self.raw) };
    }
}

thread_local! {
    /// For looking at definitions.
    static SHARED: Context = Context::new();
}

/// Runs `work` with the context of this thread. Objects made in it stay inside.
pub fn with<T>(work: impl FnOnce(&Context) -> T) -> T {
    SHARED.with(work)
}

/// What a CRS is, as far as a raster needs it.
pub struct Facts {
    /// Its coordinates are longitude and latitude.
    pub is_geographic: bool,
    /// Metres or radians in one unit of its first axis.
    pub unit: f64,
    /// The celestial body.
    pub body: String,
    /// What PROJ calls that unit: `metre`, `degree`, `US survey foot`.
    pub unit_name: String,
    /// The name of its datum; `None` where it is declared unknown.
    pub datum: Option<String>,
}

impl Context {
    pub fn new() -> Context {
        let complaint = Box::new(RefCell::new(String::new()));
        // SAFETY: the log target outlives the context. The search path is one that does not exist, so that the
        // proj.db inside this library is used, never another version's that PROJ_DATA points to.
        unsafe {
            let raw = ffi::proj_context_create();
            let nowhere = c"/nonexistent/lazycogs".as_ptr();
            ffi::proj_context_set_search_paths(raw, 1, &nowhere);
            ffi::proj_context_set_fileapi(raw, &sealed::NO_FILES, ptr::null_mut());
            ffi::proj_log_func(raw, ptr::from_ref::<RefCell<String>>(&complaint) as *mut c_void, Some(keep_complaint));
            Context { raw, complaint }
        }
    }

    /// What PROJ said last.
    pub fn complaint(&self) -> String {
        self.complaint.borrow().clone()
    }

    /// An object of what a function of PROJ returned, null included.
    pub fn made(&self, raw: *mut ffi::PJ, what: &str) -> Result<Object> {
        if raw.is_null() {
            return Err(Error::Crs(format!("{what} ({})", self.complaint())));
        }
        Ok(Object(raw))
    }

    /// The objects of a list, but for those that are deprecated.
    pub fn current(&self, list: &List) -> Vec<Object> {
        if list.0.is_null() {
            return Vec::new();
        }
        // SAFETY: the list is live and of this context; its items are null or ours.
        let all = unsafe {
            let count = ffi::proj_list_get_count(list.0);
            (0..count).map(|i| Object(ffi::proj_list_get(self.raw, list.0, i)))
        };
        // SAFETY: null is looked for first.
        all.filter(|object| !object.0.is_null() && unsafe { ffi::proj_is_deprecated(object.0) } == 0).collect()
    }

    /// The code of an object of the database.
    pub fn code(&self, object: &Object) -> Option<String> {
        // SAFETY: the object is live; the text lives as long.
        unsafe { text(ffi::proj_get_id_code(object.0, 0)) }
    }

    /// A CRS by its definition.
    pub fn object(&self, definition: &str) -> Result<Object> {
        let reject = |why: &str| {
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            Error::Crs(format!(
                "unknown CRS '{}'{why}; give an authority code such as 'EPSG:32615', WKT, PROJJSON or a PROJ string",
                shown(definition)
            ))
        };
        let text = CString::new(definition.trim()).map_err(|_| reject("it contains a NUL character"))?;
        self.complaint.borrow_mut().clear();
        // SAFETY: the context is live and the text NUL-terminated; the result is null or ours.
        let object = Object(unsafe { ffi::proj_create(self.raw, text.as_ptr()) });
        if object.0.is_null() {
            return Err(reject(self.complaint.borrow().trim_start_matches("proj_create: ")));
        }
        // SAFETY: the object is not null.
        if unsafe { ffi::proj_is_crs(object.0) } == 0 {
            // A PROJ string without +type=crs describes an operation; users mean the CRS.
            if definition.trim_start().starts_with('+') && !definition.contains("+type=crs") {
                return self.object(&format!("{} +type=crs", definition.trim()));
            }
            return Err(reject("it is not a coordinate reference system"));
        }
        Ok(object)
    }

    /// The two dimensions of a CRS that a map has: the horizontal part of a compound one, heights left out.
    pub fn horizontal(&self, definition: &str) -> Result<Object> {
        let whole = self.object(definition)?;
        // SAFETY: all objects are live and of this context; results are null or ours.
        unsafe {
            let part = match ffi::proj_get_type(whole.0) {
                ffi::PJ_TYPE_PJ_TYPE_COMPOUND_CRS => {
                    self.made(ffi::proj_crs_get_sub_crs(self.raw, whole.0, 0), "a compound CRS without a first part")?
                }
                _ => whole,
            };
            self.made(ffi::proj_crs_demote_to_2D(self.raw, ptr::null(), part.0), "a CRS without a horizontal part")
        }
    }

    /// What a transformation to WGS 84 is tied to; any other CRS itself.
    pub fn unbound(&self, crs: &Object) -> Result<Object> {
        // SAFETY: the object is live and of this context; results are null or ours.
        let raw = unsafe {
            match ffi::proj_get_type(crs.0) {
                ffi::PJ_TYPE_PJ_TYPE_BOUND_CRS => ffi::proj_get_source_crs(self.raw, crs.0),
                _ => ffi::proj_clone(self.raw, crs.0),
            }
        };
        self.made(raw, "a bound CRS without a source")
    }

    /// Looks at a horizontal CRS.
    ///
    /// # Errors
    /// It has no map coordinates: geocentric, vertical, local.
    pub fn facts(&self, crs: &Object, definition: &str) -> Result<Facts> {
        let own = self.unbound(crs)?;
        // SAFETY: the object is live.
        let kind = unsafe { ffi::proj_get_type(own.0) };
        let refuse = |kind: &str| {
            Err(Error::Crs(format!(
                "'{}' is {kind}: it has no map coordinates; give a projected or a geographic CRS",
                shown(definition)
            )))
        };
        let is_geographic = match kind {
            ffi::PJ_TYPE_PJ_TYPE_GEOGRAPHIC_2D_CRS | ffi::PJ_TYPE_PJ_TYPE_GEODETIC_CRS => true,
            ffi::PJ_TYPE_PJ_TYPE_PROJECTED_CRS | ffi::PJ_TYPE_PJ_TYPE_DERIVED_PROJECTED_CRS => false,
            ffi::PJ_TYPE_PJ_TYPE_GEOCENTRIC_CRS => return refuse("a geocentric CRS"),
            ffi::PJ_TYPE_PJ_TYPE_VERTICAL_CRS => return refuse("a vertical CRS"),
            ffi::PJ_TYPE_PJ_TYPE_ENGINEERING_CRS => return refuse("a local (engineering) CRS"),
            _ => return refuse("neither a projected nor a geographic CRS"),
        };
        let datum = self.datum(&own)?;
        // SAFETY: the objects are live and of this context; the text lives as long as its object.
        let (datum, body) =
            unsafe { (text(ffi::proj_get_name(datum.0)), text(ffi::proj_get_celestial_body_name(self.raw, own.0))) };
        let (unit, unit_name) = self.unit(&own)?;
        Ok(Facts {
            is_geographic,
            unit,
            unit_name,
            body: body.unwrap_or_default(),
            datum: datum.filter(|name| !is_unknown(name)),
        })
    }

    /// The datum of a CRS that is not bound, or its datum ensemble.
    fn datum(&self, crs: &Object) -> Result<Object> {
        // SAFETY: all objects are live and of this context; results are null or ours.
        unsafe {
            let geodetic = ffi::proj_crs_get_geodetic_crs(self.raw, crs.0);
            let geodetic = self.made(geodetic, "a CRS without a geodetic one below it")?;
            let datum = Object(ffi::proj_crs_get_datum(self.raw, geodetic.0));
            if !datum.0.is_null() {
                return Ok(datum);
            }
            self.made(ffi::proj_crs_get_datum_ensemble(self.raw, geodetic.0), "a CRS without a datum")
        }
    }

    /// Metres or radians in one unit of the first axis, and its name.
    pub fn unit(&self, crs: &Object) -> Result<(f64, String)> {
        let (mut unit, mut named): (f64, *const c_char) = (0.0, ptr::null());
        let none = ptr::null_mut;
        // SAFETY: the objects are live and of this context; what is not asked for may be null; the name is copied while its axes live.
        let (known, unit_name) = unsafe {
            let axes = ffi::proj_crs_get_coordinate_system(self.raw, crs.0);
            let axes = self.made(axes, "a CRS without axes")?;
            let (factor, name) = (&raw mut unit, &raw mut named);
            let known =
                ffi::proj_cs_get_axis_info(self.raw, axes.0, 0, none(), none(), none(), factor, name, none(), none());
            (known, text(named).unwrap_or_default())
        };
        if known == 0 || !unit.is_finite() || unit <= 0.0 {
            return Err(Error::Crs(format!("a CRS whose axes have no unit ({})", self.complaint())));
        }
        Ok((unit, unit_name))
    }

    /// Longitude and latitude in degrees on the datum of a CRS, as WKT: of its own celestial body, without a change of datum.
    pub fn own_lonlat(&self, crs: &Object) -> Result<String> {
        let datum = self.datum(&self.unbound(crs)?)?;
        self.wkt(&self.lonlat_on(&datum)?)
    }

    /// Longitude and latitude in degrees on a datum or a datum ensemble.
    pub fn lonlat_on(&self, datum: &Object) -> Result<Object> {
        let order = ffi::PJ_ELLIPSOIDAL_CS_2D_TYPE_PJ_ELLPS2D_LONGITUDE_LATITUDE;
        // SAFETY: all objects are live and of this context; a null unit stands for degrees; results are null or ours.
        let geographic = unsafe {
            let axes = ffi::proj_create_ellipsoidal_2D_cs(self.raw, order, ptr::null(), 0.0);
            let axes = self.made(axes, "no axes")?;
            let name = c"longitude and latitude".as_ptr();
            ffi::proj_create_geographic_crs_from_datum(self.raw, name, datum.0, axes.0)
        };
        self.made(geographic, "no geographic CRS on a datum")
    }

    /// The definition of a CRS as WKT 2, on one line.
    pub fn wkt(&self, crs: &Object) -> Result<String> {
        let options = [c"MULTILINE=NO".as_ptr(), ptr::null()];
        // SAFETY: the object is live and of this context, the options end with null; the text lives as long as the object.
        let wkt = unsafe { text(ffi::proj_as_wkt(self.raw, crs.0, ffi::PJ_WKT_TYPE_PJ_WKT2_2019, options.as_ptr())) };
        wkt.ok_or_else(|| Error::Crs(format!("a CRS that WKT cannot say ({})", self.complaint())))
    }

    /// Whether two CRSs are the same but for the order of their axes.
    pub fn equivalent(&self, a: &str, b: &str) -> Result<bool> {
        Ok(self.same(&self.horizontal(a)?, &self.horizontal(b)?))
    }

    /// Whether two objects are the same but for the order of geographic axes.
    pub fn same(&self, a: &Object, b: &Object) -> bool {
        let criterion = ffi::PJ_COMPARISON_CRITERION_PJ_COMP_EQUIVALENT_EXCEPT_AXIS_ORDER_GEOGCRS;
        // SAFETY: both objects are live and of this context.
        unsafe { ffi::proj_is_equivalent_to_with_ctx(self.raw, a.0, b.0, criterion) != 0 }
    }

    /// The best transformations that PROJ knows from one CRS to another, x before y.
    pub fn operation(&self, from: &str, to: &str) -> Result<Object> {
        let (source, target) = (self.horizontal(from)?, self.horizontal(to)?);
        self.complaint.borrow_mut().clear();
        // SAFETY: both CRSs are live and of this context; area and options may be null; results are null or ours.
        let raw = unsafe {
            let operation =
                Object(ffi::proj_create_crs_to_crs_from_pj(self.raw, source.0, target.0, ptr::null_mut(), ptr::null()));
            if operation.0.is_null() {
                ptr::null_mut()
            } else {
                ffi::proj_normalize_for_visualization(self.raw, operation.0)
            }
        };
        self.made(raw, &format!("no transformation from '{}' to '{}'", shown(from), shown(to)))
    }
}

/// A definition as an error shows it: WKT may be long.
pub fn shown(definition: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = definition.chars().take(LONGEST).collect();
    if definition.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Whether the name of a datum says that nobody knows it.
fn is_unknown(name: &str) -> bool {
    let name = name.trim_start_matches("D_").to_ascii_lowercase().replace('_', " ");
    name.is_empty()
        || ["unknown", "not specified", "unnamed", "undefined", "unspecified"].iter().any(|u| name.starts_with(u))
}

/// A text of PROJ's.
///
/// # Safety
/// Null, or a C string that lives during the call.
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: by contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn keep_complaint(target: *mut c_void, _level: c_int, message: *const c_char) {
    // SAFETY: PROJ calls this on the thread that uses the context, with the address given in `Context::new` and a C string.
    unsafe {
        let text = CStr::from_ptr(message).to_string_lossy();
        if let Ok(mut complaint) = (*target.cast::<RefCell<String>>()).try_borrow_mut() {
            *complaint = text.into_owned();
        }
    }
}
