//! Where bytes come from: hrefs, object stores, requests.

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// One object, open for ranged reads.
#[async_trait]
pub trait ByteSource: Debug + Send + Sync {
    /// The bytes of `range`. A range that runs past the end of the object gives what there is before it; one that starts
    /// at or after the end gives no bytes.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

/// An object that is already in memory.
#[async_trait]
impl ByteSource for Bytes {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(self.len() as u64) as usize;
        let start = (range.start as usize).min(end);
        Ok(self.slice(start..end))
    }
}
