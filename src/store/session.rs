//! The reads of one query: options, a bound on requests in flight, retries.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use url::Url;

use super::address::{Address, Service, is_region};
use super::config::{self, Config, Origin};
use super::counters::{COUNTERS, add};
use super::hints::Hints;
use super::http::{self, Failure, Fetched};
use super::{Access, ByteSource, Location, cloud};
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
    environment: Arc<BTreeMap<String, String>>,
    /// Buckets behind https that gave nothing without a signature.
    signed: Arc<Mutex<HashSet<(Service, String)>>>,
}

/// In which region a bucket turned out to be, by endpoint and bucket.
type Regions = HashMap<(Option<String>, String), String>;
static REGIONS: LazyLock<Mutex<Regions>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub fn new(options: Options) -> Session {
        let permits = Arc::new(Semaphore::new(options.max_concurrent.max(1)));
        let environment = Arc::new(config::environment());
        Session { options: Arc::new(options), permits, environment, signed: Arc::default() }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The object at `location`; `hints` are what its item says about the store.
    ///
    /// # Errors
    /// As [`Session::check`]; a URL that names no object of a bucket.
    pub fn object(&self, location: Location, hints: Option<&Hints>) -> Result<Object> {
        self.check(&location)?;
        let route = self.route(&location, hints)?;
        Ok(Object { location, route, session: self.clone(), known: Mutex::default() })
    }

    /// # Errors
    /// A location that DuckDB's settings forbid.
    pub fn check(&self, location: &Location) -> Result<()> {
        self.options.access.check(location)
    }

    fn route(&self, location: &Location, hints: Option<&Hints>) -> Result<Route> {
        let store = self.store_of(location, hints)?;
        Ok(match (location, store) {
            (Location::Cloud(_), Some(config)) => Route::Store(config),
            (Location::Http(_), store) => Route::Http(store.filter(|config| config.credentials().is_some())),
            _ => Route::File,
        })
    }

    /// The store that a location belongs to, whether it is read as an object of it or not.
    ///
    /// # Errors
    /// As [`Session::object`].
    pub fn store_of(&self, location: &Location, hints: Option<&Hints>) -> Result<Option<Arc<Config>>> {
        let address = match location {
            Location::File(_) => None,
            Location::Cloud(url) => Some(Address::of_cloud(url)?),
            // A signature of its own is in the query; a name and password are for the server.
            Location::Http(url) => {
                Address::of_https(url).filter(|_| url.query().is_none() && url.username().is_empty())
            }
        };
        address.map(|address| self.configured(address, hints)).transpose()
    }

    fn configured(&self, address: Address, hints: Option<&Hints>) -> Result<Arc<Config>> {
        let config = Config::resolve(address, hints, &self.options.store, &self.environment);
        if self.options.access.only.is_some() {
            for (_, lead) in config.leads() {
                // The value may be a secret: only where it comes from is told.
                let allowed = Location::resolve(&lead.value, None).and_then(|at| self.check(&at));
                allowed.map_err(|_| {
                    Error::Store(format!(
                        "the setting enable_external_access is false, and what {} names is in none of \
                         allowed_directories and allowed_paths",
                        lead.origin
                    ))
                })?;
            }
        }
        Ok(Arc::new(config))
    }
}

/// How the bytes of an object are had.
#[derive(Clone)]
pub enum Route {
    File,
    /// As any URL; and where that is refused, signed, as an object of the store that the host belongs to.
    Http(Option<Arc<Config>>),
    Store(Arc<Config>),
}

/// One object of a store.
pub struct Object {
    location: Location,
    route: Route,
    session: Session,
    known: Mutex<Known>,
}

/// What the first answer said: every later one must have the same ETag.
#[derive(Default)]
struct Known {
    etag: Option<String>,
    size: Option<u64>,
}

impl std::fmt::Debug for Object {
    /// The route holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({})", self.location)
    }
}

impl Object {
    pub fn location(&self) -> &Location {
        &self.location
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// What tells one version of a local file from another without reading it.
    pub fn file_version(&self) -> Option<(u64, SystemTime)> {
        let Location::File(path) = &self.location else { return None };
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    /// The options that decide which object the location names.
    pub fn identity(&self) -> String {
        let mut pairs: Vec<_> = self.session.options.store.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if let Route::Store(config) = &self.route {
            pairs.extend(config.endpoint().map(|endpoint| endpoint.value.clone()));
            pairs.extend(config.account().map(|account| account.value.clone()));
        }
        pairs.join(";")
    }

    /// Expects the version of an earlier read: another one is an error.
    pub fn expect_etag(&self, etag: Option<String>) {
        locked(&self.known).etag = etag;
    }

    pub fn etag(&self) -> Option<String> {
        locked(&self.known).etag.clone()
    }

    fn check_etag(&self, etag: Option<String>, size: Option<u64>) -> Result<()> {
        let mut known = locked(&self.known);
        known.size = size.or(known.size);
        match (known.etag.as_deref(), etag) {
            (Some(known), Some(etag)) if known != etag => Err(Error::Changed(format!(
                "the object was replaced since its header was read (its ETag changed from {known} to {etag}); run the query \
                 again"
            ))),
            (None, Some(etag)) => {
                known.etag = Some(etag);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn read_remote(&self, range: Range<u64>) -> Result<Bytes> {
        // Some stores refuse to be asked for what is beyond the end, and do not say where that is.
        if locked(&self.known).size.is_some_and(|size| size <= range.start) {
            return Ok(Bytes::new());
        }
        let outcome = match (&self.route, &self.location) {
            (Route::Store(config), _) => self.read_store(config, range).await,
            (Route::Http(store), Location::Http(url)) => self.read_http(url, store.as_deref(), range).await,
            _ => return Err(Error::Store(format!("{} is no URL", self.location))),
        };
        match outcome {
            Ok(fetched) => {
                self.check_etag(fetched.etag, fetched.size)?;
                Ok(fetched.bytes)
            }
            Err(Failed { failure, attempts }) => {
                add(&COUNTERS.failures, 1);
                let after = if attempts > 1 { format!(" (after {attempts} attempts)") } else { String::new() };
                Err(Error::Http { message: format!("{}{after}", failure.message), attempts })
            }
        }
    }

    async fn read_http(&self, url: &Url, store: Option<&Config>, range: Range<u64>) -> Result<Fetched, Failed> {
        let bucket = store.map(|config| (config.address.service, config.address.bucket.clone()));
        if let (Some(config), Some(bucket)) = (store, &bucket)
            && locked(&self.session.signed).contains(bucket)
        {
            return self.read_store(config, range).await;
        }
        let options = self.session.options();
        let client = runtime::http_client()?;
        let plain = self.persist(|| http::get(&client, url, range.clone(), options.timeout, &options.access)).await;
        match (plain, store, bucket) {
            (Err(refused), Some(config), Some(bucket)) if asks_for_signature(config, &refused.failure) => {
                let fetched = self.read_store(config, range).await?;
                locked(&self.session.signed).insert(bucket);
                Ok(fetched)
            }
            (plain, ..) => plain,
        }
    }

    async fn read_store(&self, config: &Config, range: Range<u64>) -> Result<Fetched, Failed> {
        let place = (config.endpoint().map(|endpoint| endpoint.value.clone()), config.address.bucket.clone());
        let moved = locked(&REGIONS).get(&place).cloned();
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
        locked(&REGIONS).insert(place, region);
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
                Ok(Fetched { bytes: Bytes::new(), etag: None, size: failure.size })
            }
            Ok(fetched) => {
                add(&COUNTERS.bytes, fetched.bytes.len() as u64);
                Ok(fetched)
            }
            failed => failed,
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
                Err(failure) if failure.retry && attempts <= self.session.options.max_retries => {
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
        let _permit = self.session.permits.acquire().await.map_err(|_| Error::Cancelled)?;
        match &self.location {
            Location::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || read_file(&path, range)).await.map_err(|_| Error::Cancelled)?
            }
            _ => self.read_remote(range).await,
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers as many connections as there are answers, with what `answer` makes of each request's head.
    fn server(count: usize, answer: fn(&str) -> String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = move |mut stream: TcpStream| {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            stream.write_all(answer(&head.join("\n")).as_bytes()).unwrap();
        };
        std::thread::spawn(move || listener.incoming().take(count).flatten().for_each(serve));
        url
    }

    fn answered(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    fn found() -> String {
        let headers = "Content-Range: bytes 0-3/4\r\nETag: \"1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
        answered("206 Partial Content", headers, "data")
    }

    fn session(store: &[(&str, &str)], environment: &[(&str, &str)]) -> Session {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let options = Options {
            store: map(store),
            max_concurrent: 4,
            timeout: Duration::from_secs(5),
            max_retries: 1,
            access: Access::default(),
        };
        Session { environment: Arc::new(map(environment)), ..Session::new(options) }
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    fn route(session: &Session, href: &str) -> String {
        let object = Location::resolve(href, None).and_then(|location| session.object(location, None)).unwrap();
        match object.route() {
            Route::File => "file".into(),
            Route::Http(None) => "http".into(),
            Route::Http(Some(_)) => "http, then signed".into(),
            Route::Store(config) => {
                format!("store, {}", if config.credentials().is_some() { "signed" } else { "unsigned" })
            }
        }
    }

    #[test]
    fn https_stays_https_unless_a_signature_is_at_hand() {
        let (bare, with_keys) = (session(&[], &[]), session(&[], &KEYS));
        let s3 = "https://b.s3.us-west-2.amazonaws.com/a.tif";
        assert_eq!((route(&bare, s3), route(&with_keys, s3)), ("http".into(), "http, then signed".into()));
        for own in ["https://b.s3.amazonaws.com/a.tif?X-Amz-Signature=1", "https://u:p@b.s3.amazonaws.com/a.tif"] {
            assert_eq!(route(&with_keys, own), "http");
        }
        assert_eq!(route(&with_keys, "https://storage.googleapis.com/b/a.tif"), "http");
        assert_eq!(route(&with_keys, "https://example.org/b/a.tif"), "http");
        assert_eq!(
            (route(&bare, "s3://b/a.tif"), route(&with_keys, "s3://b/a.tif")),
            ("store, unsigned".into(), "store, signed".into())
        );
        assert_eq!(route(&session(&[("skip_signature", "true")], &KEYS), "s3://b/a.tif"), "store, unsigned");
    }

    /// An https URL of a bucket whose server is here.
    fn behind(session: &Session, url: &str) -> Object {
        let address =
            Address { endpoint: Some(url.into()), ..Address::of_cloud(&Url::parse("s3://b/a.tif").unwrap()).unwrap() };
        let config = session.configured(address, None).unwrap();
        let location = Location::Http(Url::parse(&format!("{url}/b/a.tif")).unwrap());
        Object { location, route: Route::Http(Some(config)), session: session.clone(), known: Mutex::default() }
    }

    fn read(object: &Object, range: Range<u64>) -> Result<Bytes> {
        runtime::io().unwrap().block_on(object.read(range))
    }

    #[test]
    fn a_refused_url_is_signed_and_the_next_one_at_once() {
        let url = server(3, |head| match head.to_lowercase().contains("authorization: aws4-hmac-sha256") {
            true => found(),
            false => answered("403 Forbidden", "", ""),
        });
        let session = session(&[], &KEYS);
        // Refused, signed; signed: a fourth request would find no server.
        assert_eq!(&read(&behind(&session, &url), 0..4).unwrap()[..], b"data");
        assert_eq!(&read(&behind(&session, &url), 0..4).unwrap()[..], b"data");
    }

    #[test]
    fn what_is_public_is_never_signed() {
        let url = server(1, |head| match head.to_lowercase().contains("authorization") {
            true => answered("400 Bad Request", "", "expired token"),
            false => found(),
        });
        assert_eq!(&read(&behind(&session(&[], &KEYS), &url), 0..4).unwrap()[..], b"data");
    }

    #[test]
    fn nothing_is_asked_for_beyond_the_end() {
        let url = server(1, |_| found());
        let object = behind(&session(&[], &KEYS), &url);
        assert_eq!(&read(&object, 0..4).unwrap()[..], b"data");
        assert!(read(&object, 4..8).unwrap().is_empty());
    }

    #[test]
    fn the_region_that_a_bucket_names_is_taken() {
        let url = server(3, |head| match head.contains("/eu-central-1/s3/aws4_request") {
            true => found(),
            false => answered("400 Bad Request", "x-amz-bucket-region: eu-central-1\r\n", ""),
        });
        let of = |session: &Session| {
            let mut address = Address::of_cloud(&Url::parse("s3://moved/a.tif").unwrap()).unwrap();
            address.endpoint = Some(url.clone());
            let route = Route::Store(session.configured(address, None).unwrap());
            let location = Location::resolve("s3://moved/a.tif", None).unwrap();
            Object { location, route, session: session.clone(), known: Mutex::default() }
        };
        let stubborn = session(&[("region", "us-east-1")], &KEYS);
        let message = read(&of(&stubborn), 0..4).unwrap_err().to_string();
        assert!(message.contains("'eu-central-1'"), "{message}");
        let session = session(&[], &KEYS);
        assert_eq!(&read(&of(&session), 0..4).unwrap()[..], b"data");
    }
}
