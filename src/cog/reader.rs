//! Reads a header in as few requests as its layout allows.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::store::ByteSource;

/// The first read. GDAL's COG layout puts every IFD at the front; at 16 KiB the header of a 10980 x 10980 band in 512 x 512
/// blocks with its overviews (9 KB) comes in one request, and what is read in vain costs less than another round trip.
pub const FIRST_READ: u64 = 16 * 1024;

/// Ranges closer than this are read together: the gap costs less than a request.
const MERGE_GAP: u64 = 16 * 1024;

/// More than this is no header: 64 million tiles need 768 MB of offsets and counts, and nobody has such a file.
const MAX_HEADER: u64 = 512 << 20;

/// Bytes of a file that were read, by position, without holes inside a segment.
#[derive(Debug)]
struct Segment {
    start: u64,
    bytes: Vec<u8>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Random access to the parts of a file that a header occupies.
#[derive(Debug)]
pub struct HeaderReader<'a> {
    source: &'a dyn ByteSource,
    segments: Vec<Segment>,
    /// Where the file ends, once a read came back short.
    file_end: Option<u64>,
    pub bytes: u64,
    pub requests: u32,
}

impl<'a> HeaderReader<'a> {
    pub fn new(source: &'a dyn ByteSource) -> Self {
        HeaderReader { source, segments: Vec::new(), file_end: None, bytes: 0, requests: 0 }
    }

    /// Makes `wanted` available, and up to `ahead` bytes after each range where that saves a later request. Ranges may come
    /// in any order; `what` names them in the error.
    ///
    /// # Errors
    /// `Corrupt` if the file ends before a wanted range does, or if the header as a whole is absurdly large.
    pub async fn ensure(&mut self, wanted: &[Range<u64>], ahead: u64, what: &str) -> Result<()> {
        let mut missing: Vec<Range<u64>> = wanted
            .iter()
            .filter(|r| !r.is_empty() && self.get(r).is_none())
            .map(|r| self.segment_at(r.start).map_or(r.start, Segment::end)..r.end)
            .collect();
        missing.sort_by_key(|r| r.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in missing {
            match merged.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(MERGE_GAP) => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        for range in merged {
            self.fetch(range.start..range.end.saturating_add(ahead), range.end, what).await?;
        }
        Ok(())
    }

    /// The bytes of `range`, if they were read before.
    pub fn get(&self, range: &Range<u64>) -> Option<&[u8]> {
        let segment = self.segment_at(range.start)?;
        let from = usize::try_from(range.start - segment.start).ok()?;
        let len = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        segment.bytes.get(from..from.checked_add(len)?)
    }

    fn segment_at(&self, position: u64) -> Option<&Segment> {
        self.segments.iter().find(|s| s.start <= position && position < s.end())
    }

    async fn fetch(&mut self, range: Range<u64>, needed_end: u64, what: &str) -> Result<()> {
        if let Some(end) = self.file_end.filter(|end| needed_end > *end) {
            return Err(beyond_end(what, range.start, needed_end, end));
        }
        if needed_end - range.start > MAX_HEADER || self.bytes > MAX_HEADER {
            return Err(Error::Corrupt(format!("{what} would take {} bytes of header", needed_end - range.start)));
        }
        let end = self.file_end.map_or(range.end, |end| end.min(range.end));
        let read = self.source.read(range.start..end).await?;
        self.requests += 1;
        self.bytes += read.len() as u64;
        let read_end = range.start + read.len() as u64;
        if read_end < end {
            self.file_end = Some(read_end);
        }
        self.insert(range.start, &read);
        match read_end < needed_end {
            true => Err(beyond_end(what, range.start, needed_end, read_end)),
            false => Ok(()),
        }
    }

    fn insert(&mut self, start: u64, read: &[u8]) {
        match self.segments.iter_mut().find(|s| s.end() == start) {
            Some(segment) => segment.bytes.extend_from_slice(read),
            None => self.segments.push(Segment { start, bytes: read.to_vec() }),
        }
    }

    /// The first read; a file may be shorter than it.
    pub async fn start(&mut self) -> Result<&[u8]> {
        self.fetch(0..FIRST_READ, 0, "the header").await?;
        Ok(self.segments.first().map_or(&[], |s| &s.bytes))
    }
}

fn beyond_end(what: &str, start: u64, needed: u64, end: u64) -> Error {
    Error::Corrupt(format!(
        "the file is truncated: {what} needs bytes {start} to {needed}, but the file ends at byte {end}"
    ))
}
