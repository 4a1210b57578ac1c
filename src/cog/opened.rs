//! COGs opened once per process: headers are kept, and callers that want the same one wait for one read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use moka::future::Cache;

use super::{Cog, CogCrs, Level};
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Affine;
use crate::store::counters::{COUNTERS, add};
use crate::store::{Location, Object};

/// Bytes of headers that are kept.
const CACHE_BYTES: u64 = 128 << 20;

/// A COG whose place on the Earth is known.
#[derive(Debug)]
pub struct Opened {
    /// Tells one opened COG from another as long as the process lives.
    pub id: u64,
    pub cog: Cog,
    pub crs: Crs,
    /// Pixel corner of the full resolution to CRS.
    pub transform: Affine,
    etag: Option<String>,
}

impl Opened {
    /// Pixel corner of `level` to CRS.
    pub fn level_transform(&self, level: usize) -> Affine {
        let (full, level) = (&self.cog.levels[0], &self.cog.levels[level]);
        let scale = |full: u32, level: u32| f64::from(full) / f64::from(level.max(1));
        self.transform.scaled(scale(full.width, level.width), scale(full.height, level.height))
    }

    pub fn level(&self, level: usize) -> &Level {
        &self.cog.levels[level]
    }

    /// Makes later reads of `object` fail where it is no longer the version whose header this is.
    pub fn pin(&self, object: &Object) {
        object.expect_etag(self.etag.clone());
    }
}

/// A file is another one when its size or time changes; behind a URL only an ETag could tell, see [`Opened::pin`].
type Key = (Location, Option<(u64, SystemTime)>, String, Option<Arc<str>>);

static CACHE: LazyLock<Cache<Key, Arc<Opened>>> = LazyLock::new(|| {
    Cache::builder()
        .max_capacity(CACHE_BYTES)
        .weigher(|_, opened: &Arc<Opened>| u32::try_from(opened.cog.memory()).unwrap_or(u32::MAX))
        .build()
});
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

fn key(object: &Object, crs: Option<&Arc<str>>) -> Key {
    (object.location().clone(), object.file_version(), object.identity(), crs.cloned())
}

/// Opens a COG, or takes it from the cache. `crs` is what STAC says, for a file that does not say it itself.
///
/// # Errors
/// What [`super::open`] and [`Cog::georeference`] say; a CRS that PROJ refuses. A failure is not kept.
pub async fn open_cached(object: &Object, crs: Option<&Arc<str>>) -> Result<Arc<Opened>> {
    let key = key(object, crs);
    if let Some(opened) = CACHE.get(&key).await {
        add(&COUNTERS.header_hits, 1);
        return Ok(opened);
    }
    let opened = CACHE.try_get_with(key, async {
        add(&COUNTERS.header_misses, 1);
        open(object, crs.map(|c| &**c)).await.map(Arc::new)
    });
    opened.await.map_err(|e: Arc<Error>| (*e).clone())
}

/// Whether the header is in the cache.
pub fn is_cached(object: &Object, crs: Option<&Arc<str>>) -> bool {
    CACHE.contains_key(&key(object, crs))
}

/// Bytes of the headers that are in the cache.
pub fn bytes_held() -> u64 {
    futures::executor::block_on(CACHE.run_pending_tasks());
    CACHE.weighted_size()
}

/// Forgets a header, after the object turned out to have been replaced.
pub async fn forget(object: &Object, crs: Option<&Arc<str>>) {
    CACHE.invalidate(&key(object, crs)).await;
}

async fn open(object: &Object, stac_crs: Option<&str>) -> Result<Opened> {
    let cog = super::open(object).await?;
    place(cog, stac_crs, object.etag())
}

/// Finds out where the pixels of `cog` lie.
pub(crate) fn place(cog: Cog, stac_crs: Option<&str>, etag: Option<String>) -> Result<Opened> {
    let (transform, definition) = match (cog.georeference(), stac_crs, cog.transform) {
        (Ok((transform, definition)), _, _) => (transform, definition.to_owned()),
        (Err(Error::Crs(_)), Some(stac), Some(transform)) => (transform, stac.to_owned()),
        (Err(Error::Crs(why)), None, _) => {
            return Err(Error::Crs(format!("{why}, and the item has no proj:code, proj:wkt2 or proj:projjson")));
        }
        (Err(e), _, _) => return Err(e),
    };
    let crs = match (Crs::new(&definition), stac_crs) {
        (Ok(crs), _) => crs,
        // PROJ may refuse what odd geokeys say where the item says it well.
        (Err(_), Some(stac)) if matches!(cog.crs, CogCrs::Definition(_)) => Crs::new(stac)?,
        (Err(e), _) => return Err(e),
    };
    Ok(Opened { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), cog, crs, transform, etag })
}
