//! Reads of local files.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Access;
use super::counters::{COUNTERS, add, count_bytes, count_request};
use crate::buffers;
use crate::error::{Error, Result};
use crate::pixels::Pixels;

/// A file may be written twice within the granularity of its times: one as young as this may be another next time. Some systems
/// count seconds, or two of them; those that tell fractions count the ticks of their kernel, of 10 ms at most.
const YOUNG: Duration = Duration::from_secs(2);
const YOUNG_IN_TICKS: Duration = Duration::from_millis(50);

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileVersion {
    pub length: u64,
    modified: SystemTime,
    /// Device, inode, and when the inode changed, in seconds and nanoseconds: a copy may keep the time of what it replaces.
    inode: Option<(u64, u64, i64, i64)>,
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Option<FileVersion> {
        // A system that does not tell the time cannot tell versions either.
        Some(FileVersion { length: metadata.len(), modified: metadata.modified().ok()?, inode: inode(metadata) })
    }

    /// Whether it was written so long ago that a later version cannot look the same.
    pub fn is_settled(&self) -> bool {
        let is_older =
            |time: SystemTime, than: Duration| SystemTime::now().duration_since(time).is_ok_and(|age| age > than);
        // Nobody sets the time of the inode but the system.
        let Some((_, _, seconds, nanoseconds)) = self.inode else { return is_older(self.modified, YOUNG) };
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u64::try_from(nanoseconds)) else { return false };
        let since = Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds);
        let young = if nanoseconds == 0 { YOUNG } else { YOUNG_IN_TICKS };
        SystemTime::UNIX_EPOCH.checked_add(since).is_some_and(|changed| is_older(changed, young))
    }

    /// What later reads of one query compare. The inode also changes when a link to it is made.
    fn tag(&self) -> String {
        let time = self.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (device, inode) = self.inode.map_or((0, 0), |(device, inode, ..)| (device, inode));
        format!("{}-{}-{device}-{inode}", self.length, time.as_nanos())
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<(u64, u64, i64, i64)> {
    None
}

/// The version of a file as it lies there now; `None` if it is no file.
pub fn file_version(path: &Path) -> Option<FileVersion> {
    FileVersion::of(&std::fs::metadata(path).ok().filter(Metadata::is_file)?)
}

/// The bytes of `range`, and what tells the version of the file they are from. The file is opened for each read: a catalog has
/// more files than a process may hold open.
///
/// # Errors
/// What is no file, or none that `access` allows; what the system says.
pub fn read_file(path: &Path, range: Range<u64>, access: &Access) -> Result<(Bytes, Option<String>)> {
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
    Ok((buffers::lent(Pixels::UInt8(bytes)), FileVersion::of(&metadata).map(|version| version.tag())))
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
