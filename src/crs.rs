//! Coordinate reference systems and transformations, by PROJ.
//!
//! A PROJ object is used by one thread at a time: a transformer is taken from a pool and goes back to it. Making one
//! takes tens of milliseconds, so that one is made for each pair of CRSs, and copied for as many threads as need it at once. A
//! [`Crs`] is only a definition that PROJ has accepted, and is shared freely. x is easting or longitude and y northing or
//! latitude, always.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex};

use proj_sys as ffi;

use crate::error::{Error, Result};

mod sealed;

/// A CRS that PROJ accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Crs {
    definition: Arc<str>,
    /// Its x is a longitude in degrees, which comes round after 360.
    comes_round: bool,
}

/// Longitude and latitude in degrees, in this order.
pub static LONLAT: LazyLock<Crs> = LazyLock::new(|| Crs { definition: "OGC:CRS84".into(), comes_round: true });

type Pair = (Crs, Crs);

/// What every thread would find out anew: which definitions are good, and which pairs are the same CRS. Bounded, since
/// a long session may see any number of definitions.
static KNOWN: LazyLock<Mutex<HashMap<Arc<str>, Result<Crs>>>> = LazyLock::new(Mutex::default);
static SAME: LazyLock<Mutex<HashMap<Pair, bool>>> = LazyLock::new(Mutex::default);
const KNOWN_LIMIT: usize = 4096;

/// Transformers that nobody uses.
static POOL: LazyLock<Mutex<HashMap<Pair, Vec<Transformer>>>> = LazyLock::new(Mutex::default);
/// Pairs that are kept; more are made anew when they are needed.
const POOL_LIMIT: usize = 64;

thread_local! {
    /// For looking at definitions.
    static PROJ: Context = Context::new();
}

impl Crs {
    /// Checks `definition` (an authority code, WKT, PROJJSON or a PROJ string).
    ///
    /// # Errors
    /// PROJ's own reason where it does not accept the definition, or where it is not a CRS.
    pub fn new(definition: &str) -> Result<Crs> {
        if let Some(known) = lock(&KNOWN).get(definition) {
            return known.clone();
        }
        let result = PROJ.with(|proj| {
            let object = proj.object(definition)?;
            Ok(Crs { definition: definition.trim().into(), comes_round: proj.is_in_degrees(&object) })
        });
        let mut known = lock(&KNOWN);
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(definition.into(), result.clone());
        result
    }

    /// The text it was made from.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// After how many units the same place comes again along x: 360 where x is a longitude in degrees.
    pub fn turn(&self) -> Option<f64> {
        self.comes_round.then_some(360.0)
    }

    /// The name of the unit along x, as PROJ has it: `metre`, `degree`, `US survey foot`.
    pub fn unit(&self) -> Option<String> {
        PROJ.with(|proj| proj.unit_name(&proj.object(&self.definition).ok()?))
    }

    /// The same CRS but for the order of its axes, which we never look at.
    pub fn same_as(&self, other: &Crs) -> bool {
        if self == other {
            return true;
        }
        let pair = (self.clone(), other.clone());
        if let Some(same) = lock(&SAME).get(&pair) {
            return *same;
        }
        let same = PROJ.with(|proj| proj.equivalent(self, other)).unwrap_or(false);
        let mut known = lock(&SAME);
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(pair, same);
        same
    }
}

/// The version of PROJ inside this library.
pub fn proj_version() -> String {
    // SAFETY: a static, NUL-terminated text.
    let info = unsafe { ffi::proj_info() };
    format!("{}.{}.{}", info.major, info.minor, info.patch)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A transformation from one CRS to another, for the caller alone.
///
/// # Errors
/// PROJ knows none.
pub fn transformer(from: &Crs, to: &Crs) -> Result<Lease> {
    lease(from, to, ffi::PJ_DIRECTION_PJ_FWD)
}

/// The way back of [`transformer`], without the search for a transformation of its own. Where PROJ knows several, for
/// different areas, this one may differ from `transformer(to, from)` by their accuracy.
///
/// # Errors
/// PROJ knows none.
pub fn way_back(from: &Crs, to: &Crs) -> Result<Lease> {
    lease(from, to, ffi::PJ_DIRECTION_PJ_INV)
}

fn lease(from: &Crs, to: &Crs, direction: ffi::PJ_DIRECTION) -> Result<Lease> {
    let pair = (from.clone(), to.clone());
    if from.same_as(to) {
        return Ok(Lease { pair, transformer: Some(Transformer::identity()), direction });
    }
    let kept = lock(&POOL).get_mut(&pair).and_then(Vec::pop);
    let transformer = match kept {
        Some(transformer) => transformer,
        None => copy_of_original(&pair)?,
    };
    Ok(Lease { pair, transformer: Some(transformer), direction })
}

/// A copy of the transformer that was found first for a pair of CRSs: a search takes tens of milliseconds, a copy one. Who comes
/// during the search waits for its end.
fn copy_of_original(pair: &Pair) -> Result<Transformer> {
    static ORIGINALS: LazyLock<Mutex<HashMap<Pair, Original>>> = LazyLock::new(Mutex::default);
    let original = {
        let mut originals = lock(&ORIGINALS);
        if originals.len() >= POOL_LIMIT && !originals.contains_key(pair) {
            originals.clear();
        }
        originals.entry(pair.clone()).or_default().clone()
    };
    let mut original = lock(&original);
    match &*original {
        Some(original) => original.copy(),
        None => original.insert(Transformer::new(&pair.0, &pair.1)?).copy(),
    }
}

type Original = Arc<Mutex<Option<Transformer>>>;

/// A transformer on loan from the pool.
pub struct Lease {
    pair: Pair,
    /// `None` only while it is given back.
    transformer: Option<Transformer>,
    direction: ffi::PJ_DIRECTION,
}

static IDENTITY: Transformer = Transformer::identity();

impl Lease {
    /// Transforms points in place. A point without an image becomes infinite.
    pub fn transform(&self, xs: &mut [f64], ys: &mut [f64]) {
        self.inner().transform(xs, ys, self.direction);
    }

    pub fn point(&self, x: f64, y: f64) -> (f64, f64) {
        let (mut xs, mut ys) = ([x], [y]);
        self.transform(&mut xs, &mut ys);
        (xs[0], ys[0])
    }

    pub fn is_identity(&self) -> bool {
        self.inner().is_identity()
    }

    fn inner(&self) -> &Transformer {
        self.transformer.as_ref().unwrap_or(&IDENTITY)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(transformer) = self.transformer.take().filter(|t| !t.is_identity()) else { return };
        let mut pool = lock(&POOL);
        if pool.len() >= POOL_LIMIT && !pool.contains_key(&self.pair) {
            pool.clear();
        }
        pool.entry(self.pair.clone()).or_default().push(transformer);
    }
}

/// A transformation, with the context it lives in.
struct Transformer {
    /// Null for the identity. Destroyed before its context.
    raw: *mut ffi::PJ,
    _context: Option<Context>,
}

// SAFETY: object and context are owned together and reached only through `&self` of one leaseholder; PROJ ties neither
// to the thread that made it. The identity, which alone is shared, has neither.
unsafe impl Send for Transformer {}
unsafe impl Sync for Transformer {}

impl Transformer {
    const fn identity() -> Transformer {
        Transformer { raw: ptr::null_mut(), _context: None }
    }

    fn new(from: &Crs, to: &Crs) -> Result<Transformer> {
        let context = Context::new();
        let raw = context.operation(from, to)?;
        Ok(Transformer { raw, _context: Some(context) })
    }

    /// The same transformation for another user.
    fn copy(&self) -> Result<Transformer> {
        let context = Context::new();
        // SAFETY: the object is live, and used by nobody else while its original is locked; the copy belongs to the new context.
        let raw = unsafe { ffi::proj_clone(context.raw, self.raw) };
        if raw.is_null() {
            return Err(Error::Crs(format!("a transformation cannot be copied ({})", context.complaint.borrow())));
        }
        Ok(Transformer { raw, _context: Some(context) })
    }

    /// Transforms points in place. A point without an image becomes infinite.
    fn transform(&self, xs: &mut [f64], ys: &mut [f64], direction: ffi::PJ_DIRECTION) {
        debug_assert_eq!(xs.len(), ys.len());
        if self.raw.is_null() || xs.is_empty() {
            return;
        }
        let stride = size_of::<f64>();
        // SAFETY: the object lives as long as `self`, which one thread uses at a time; both slices
        // have the same length; z and t are not given.
        unsafe {
            ffi::proj_trans_generic(
                self.raw,
                direction,
                xs.as_mut_ptr(),
                stride,
                xs.len(),
                ys.as_mut_ptr(),
                stride,
                ys.len().min(xs.len()),
                ptr::null_mut(),
                0,
                0,
                ptr::null_mut(),
                0,
                0,
            );
        }
        for (x, y) in xs.iter_mut().zip(ys.iter_mut()) {
            if !x.is_finite() || !y.is_finite() {
                (*x, *y) = (f64::INFINITY, f64::INFINITY);
            }
        }
    }

    fn is_identity(&self) -> bool {
        self.raw.is_null()
    }
}

impl Drop for Transformer {
    fn drop(&mut self) {
        // SAFETY: owned; destroying null is allowed.
        unsafe { ffi::proj_destroy(self.raw) };
    }
}

/// An owned PROJ object that is not a transformation.
struct Object(*mut ffi::PJ);

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { ffi::proj_destroy(self.0) };
    }
}

/// A PROJ context.
struct Context {
    raw: *mut ffi::PJ_CONTEXT,
    /// The last thing PROJ complained about; boxed, since PROJ keeps its address.
    complaint: Box<RefCell<String>>,
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: owned; every object made in it is gone.
        unsafe { ffi::proj_context_destroy(self.raw) };
    }
}

impl Context {
    fn new() -> Context {
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

    fn object(&self, definition: &str) -> Result<Object> {
        let reject = |why: &str| {
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            let shown: String = definition.chars().take(120).collect();
            Error::Crs(format!(
                "unknown CRS '{shown}'{why}; give an authority code such as 'EPSG:32615', WKT, PROJJSON or a PROJ string"
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

    /// Whether a CRS is geographic, and its axes in degrees.
    fn is_in_degrees(&self, object: &Object) -> bool {
        let mut unit = 0.0;
        // SAFETY: the objects are live and of this context; what is not asked for may be null.
        unsafe {
            let kind = ffi::proj_get_type(object.0);
            if kind != ffi::PJ_TYPE_PJ_TYPE_GEOGRAPHIC_2D_CRS && kind != ffi::PJ_TYPE_PJ_TYPE_GEOGRAPHIC_3D_CRS {
                return false;
            }
            let axes = Object(ffi::proj_crs_get_coordinate_system(self.raw, object.0));
            let none = ptr::null_mut;
            !axes.0.is_null()
                && ffi::proj_cs_get_axis_info(
                    self.raw,
                    axes.0,
                    0,
                    none(),
                    none(),
                    none(),
                    &raw mut unit,
                    none(),
                    none(),
                    none(),
                ) != 0
                && (unit - 1f64.to_radians()).abs() < 1e-12
        }
    }

    /// The name of the unit of the first axis; `None` where a CRS has no axes of its own, as a bound one.
    fn unit_name(&self, object: &Object) -> Option<String> {
        let mut name: *const c_char = ptr::null();
        // SAFETY: the objects are live and of this context; what is not asked for may be null; the name lives as long as the axes.
        unsafe {
            let axes = Object(ffi::proj_crs_get_coordinate_system(self.raw, object.0));
            let none = ptr::null_mut;
            let found = !axes.0.is_null()
                && ffi::proj_cs_get_axis_info(
                    self.raw,
                    axes.0,
                    0,
                    none(),
                    none(),
                    none(),
                    ptr::null_mut(),
                    &raw mut name,
                    none(),
                    none(),
                ) != 0;
            (found && !name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    }

    fn equivalent(&self, a: &Crs, b: &Crs) -> Result<bool> {
        let (a, b) = (self.object(&a.definition)?, self.object(&b.definition)?);
        let criterion = ffi::PJ_COMPARISON_CRITERION_PJ_COMP_EQUIVALENT_EXCEPT_AXIS_ORDER_GEOGCRS;
        // SAFETY: both objects are live and of this context.
        Ok(unsafe { ffi::proj_is_equivalent_to_with_ctx(self.raw, a.0, b.0, criterion) } != 0)
    }

    fn operation(&self, from: &Crs, to: &Crs) -> Result<*mut ffi::PJ> {
        let (source, target) = (self.object(&from.definition)?, self.object(&to.definition)?);
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
        if raw.is_null() {
            return Err(Error::Crs(format!(
                "no transformation from '{}' to '{}' ({})",
                from.definition,
                to.definition,
                self.complaint.borrow()
            )));
        }
        Ok(raw)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_utm_to_longitude_latitude() {
        let t = transformer(&Crs::new("EPSG:32615").unwrap(), &LONLAT).unwrap();
        let (lon, lat) = t.point(500_000.0, 0.0);
        assert!((lon + 93.0).abs() < 1e-9 && lat.abs() < 1e-9, "{lon} {lat}");
    }

    #[test]
    fn axis_order_is_ignored() {
        assert!(Crs::new("EPSG:4326").unwrap().same_as(&LONLAT));
        assert!(!Crs::new("EPSG:32615").unwrap().same_as(&LONLAT));
        let t = transformer(&Crs::new("EPSG:4326").unwrap(), &Crs::new("EPSG:3857").unwrap()).unwrap();
        let (x, y) = t.point(90.0, 0.0);
        assert!((x - 10_018_754.17).abs() < 0.01 && y.abs() < 1e-6, "{x} {y}");
    }

    #[test]
    fn only_degrees_come_round() {
        let turn = |code: &str| Crs::new(code).unwrap().turn();
        assert_eq!([turn("EPSG:4326"), turn("OGC:CRS84"), turn("EPSG:4979"), LONLAT.turn()], [Some(360.0); 4]);
        // NTF (Paris) counts in grads.
        assert_eq!([turn("EPSG:32615"), turn("EPSG:3857"), turn("EPSG:4807")], [None; 3]);
    }

    #[test]
    fn a_proj_string_is_a_crs() {
        let crs = Crs::new("+proj=sinu +R=6371007.181 +units=m").unwrap();
        let (x, _) = transformer(&LONLAT, &crs).unwrap().point(1.0, 0.0);
        assert!((x - 6_371_007.181_f64.to_radians()).abs() < 1.0, "{x}");
    }

    #[test]
    fn nonsense_is_named() {
        let message = Crs::new("EPSG:1").unwrap_err().to_string();
        assert!(message.starts_with("unknown CRS 'EPSG:1'") && message.contains("EPSG:32615"), "{message}");
        assert!(Crs::new("+proj=pipeline +step +proj=axisswap").is_err());
    }

    #[test]
    fn no_file_is_opened() {
        // A pipe without a writer: whoever opens it waits until there is one.
        let pipe = std::env::temp_dir().join(format!("lazycogs-crs-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()), "no pipe");
        let (sender, receiver) = std::sync::mpsc::channel();
        let path = pipe.display().to_string();
        std::thread::spawn(move || {
            let init = Crs::new(&format!("+init={path}:x")).is_err();
            let grids = Crs::new(&format!("+proj=longlat +ellps=WGS84 +nadgrids={path}"));
            let grids = grids.and_then(|crs| transformer(&crs, &LONLAT).map(|t| t.point(1.0, 2.0)));
            sender.send((init, grids)).unwrap();
        });
        let answer = receiver.recv_timeout(std::time::Duration::from_secs(20));
        std::fs::remove_file(&pipe).unwrap();
        let (init, grids) = answer.expect("PROJ waits for a file");
        assert!(init && grids.is_err(), "{grids:?}");
        let null_grid = Crs::new("+proj=merc +a=6378137 +b=6378137 +nadgrids=@null").unwrap();
        assert!(transformer(&LONLAT, &null_grid).unwrap().point(90.0, 0.0).0.is_finite(), "a grid that is no file");
    }

    #[test]
    fn copies_and_ways_back_agree_with_their_original() {
        let (grid, utm) = (Crs::new("EPSG:5070").unwrap(), Crs::new("EPSG:32616").unwrap());
        let point = (500_123.0, 2_400_456.0);
        let leases: Vec<Lease> = (0..3).map(|_| transformer(&grid, &utm).unwrap()).collect();
        let found: Vec<(f64, f64)> = leases.iter().map(|t| t.point(point.0, point.1)).collect();
        assert!(found.iter().all(|f| *f == found[0] && f.0.is_finite()), "{found:?}");
        let back = way_back(&grid, &utm).unwrap().point(found[0].0, found[0].1);
        assert!((back.0 - point.0).abs() < 1e-6 && (back.1 - point.1).abs() < 1e-6, "{back:?}");
        let own = transformer(&utm, &grid).unwrap().point(found[0].0, found[0].1);
        assert!((back.0 - own.0).abs() < 1e-6 && (back.1 - own.1).abs() < 1e-6, "{back:?} {own:?}");
    }

    #[test]
    fn a_point_without_an_image_is_infinite() {
        let t = transformer(&LONLAT, &Crs::new("+proj=ortho +lon_0=0 +lat_0=0").unwrap()).unwrap();
        assert!(t.point(180.0, 0.0).0.is_infinite());
    }
}
