//! Reads of local files.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;

use super::Access;
use super::counters::{COUNTERS, add, count_bytes, count_request};
use crate::buffers;
use crate::error::{Error, Result};

/// Length and time of a file: what tells one version of it from another without reading it. `None` if it is no file.
pub fn file_version(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// The file is opened for each read: a catalog has more files than a process may hold open.
///
/// # Errors
/// What is no file, or none that `access` allows; what the system says.
pub fn read_file(path: &Path, range: Range<u64>, access: &Access) -> Result<Bytes> {
    let failed = |e: std::io::Error| {
        add(&COUNTERS.failures, 1);
        Error::Store(match e.kind() {
            std::io::ErrorKind::NotFound => "no such file".into(),
            _ => e.to_string(),
        })
    };
    count_request();
    // To open a pipe would wait for a writer.
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        let what = if found.is_dir() { "a folder" } else { "a device or a pipe" };
        return Err(failed(std::io::Error::other(format!("it is {what}, not a file"))));
    }
    let file = File::open(path).map_err(failed)?;
    access.check_opened(path, &file).inspect_err(|_| add(&COUNTERS.failures, 1))?;
    let metadata = file.metadata().map_err(failed)?;
    let end = range.end.min(metadata.len());
    let start = range.start.min(end);
    let mut bytes: Vec<u8> = buffers::take((end - start) as usize);
    read_at(&file, &mut bytes, start).map_err(failed)?;
    count_bytes(bytes.len() as u64);
    Ok(buffers::shared(bytes))
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
