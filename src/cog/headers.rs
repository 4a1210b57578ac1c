//! Headers read once: kept by the query, and by the process as long as a version tells that they are those of the file.
//!
//! Callers of one query that want the same header wait for one read, and share its failure: they have the same limits.
//! Those of different queries wait for each other only while the read is really under way, no longer than one of their own
//! requests might take, and share nothing but its success.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use moka::future::Cache;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::opened::{Opened, place};
use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::store::counters::{COUNTERS, add};
use crate::store::{ByteSource, FileVersion, Location, Object, Version};

/// Bytes of headers that the process keeps, and that each query keeps beside them.
const PROCESS_BYTES: u64 = 128 << 20;
const QUERY_BYTES: u64 = 16 << 20;

/// What makes two headers the same: the location, the version of a local file, what decides who answers, and what STAC says of
/// the CRS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    location: Location,
    version: Option<FileVersion>,
    identity: String,
    crs: Option<Arc<str>>,
}

impl Key {
    fn of(object: &Object, crs: Option<&Arc<str>>) -> Key {
        Key {
            location: object.location().clone(),
            version: object.file_version(),
            identity: object.identity(),
            crs: crs.cloned(),
        }
    }

    /// Whether the next query may be sure that the header is still that of the file. What a server says of the version is compared
    /// with each later answer, see [`Opened::pin`]; a young file may change once more and look the same.
    fn outlives_its_query(&self, object: &Object, version: &Version) -> bool {
        match &self.location {
            Location::File(_) => self.version.is_some_and(|version| version.is_settled()),
            _ => !object.is_foreign() && version.is_told(),
        }
    }
}

fn cache(bytes: u64) -> Cache<Key, Arc<Opened>> {
    let weigh = |_: &Key, opened: &Arc<Opened>| u32::try_from(opened.cog.memory()).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(bytes).weigher(weigh).build()
}

static PROCESS: LazyLock<Cache<Key, Arc<Opened>>> = LazyLock::new(|| cache(PROCESS_BYTES));

/// Bytes of the headers that the process keeps.
pub fn bytes_held() -> u64 {
    futures::executor::block_on(PROCESS.run_pending_tasks());
    PROCESS.weighted_size()
}

/// The headers of one query.
pub struct Headers {
    known: Cache<Key, Arc<Opened>>,
    scans: AtomicU64,
}

impl Default for Headers {
    fn default() -> Self {
        Headers { known: cache(QUERY_BYTES), scans: AtomicU64::new(0) }
    }
}

impl Headers {
    /// A prepared statement is bound once and runs any number of times: each run but the first forgets what the query knows.
    pub fn begin_scan(&self) {
        if self.scans.fetch_add(1, Ordering::Relaxed) > 0 {
            self.known.invalidate_all();
        }
    }

    /// Opens a COG, or takes it from those that are known. `crs` is what STAC says, for a file that does not say it itself.
    ///
    /// # Errors
    /// What [`super::open`] and [`super::Cog::georeference`] say; a CRS that PROJ refuses. A failure is not kept.
    pub async fn open(&self, object: &Arc<Object>, crs: Option<&Arc<str>>) -> Result<Arc<Opened>> {
        let key = Key::of(object, crs);
        let known = match self.known.get(&key).await {
            Some(opened) => Some(opened),
            None => PROCESS.get(&key).await,
        };
        if let Some(opened) = known {
            add(&COUNTERS.header_hits, 1);
            return Ok(opened);
        }
        let opened = self.known.try_get_with(key.clone(), read(object.clone(), key));
        opened.await.map_err(|e: Arc<Error>| (*e).clone())
    }

    /// Forgets a header, after the object turned out to have been replaced.
    pub async fn forget(&self, object: &Object, crs: Option<&Arc<str>>) {
        let key = Key::of(object, crs);
        self.known.invalidate(&key).await;
        PROCESS.invalidate(&key).await;
    }
}

/// Reads a header, unless another query does so just now. The permit comes first, out of the query's own: who waits in the queue
/// of another query would wait for its limits.
async fn read(object: Arc<Object>, key: Key) -> Result<Arc<Opened>> {
    let permitted = object.permitted().await?;
    let patience = Instant::now() + object.patience();
    let _claim = loop {
        if let Some(opened) = PROCESS.get(&key).await {
            return Ok(opened);
        }
        match Claim::of(&key) {
            Ok(claim) => break Some(claim),
            // It ended, well or badly, or takes longer than a read of our own may.
            Err(mut other) => {
                if timeout_at(patience, other.changed()).await.is_err() {
                    break None;
                }
            }
        }
    };
    add(&COUNTERS.header_misses, 1);
    let source: &dyn ByteSource = &permitted;
    let cog = super::open(source).await?;
    let version = object.version();
    let outlives = key.outlives_its_query(&object, &version);
    let opened = Arc::new(place(cog, key.crs.as_deref(), version)?);
    if outlives {
        PROCESS.insert(key, opened.clone()).await;
    }
    Ok(opened)
}

/// Headers that some query reads now, and the process that it belongs to: a forked child's parent will not tell it of an end.
static READING: Mutex<(u32, Option<Reading>)> = Mutex::new((0, None));
type Reading = HashMap<Key, watch::Receiver<()>>;

fn reading<R>(body: impl FnOnce(&mut Reading) -> R) -> R {
    let mut reading = lock(&READING);
    let process = std::process::id();
    if reading.0 != process {
        *reading = (process, None);
    }
    body(reading.1.get_or_insert_default())
}

/// Until it is dropped, others wait for this read.
struct Claim {
    key: Key,
    _end: watch::Sender<()>,
}

impl Claim {
    /// The claim, or the news of the end of somebody else's.
    fn of(key: &Key) -> std::result::Result<Claim, watch::Receiver<()>> {
        reading(|reading| match reading.get(key) {
            Some(other) => Err(other.clone()),
            None => {
                let (end, told) = watch::channel(());
                reading.insert(key.clone(), told);
                Ok(Claim { key: key.clone(), _end: end })
            }
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        reading(|reading| reading.remove(&self.key));
    }
}
