//! Transformations between two CRSs.
//!
//! A PROJ object is used by one thread at a time: a transformer is taken from a pool and goes back to it. Making one takes tens
//! of milliseconds, so that one is made for each pair of CRSs, and copied for as many threads as need it at once.

use std::collections::HashMap;
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex};

use proj_sys as ffi;

use super::proj::{Context, Object, shown};
use super::{Crs, Pair};
use crate::error::{Error, Result};
use crate::mutex::lock;

/// Transformers that nobody uses.
static POOL: LazyLock<Mutex<HashMap<Pair, Vec<Transformer>>>> = LazyLock::new(Mutex::default);
/// Pairs that are kept; more are made anew when they are needed.
const POOL_LIMIT: usize = 64;
/// Transformers of one pair that are kept.
const KEPT_OF_PAIR: usize = 64;

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
    if from.body() != to.body() {
        let place = |crs: &Crs| format!("'{}' is on {}", shown(crs.definition()), crs.body());
        return Err(Error::Crs(format!("{}, {}: one call reads one celestial body", place(from), place(to))));
    }
    if from.same_as(to) {
        return Ok(Lease { pair, transformer: None, direction });
    }
    let kept = lock(&POOL).get_mut(&pair).and_then(Vec::pop);
    let transformer = match kept {
        Some(transformer) => transformer,
        None => copy_of_original(&pair)?,
    };
    Ok(Lease { pair, transformer: Some(transformer), direction })
}

/// A warning where the places of `points`, taken from one CRS to another, are uncertain: PROJ knows nothing between two known
/// datums there, and takes the one for the other (a ballpark transformation). Where a datum is declared unknown there is
/// nothing else to do, and nothing to warn of.
///
/// # Errors
/// As [`transformer`].
pub fn caution(from: &Crs, to: &Crs, points: &[(f64, f64)]) -> Result<Option<String>> {
    let (Some(one), Some(other)) = (from.datum(), to.datum()) else { return Ok(None) };
    let lease = transformer(from, to)?;
    let ballpark = |(x, y): &(f64, f64)| {
        let (x, _) = lease.point(*x, *y);
        x.is_finite() && lease.transformer.as_ref().is_some_and(Transformer::was_ballpark)
    };
    if lease.is_identity() || !points.iter().any(ballpark) {
        return Ok(None);
    }
    Ok(Some(format!(
        "ballpark transformation: without its grids PROJ knows no way from datum '{one}' to '{other}' here and takes the one for the \
         other, which may put pixels off by hundreds of metres; read in a CRS on the datum of the files"
    )))
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

/// A transformer on loan from the pool. It may go to another thread, and not be shared with one: a PROJ object is used by one at
/// a time.
pub struct Lease {
    pair: Pair,
    /// `None` for the identity, and while it is given back.
    transformer: Option<Transformer>,
    direction: ffi::PJ_DIRECTION,
}

impl Lease {
    /// Transforms points in place. A point without an image becomes infinite.
    pub fn transform(&self, xs: &mut [f64], ys: &mut [f64]) {
        if let Some(transformer) = &self.transformer {
            transformer.transform(xs, ys, self.direction);
        }
    }

    pub fn point(&self, x: f64, y: f64) -> (f64, f64) {
        let (mut xs, mut ys) = ([x], [y]);
        self.transform(&mut xs, &mut ys);
        (xs[0], ys[0])
    }

    pub fn is_identity(&self) -> bool {
        self.transformer.is_none()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(transformer) = self.transformer.take() else { return };
        let mut pool = lock(&POOL);
        if pool.len() >= POOL_LIMIT && !pool.contains_key(&self.pair) {
            pool.clear();
        }
        let kept = pool.entry(self.pair.clone()).or_default();
        if kept.len() < KEPT_OF_PAIR {
            kept.push(transformer);
        }
    }
}

/// A transformation, with the context it lives in.
struct Transformer {
    /// Not null. Destroyed before its context.
    raw: *mut ffi::PJ,
    context: Context,
}

// SAFETY: object and context are owned together and reached only through the transformer, which is not `Sync`; PROJ ties
// neither to the thread that made it.
unsafe impl Send for Transformer {}

impl Transformer {
    fn new(from: &Crs, to: &Crs) -> Result<Transformer> {
        let context = Context::new();
        let raw = context.operation(from.definition(), to.definition())?.leak();
        Ok(Transformer { raw, context })
    }

    /// The same transformation for another user.
    fn copy(&self) -> Result<Transformer> {
        let context = Context::new();
        // SAFETY: the object is live, and used by nobody else while its original is locked; the copy belongs to the new context.
        let raw = unsafe { ffi::proj_clone(context.raw, self.raw) };
        if raw.is_null() {
            return Err(Error::Crs(format!("a transformation cannot be copied ({})", context.complaint())));
        }
        Ok(Transformer { raw, context })
    }

    /// Transforms points in place. A point without an image becomes infinite.
    fn transform(&self, xs: &mut [f64], ys: &mut [f64], direction: ffi::PJ_DIRECTION) {
        debug_assert_eq!(xs.len(), ys.len());
        if xs.is_empty() {
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

    /// Whether PROJ calls what it did to the last point a ballpark transformation: it took the one datum for the other.
    fn was_ballpark(&self) -> bool {
        // SAFETY: object and context are live and ours alone; the result is null or ours.
        unsafe {
            let used = Object(ffi::proj_trans_get_last_used_operation(self.raw));
            !used.0.is_null() && ffi::proj_coordoperation_has_ballpark_transformation(self.context.raw, used.0) != 0
        }
    }
}

impl Drop for Transformer {
    fn drop(&mut self) {
        // SAFETY: owned; destroying null is allowed.
        unsafe { ffi::proj_destroy(self.raw) };
    }
}
