//! Item indexes behind a URL: fetched through our stores into temporary files, where DuckDB has no httpfs to read them in
//! place.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fetched::{Fetched, Temporary};
use super::paths::{files_of, find, has_wildcard, local};
use super::session;
use super::source::Source;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::store::location::plain_path;
use crate::store::{Access, ByteSource, Location, Object, Session, shown};

/// A larger index does not belong into a temporary file.
const LARGEST: u64 = 4 << 30;
const PART: u64 = 8 << 20;

impl Source {
    /// The same items, where the private DuckDB can read them.
    ///
    /// # Errors
    /// A path that the settings forbid; a URL that cannot be read, or is a glob that only httpfs could expand.
    pub fn reachable(self, store: &Session, threads: usize) -> Result<Source> {
        let Source::Paths(paths) = self else { return Ok(self) };
        let within = |path: &str| format!("items '{}'", shown::place(path));
        let paths = paths.iter().map(|path| plain_path(path).map_err(|e| e.within(within(path))));
        let paths = paths.collect::<Result<Vec<_>>>()?;
        for path in &paths {
            let checked = Location::resolve(before_wildcard(path), None).and_then(|at| store.check(&at));
            checked.map_err(|e| e.within(within(path)))?;
        }
        // Options of the call and secrets of the session are unknown to the private database, and so is what may be opened when
        // it is redirected.
        let (options, all_local) = (store.options(), paths.iter().all(|path| local(path).is_some()));
        let is_locked = options.access.only.is_some();
        let plain = options.store.is_empty() && options.files.is_none();
        if !is_locked && (all_local || plain && has_httpfs(threads)) {
            return Ok(Source::Paths(paths));
        }
        let mut files = Vec::new();
        for path in paths {
            match local(&path) {
                Some(_) if is_locked => {
                    files.extend(expanded(&path, &options.access, threads).map_err(|e| e.within(within(&path)))?);
                }
                Some(_) => files.push(Fetched::here(path.clone(), path)),
                None => files.push(fetch(path, store)?),
            }
        }
        // Files as they were named are known from one query to the next.
        if files.iter().all(|file| file.path == file.origin) {
            return Ok(Source::Paths(files.into_iter().map(|file| file.path).collect()));
        }
        Ok(Source::Fetched(Arc::new(files)))
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

/// The files of a path, a folder or a glob, as DuckDB finds them; each may be opened as it really lies. DuckDB then gets files, and
/// not a pattern, in which links and dots may lead anywhere.
fn expanded(path: &str, access: &Access, threads: usize) -> Result<Vec<Fetched>> {
    let found = find(path)?;
    if std::fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return Ok(vec![lying(path.to_owned(), access)?]);
    }
    // Where a wildcard stands for a link, the folder above is anywhere: not even its names are looked at.
    let wild = found.pattern().split('/').skip_while(|part| !has_wildcard(part));
    if wild.into_iter().any(|part| part == "..") {
        return Err(Error::Items("'..' behind a wildcard is not allowed while enable_external_access is false".into()));
    }
    let files = session::run(threads, |connection| files_of(&connection, &found.globs(&connection)?))?;
    if files.is_empty() {
        return Err(Error::Items("no file matches".into()));
    }
    files.into_iter().map(|file| lying(file, access)).collect()
}

/// A file by its path without links, which nobody can turn elsewhere after it was checked; by its own where links say what it
/// is: the kind of file, or the values of partitions.
fn lying(file: String, access: &Access) -> Result<Fetched> {
    let path = Path::new(&file);
    let real = access.real_file(path)?;
    // What cannot be told is taken for a link.
    if std::path::absolute(path).is_ok_and(|absolute| absolute == real) {
        return Ok(Fetched::here(file.clone(), file));
    }
    let partitions = |path: &Path| -> Vec<String> {
        let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
        parts.filter(|part| part.contains('=')).collect()
    };
    let same = path.file_name() == real.file_name() && partitions(path) == partitions(&real);
    Ok(Fetched::here(if same { path_text(&real)? } else { file.clone() }, file))
}

/// Whoever cannot connect is told so by the query over the items.
fn has_httpfs(threads: usize) -> bool {
    session::run(threads, |connection| Ok(connection.execute_batch("LOAD httpfs").is_ok())).unwrap_or(false)
}

fn fetch(url: String, store: &Session) -> Result<Fetched> {
    let context = || format!("items '{}'", shown::place(&url));
    let location = Location::resolve(&url, None).map_err(|e| e.within(context()))?;
    let name = location.path().into_owned();
    if has_wildcard(&name) {
        return Err(Error::Items(format!(
            "{}: a glob of URLs needs httpfs (INSTALL httpfs), and no store_options; or list the files",
            context()
        )));
    }
    let failed = |e: std::io::Error| Error::Items(format!("{}: cannot write a temporary file: {e}", context()));
    let path = temporary(name.rsplit('/').next().unwrap_or(&name));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let kept = Temporary(path);
    let copied = store.object(location, None).and_then(|object| interrupt::wait(copy(&object, &mut file))?);
    copied.map_err(|e| e.within(context()))?;
    Ok(Fetched::copied(path_text(&kept.0)?, url, kept))
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
