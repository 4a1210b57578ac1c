//! The reads of one query: options, a bound on requests in flight, retries.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::counters::{COUNTERS, add};
use super::{Access, ByteSource, Location, cloud, http};
use crate::buffers;
use crate::error::{Error, Result};
use crate::pixels::Pixels;
use crate::runtime;

/// How a query reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// object_store configuration keys.
    pub store: BTreeMap<String, String>,
    /// Requests in flight, at least 1.
    pub max_concurrent: usize,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Further attempts after the first.
    pub max_retries: usize,
    pub access: Access,
}

/// What the objects of one query share.
#[derive(Debug, Clone)]
pub struct Session {
    options: Arc<Options>,
    permits: Arc<Semaphore>,
}

impl Session {
    pub fn new(options: Options) -> Session {
        let permits = Arc::new(Semaphore::new(options.max_concurrent.max(1)));
        Session { options: Arc::new(options), permits }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// # Errors
    /// As [`Session::check`].
    pub fn object(&self, location: Location) -> Result<Object> {
        self.check(&location)?;
        Ok(Object { location, session: self.clone(), etag: Mutex::default() })
    }

    /// # Errors
    /// A location that DuckDB's settings forbid.
    pub fn check(&self, location: &Location) -> Result<()> {
        self.options.access.check(location)
    }
}

/// One object of a store.
#[derive(Debug)]
pub struct Object {
    location: Location,
    session: Session,
    /// The ETag of the first answer; every later one must have the same.
    etag: Mutex<Option<String>>,
}

impl Object {
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// What tells one version of a local file from another without reading it.
    pub fn file_version(&self) -> Option<(u64, SystemTime)> {
        let Location::File(path) = &self.location else { return None };
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    /// The options that decide which object the location names.
    pub fn identity(&self) -> String {
        let pairs: Vec<_> = self.session.options.store.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.join(";")
    }

    /// Expects the version of an earlier read: another one is an error.
    pub fn expect_etag(&self, etag: Option<String>) {
        *self.etag.lock().unwrap_or_else(PoisonError::into_inner) = etag;
    }

    pub fn etag(&self) -> Option<String> {
        self.etag.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check_etag(&self, etag: Option<String>) -> Result<()> {
        let mut known = self.etag.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.as_deref(), etag) {
            (Some(known), Some(etag)) if known != etag => Err(Error::Changed(format!(
                "the object was replaced since its header was read (its ETag changed from {known} to {etag}); run the query \
                 again"
            ))),
            (None, Some(etag)) => {
                *known = Some(etag);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn read_http(&self, url: &url::Url, range: Range<u64>) -> Result<Bytes> {
        let options = self.session.options();
        let client = runtime::http_client()?;
        let mut attempt = 0;
        loop {
            add(&COUNTERS.requests, 1);
            match http::get(&client, url, range.clone(), options.timeout).await {
                Ok(fetched) => {
                    self.check_etag(fetched.etag)?;
                    return Ok(fetched.bytes);
                }
                Err(failure) if failure.retry && attempt < options.max_retries => {
                    attempt += 1;
                    add(&COUNTERS.retries, 1);
                    tokio::time::sleep(backoff(attempt, failure.wait)).await;
                }
                Err(failure) => {
                    add(&COUNTERS.failures, 1);
                    let attempts = attempt as u64 + 1;
                    let after = if attempt > 0 { format!(" (after {attempts} attempts)") } else { String::new() };
                    return Err(Error::Http { message: format!("{}{after}", failure.message), attempts });
                }
            }
        }
    }

    async fn read_cloud(&self, url: &url::Url, range: Range<u64>) -> Result<Bytes> {
        let options = self.session.options();
        let (store, path) = cloud::client(url, &options.store, options.timeout, options.max_retries)?;
        add(&COUNTERS.requests, 1);
        match cloud::get(store.as_ref(), &path, range).await {
            Ok((bytes, etag)) => {
                add(&COUNTERS.bytes, bytes.len() as u64);
                self.check_etag(etag)?;
                Ok(bytes)
            }
            Err(e) => {
                add(&COUNTERS.failures, 1);
                Err(Error::Store(e.to_string()))
            }
        }
    }
}

#[async_trait]
impl ByteSource for Object {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let _permit = self.session.permits.acquire().await.map_err(|_| Error::Cancelled)?;
        match &self.location {
            Location::Http(url) => self.read_http(url, range).await,
            Location::Cloud(url) => self.read_cloud(url, range).await,
            Location::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || read_file(&path, range)).await.map_err(|_| Error::Cancelled)?
            }
        }
    }
}

/// The file is opened for each read: a catalog has more files than a process may hold open.
fn read_file(path: &Path, range: Range<u64>) -> Result<Bytes> {
    let failed = |e: std::io::Error| {
        add(&COUNTERS.failures, 1);
        Error::Store(match e.kind() {
            std::io::ErrorKind::NotFound => "no such file".into(),
            _ => e.to_string(),
        })
    };
    add(&COUNTERS.requests, 1);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(std::io::Error::other("it is a folder, not a file")));
    }
    let end = range.end.min(metadata.len());
    let start = range.start.min(end);
    let mut bytes: Vec<u8> = buffers::take((end - start) as usize);
    read_at(&file, &mut bytes, start).map_err(failed)?;
    add(&COUNTERS.bytes, bytes.len() as u64);
    Ok(Bytes::from_owner(Reused(bytes)))
}

/// Bytes whose buffer is used again when the last reference to them goes.
struct Reused(Vec<u8>);

impl AsRef<[u8]> for Reused {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Reused {
    fn drop(&mut self) {
        buffers::give(Pixels::UInt8(std::mem::take(&mut self.0)));
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

/// Exponential backoff with jitter, or what the server asked for, never above half a minute.
fn backoff(attempt: usize, asked: Option<Duration>) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30);
    // The sub-microsecond digits of the clock are jitter enough to spread the retries of one burst.
    let noise = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos() % 1000);
    let base = Duration::from_millis(100) * 2u32.saturating_pow(attempt.min(8) as u32 - 1);
    let jittered = base.mul_f64(0.5 + f64::from(noise) / 1000.0);
    asked.unwrap_or(Duration::ZERO).max(jittered).min(LONGEST)
}
