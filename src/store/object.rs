//! One object, read range by range: retries, versions, signatures where they turn out to be needed.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use moka::sync::Cache;
use url::Url;

use super::address::{Service, is_region};
use super::config::{Config, Origin};
use super::counters::{COUNTERS, add, count_bytes, count_request};
use super::file::{FileVersion, file_version, read_file};
use super::hints::Hints;
use super::http::{self, Failure, Fetched, backoff};
use super::permits::Permit;
use super::session::{Route, Session};
use super::shown::Secrets;
use super::{ByteSource, Files, Location, Version, cloud};
use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::runtime::{self, Blocking};

/// So many buckets are known to be in another region than was thought.
const REGIONS_KEPT: u64 = 1024;

/// In which region a bucket turned out to be, by endpoint and bucket.
static REGIONS: LazyLock<Cache<(Option<String>, String), String>> = LazyLock::new(|| Cache::new(REGIONS_KEPT));

/// One object of a store.
pub struct Object {
    location: Location,
    route: Route,
    session: Session,
    /// What the answers so far said: a later one must not contradict it.
    known: Mutex<Version>,
}

impl std::fmt::Debug for Object {
    /// The route holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({})", self.location)
    }
}

impl Session {
    /// The object at `location`; `hints` are what its item says about the store.
    ///
    /// # Errors
    /// As [`Session::check`]; a URL that names no object of a bucket.
    pub fn object(&self, location: Location, hints: Option<&Hints>) -> Result<Object> {
        self.check(&location)?;
        let route = self.route(&location, hints)?;
        Ok(Object::new(location, route, self.clone()))
    }
}

impl Object {
    pub(super) fn new(location: Location, route: Route, session: Session) -> Object {
        Object { location, route, session, known: Mutex::default() }
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// As [`file_version`]; `None` too for what is no local file.
    pub fn file_version(&self) -> Option<FileVersion> {
        let Location::File(path) = &self.location else { return None };
        file_version(path)
    }

    /// The options that decide which object the location names.
    pub fn identity(&self) -> String {
        let mut pairs: Vec<_> = self.session.options().store.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if let Route::Store(config) = &self.route {
            pairs.extend(config.endpoint().map(|endpoint| endpoint.value.clone()));
            pairs.extend(config.account().map(|account| account.value.clone()));
        }
        if let Route::Files(files) = &self.route {
            pairs.push(format!("files of database {}", files.database()));
        }
        pairs.join(";")
    }

    /// Whether somebody else's file system reads it, which tells no versions.
    pub fn is_foreign(&self) -> bool {
        matches!(self.route, Route::Files(_))
    }

    /// Longest time for one request.
    pub fn patience(&self) -> Duration {
        self.session.options().timeout
    }

    /// Waits for the right to have a request in flight.
    ///
    /// # Errors
    /// The waiter was forgotten.
    pub async fn permitted(&self) -> Result<Permitted<'_>> {
        let permit = self.session.permits.acquire().await.ok_or(Error::Cancelled)?;
        Ok(Permitted { object: self, _permit: permit })
    }

    async fn read_now(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let read = match (&self.route, &self.location) {
            (Route::Files(files), _) => self.read_through(files.clone(), range).await,
            (_, Location::File(path)) => self.read_local(path.clone(), range).await,
            _ => self.session.traffic().clone().of(self.read_remote(range)).await,
        };
        // A server may repeat what it was sent, and a library where it was sent to.
        read.map_err(|error| error.reworded(|message| self.secrets().hide(&message)))
    }

    async fn read_local(&self, path: PathBuf, range: Range<u64>) -> Result<Bytes> {
        let (session, traffic) = (self.session.clone(), self.session.traffic().clone());
        let read = move || traffic.of_blocking(|| read_file(&path, range, &session.options().access));
        let (bytes, version) = runtime::blocking(Blocking::Files, read).await??;
        self.check(version.map(Version::of_tag).unwrap_or_default())?;
        Ok(bytes)
    }

    /// Expects the version of an earlier read: another one is an error.
    pub fn expect(&self, version: Version) {
        *lock(&self.known) = version;
    }

    pub fn version(&self) -> Version {
        lock(&self.known).clone()
    }

    fn check(&self, version: Version) -> Result<()> {
        let mut known = lock(&self.known);
        match (known.change(&version), &self.location) {
            (None, _) => {
                known.complete(version);
                Ok(())
            }
            (Some(_), Location::File(_)) => {
                let message = "the file was replaced since its header was read; run the query again";
                Err(Error::Changed(message.to_owned()))
            }
            (Some(change), _) => Err(Error::Changed(format!(
                "the object was replaced since its header was read ({change}); run the query again"
            ))),
        }
    }

    async fn read_remote(&self, range: Range<u64>) -> Result<Bytes> {
        // Some stores refuse to be asked for what is beyond the end, and do not say where that is.
        if lock(&self.known).size.is_some_and(|size| size <= range.start) {
            return Ok(Bytes::new());
        }
        let outcome = match (&self.route, &self.location) {
            (Route::Store(config), _) => self.read_store(config, range).await,
            (Route::Http(store), Location::Http(url)) => self.read_http(url, store.as_deref(), range).await,
            _ => return Err(Error::Store(format!("{} is no URL", self.location))),
        };
        match outcome {
            Ok(fetched) => {
                self.check(fetched.version)?;
                Ok(fetched.bytes)
            }
            Err(Failed { failure, attempts }) => {
                add(&COUNTERS.failures, 1);
                let after = if attempts > 1 { format!(" (after {attempts} attempts)") } else { String::new() };
                Err(Error::Http { message: format!("{}{after}", failure.message), attempts })
            }
        }
    }

    async fn read_through(&self, files: Arc<dyn Files>, range: Range<u64>) -> Result<Bytes> {
        let (path, traffic) = (self.location.as_given(), self.session.traffic().clone());
        let read = move || {
            traffic.of_blocking(|| {
                count_request();
                files.read(&path, range).inspect(|bytes| count_bytes(bytes.len() as u64))
            })
        };
        let read = runtime::blocking(Blocking::Foreign, read).await?;
        read.map(Bytes::from).map_err(|error| match error {
            Error::Store(message) => {
                add(&COUNTERS.failures, 1);
                Error::Store(message)
            }
            other => other,
        })
    }

    async fn read_http(&self, url: &Url, store: Option<&Config>, range: Range<u64>) -> Result<Fetched, Failed> {
        let bucket = store.map(|config| (config.address.service, config.address.bucket.clone()));
        if let (Some(config), Some(bucket)) = (store, &bucket)
            && lock(&self.session.signed).contains(bucket)
        {
            return self.read_store(config, range).await;
        }
        let options = self.session.options();
        let client = runtime::http_client()?;
        let plain = self.persist(|| http::get(&client, url, range.clone(), options.timeout, &options.access)).await;
        match (plain, store, bucket) {
            (Err(refused), Some(config), Some(bucket)) if asks_for_signature(config, &refused.failure) => {
                let fetched = self.read_store(config, range).await?;
                lock(&self.session.signed).insert(bucket);
                Ok(fetched)
            }
            (plain, ..) => plain,
        }
    }

    async fn read_store(&self, config: &Config, range: Range<u64>) -> Result<Fetched, Failed> {
        let place = (config.endpoint().map(|endpoint| endpoint.value.clone()), config.address.bucket.clone());
        let moved = REGIONS.get(&place);
        let first = match moved.filter(|_| is_free(config)) {
            Some(region) => self.read_bucket(&config.in_region(region), range.clone()).await,
            None => self.read_bucket(config, range.clone()).await,
        };
        let Err(Failed { mut failure, attempts }) = first else { return first };
        let region = failure.region.take().filter(|region| is_region(region));
        let Some(region) = region.filter(|region| config.region().is_none_or(|own| own.value != *region)) else {
            return Err(Failed { failure, attempts });
        };
        if !is_free(config) {
            failure.message += &format!("; the bucket is in the region '{region}', not in that of store_options");
            return Err(Failed { failure, attempts });
        }
        let fetched = self.read_bucket(&config.in_region(region.clone()), range).await?;
        REGIONS.insert(place, region);
        Ok(fetched)
    }

    async fn read_bucket(&self, config: &Config, range: Range<u64>) -> Result<Fetched, Failed> {
        let timeout = self.session.options().timeout;
        let store = cloud::client(config, timeout)?;
        let start = range.start;
        let read = || async {
            let sent = tokio::time::timeout(timeout, cloud::get(store.as_ref(), config, range.clone())).await;
            sent.unwrap_or_else(|_| Err(Failure::passing("timed out".into())))
        };
        match self.persist(read).await {
            Err(Failed { failure, .. }) if failure.size.is_some_and(|size| size <= start) => {
                Ok(Fetched { bytes: Bytes::new(), version: Version::of_size(failure.size) })
            }
            outcome => outcome,
        }
    }

    /// Tries again what failed for a passing reason.
    async fn persist<F>(&self, attempt: impl Fn() -> F) -> Result<Fetched, Failed>
    where
        F: Future<Output = Result<Fetched, Failure>>,
    {
        let mut attempts = 1;
        loop {
            match attempt().await {
                Ok(fetched) => return Ok(fetched),
                Err(failure) if failure.retry && attempts <= self.session.options().max_retries => {
                    add(&COUNTERS.retries, 1);
                    tokio::time::sleep(backoff(attempts, failure.wait)).await;
                    attempts += 1;
                }
                Err(failure) => return Err(Failed { failure, attempts: attempts as u64 }),
            }
        }
    }
}

/// A read that was given up.
struct Failed {
    failure: Failure,
    attempts: u64,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { failure: Failure::lasting(error.to_string()), attempts: 1 }
    }
}

/// Azure hides what is private as if it were not there.
fn asks_for_signature(config: &Config, failure: &Failure) -> bool {
    match failure.status {
        Some(401 | 403) => true,
        Some(404 | 409) => config.address.service == Service::Azure,
        _ => false,
    }
}

/// Whether the region is for us to find, and not the user's word.
fn is_free(config: &Config) -> bool {
    config.region().is_some_and(|region| !matches!(region.origin, Origin::Options(_)))
}

#[async_trait]
impl ByteSource for Object {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.permitted().await?.read(range).await
    }
}

/// An object with the right to have a request in flight, one after the other.
#[derive(Debug)]
pub struct Permitted<'a> {
    object: &'a Object,
    _permit: Permit,
}

#[async_trait]
impl ByteSource for Permitted<'_> {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.object.read_now(range).await
    }
}

impl Object {
    fn secrets(&self) -> Secrets {
        let mut secrets = self.location.secrets();
        match &self.route {
            Route::Store(config) | Route::Http(Some(config)) => config.add_secrets(&mut secrets),
            Route::Http(None) | Route::File | Route::Files(_) => {}
        }
        secrets
    }
}
