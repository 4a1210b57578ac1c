//! Item indexes behind a URL: fetched through our stores into temporary files, where DuckDB has no httpfs to read them in
//! place.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::session;
use super::source::{Source, has_wildcard, local};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::store::location::shown_text;
use crate::store::{ByteSource, Location, Object, Session};

/// A larger index does not belong into a temporary file.
const LARGEST: u64 = 4 << 30;
const PART: u64 = 8 << 20;

/// A file of items: where it is read, and the path or URL that hrefs are relative to.
#[derive(Debug)]
pub struct Fetched {
    pub path: String,
    pub origin: String,
    /// Removed with its last user.
    _file: Option<Temporary>,
}

#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nobody is left to tell; the system clears its folder of temporary files.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Source {
    /// The same items, where the private DuckDB can read them.
    ///
    /// # Errors
    /// A path that the settings forbid; a URL that cannot be read, or is a glob that only httpfs could expand.
    pub fn reachable(self, store: &Session, threads: usize) -> Result<Source> {
        let Source::Paths(paths) = self else { return Ok(self) };
        for path in &paths {
            let checked = Location::resolve(before_wildcard(path), None).and_then(|at| store.check(&at));
            checked.map_err(|e| e.within(format!("items '{}'", shown(path))))?;
        }
        // Options of the call and secrets of the session are unknown to the private database, and so is what may be opened when
        // it is redirected.
        let options = store.options();
        let plain = options.store.is_empty() && options.files.is_none() && options.access.only.is_none();
        let in_place = || plain && has_httpfs(threads);
        if paths.iter().all(|path| local(path).is_some()) || in_place() {
            return Ok(Source::Paths(paths));
        }
        let files = paths.into_iter().map(|path| fetch(path, store)).collect::<Result<_>>()?;
        Ok(Source::Fetched(Arc::new(files)))
    }
}

/// The path or URL as it may be shown: without a signature.
pub(super) fn shown(path: &str) -> String {
    match local(path) {
        Some(_) => path.to_owned(),
        None => Location::resolve(path, None).map_or_else(|_| shown_text(path), |location| location.to_string()),
    }
}

/// The folder in which a glob begins; anything else as it is.
fn before_wildcard(path: &str) -> &str {
    match path.find(['*', '[', '?']) {
        Some(at) if local(path).is_some() && std::fs::metadata(path).is_err() => match path[..at].rfind('/') {
            Some(slash) => &path[..=slash],
            None => ".",
        },
        _ => path,
    }
}

fn has_httpfs(threads: usize) -> bool {
    session::run(threads, |connection| Ok(connection.execute_batch("LOAD httpfs").is_ok())).unwrap_or(false)
}

fn fetch(url: String, store: &Session) -> Result<Fetched> {
    if local(&url).is_some() {
        return Ok(Fetched { path: url.clone(), origin: url, _file: None });
    }
    let context = || format!("items '{}'", shown(&url));
    let name = url.split(['?', '#']).next().unwrap_or(&url);
    if has_wildcard(name) {
        return Err(Error::Items(format!(
            "{}: a glob of URLs needs httpfs (INSTALL httpfs), and no store_options; or list the files",
            context()
        )));
    }
    let failed = |e: std::io::Error| Error::Items(format!("{}: cannot write a temporary file: {e}", context()));
    let path = temporary(name.rsplit('/').next().unwrap_or(name));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let kept = Temporary(path);
    let object = Location::resolve(&url, None).and_then(|location| store.object(location, None));
    let copied = object.and_then(|object| interrupt::wait(copy(&object, &mut file))?);
    copied.map_err(|e| e.within(context()))?;
    Ok(Fetched { path: path_text(&kept.0)?, origin: url, _file: Some(kept) })
}

/// The name keeps its end: it tells the kind of file and its compression.
fn temporary(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let safe: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let end = &safe[safe.len().saturating_sub(64)..];
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("lazycogs-{}-{count}-{end}", std::process::id()))
}

fn path_text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::Items("the name of the folder for temporary files is no UTF-8".into()))
}

async fn copy(object: &Object, file: &mut File) -> Result<()> {
    let mut at = 0;
    loop {
        let bytes = object.read(at..at + PART).await?;
        file.write_all(&bytes).map_err(|e| Error::Items(format!("cannot write a temporary file: {e}")))?;
        at += bytes.len() as u64;
        if (bytes.len() as u64) < PART {
            return Ok(());
        }
        if at >= LARGEST {
            return Err(Error::Items(format!(
                "it is larger than {} GiB; copy it to this machine first",
                LARGEST >> 30
            )));
        }
    }
}
